"""Models that leave: any module as ONNX, or as the lines of `torch.nn` that build it.

Both are visitors: ONNX of the ops that `chainrule.record` lists, `torch.nn` of the layers. A layer
of your own is taken along if it computes with `chainrule.ops`, or once you say how:
`translates` for ONNX. docs/export.md.
"""

from chainrule.export.graph import ExportError, Writer, translates
from chainrule.export.onnx import save_onnx, to_onnx
from chainrule.export.torch_text import save_torch, to_torch

__all__ = [
    "ExportError",
    "Writer",
    "save_onnx",
    "save_torch",
    "to_onnx",
    "to_torch",
    "translates",
]

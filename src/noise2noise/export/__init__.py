"""Models that leave: as ONNX, as a BioImage.IO package, as lines of `torch.nn`. docs/export.md.

- `standalone.py`: a model as others use it, with named inputs and all that it needs inside.
- `files.py`: the files of each format.
- `bioimageio.py`: what a BioImage.IO package says.
- `comparison.py`: whether onnxruntime computes the same.
"""

from noise2noise.export.comparison import TOLERANCE, agreement
from noise2noise.export.files import FORMATS, Exported, export, format_of
from noise2noise.export.standalone import Standalone, standalone

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "Exported",
    "Standalone",
    "agreement",
    "export",
    "format_of",
    "standalone",
]

"""Models of other programs, and ours in their formats, read without trust: see SECURITY.md.

- `published.py`: state dicts of DnCNN, FFDNet and DRUNet, as safetensors or by `torch.save`.
- `package.py`: BioImage.IO packages that `noise2noise export` wrote.
- `graph.py`: ONNX graphs, which onnxruntime runs.
"""

from __future__ import annotations

from pathlib import Path

from chainrule import Module
from noise2noise.model_file import read_model
from noise2noise.model_info import ModelInfo
from noise2noise.networks import Needs, needs_of


def read_any(path: Path, name: str) -> tuple[Module, ModelInfo, Needs]:
    """The network in a file of any kind, what is known of it, and what it asks of images.

    Arguments:
        path: of the file. What it is follows from its suffix: .onnx, .zip, .pth and .pt; everything
            else is read as safetensors.
        name: what the info calls it.

    Raises:
        UserError: the file is damaged, of something else, or needs a package that isn't installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        from noise2noise.foreign.graph import read_graph  # only this needs onnxruntime

        return read_graph(path, name)
    if suffix == ".zip":
        from noise2noise.foreign.package import read_package

        network, info = read_package(path, name)
    elif suffix in (".pth", ".pt"):
        from noise2noise.foreign.published import read_torch

        network, info = read_torch(path, name)
    else:
        from noise2noise.foreign.published import is_published, read_safetensors

        read = read_safetensors if is_published(path) else read_model
        network, info = read(path, name)
    return network, info, needs_of(info.architecture, info.sizes)

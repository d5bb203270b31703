"""State dicts of networks of the literature, which say by their names and shapes what they are.

`noise2noise.networks.recognized` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from chainrule import Module
from chainrule.serialization import load_shapes, load_tensors, one_line
from noise2noise import networks
from noise2noise.errors import UserError
from noise2noise.model_file import check_fits, fill
from noise2noise.model_info import ModelInfo
from noise2noise.untrusted import load_torch

_REMEDY = (
    "keep the state dict alone: torch.save(network.state_dict(), path), or write it as safetensors"
)
_WRAPPERS = ("state_dict", "params_ema", "params")
"""Keys that some programs put around a state dict."""


def is_published(path: Path) -> bool:
    """Whether a safetensors file names no architecture, but has weights of one known here."""
    try:
        shapes, metadata = load_shapes(path)
        networks.recognized(shapes)
    except (OSError, ValueError):
        return False
    return "architecture" not in metadata


def read_safetensors(path: Path, name: str) -> tuple[Module, ModelInfo]:
    """The network that a state dict in a safetensors file is of.

    Raises:
        UserError: the file is damaged, or its weights fit no network.
    """
    try:
        _check(load_shapes(path)[0])  # before the weights take any memory
        return _read(load_tensors(path)[0], name)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be used: {one_line(str(error))}") from error


def read_torch(path: Path, name: str) -> tuple[Module, ModelInfo]:
    """The same for what `torch.save` wrote, through the one door for such files.

    Raises:
        UserError: as `load_torch`, or the weights fit no network.
    """
    content = load_torch(path, _REMEDY)
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    try:
        return _read(_tensors(content), name)
    except ValueError as error:
        raise UserError(f"{path} can't be used: {one_line(str(error))}") from error


def _tensors(content: object) -> dict[str, torch.Tensor]:
    if not isinstance(content, Mapping) or not content:
        raise ValueError("it is no state dict")
    tensors: dict[str, torch.Tensor] = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ValueError(f"it is no state dict of tensors by name: it has {name!r}")
        tensors[name] = value
    return tensors


def _check(shapes: Mapping[str, torch.Size]) -> tuple[str, dict[str, int]]:
    architecture, sizes = networks.recognized(shapes)
    check_fits(architecture, sizes, shapes)
    return architecture, networks.sizes_of(architecture, sizes)


def _read(tensors: Mapping[str, torch.Tensor], name: str) -> tuple[Module, ModelInfo]:
    architecture, sizes = _check({key: value.shape for key, value in tensors.items()})
    network = networks.build(architecture, **sizes)
    fill(network, tensors)
    count = sum(value.numel() for value in network.parameters())
    return network, ModelInfo(name, architecture, sizes, "", "", count)

"""Model files: a safetensors file that names its architecture and sizes, read without trust.

Nothing that such a file claims is believed: its sizes are bounded, the network is drawn up without
memory and compared with the shapes in the file's header, and only a network that fits is made and
filled. So no file asks for more memory than it has bytes, a few times over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch

from chainrule import Module
from chainrule.serialization import load_shapes, load_tensors, one_line
from noise2noise import networks
from noise2noise.errors import UserError
from noise2noise.model_info import ModelInfo
from noise2noise.noise import NoiseProfile

LARGEST_SIZES = {"width": 2**16, "inner": 2**16, "most": 2**16, "depth": 64, "blocks": 64}
"""Sizes beyond these are refused: a model file may ask for a network of any other size it likes,
which is no larger than its own weights."""

MOST_PARAMETERS = 2**28
"""A gigabyte in float32, a hundred times the largest of our networks."""

LONGEST_TEXT = 1000
"""Characters of one entry of the metadata: the sizes, a title."""

_Entry = TypeVar("_Entry")


def read_model(path: Path, name: str) -> tuple[Module, ModelInfo]:
    """The network in a model file, and what is known of it.

    Args:
        path: of the file; a training run's checkpoints are model files too.
        name: what the info calls it.

    Raises:
        UserError: the file is damaged, or of something else.
    """
    try:
        shapes, metadata = load_shapes(path)
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error
    try:
        architecture, sizes = _described(metadata)
        check_fits(architecture, sizes, _weights(shapes))
        network = networks.build(architecture, **sizes)
        fill(network, _weights(load_tensors(path)[0]))
        values, profile = _recorded(metadata)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a model of this package: {one_line(str(error))}") from error
    info = ModelInfo(
        name=name,
        architecture=architecture,
        sizes=sizes,
        title=one_line(metadata.get("title", "")),
        noise=one_line(metadata.get("noise", "")),
        parameters=sum(value.numel() for value in network.parameters()),
        values=values,
        profile=profile,
    )
    return network, info


def _recorded(
    metadata: Mapping[str, str],
) -> tuple[tuple[float, float] | None, NoiseProfile | None]:
    """What a model knows of the recorded images that it learned from: black and white, and noise.

    Raises:
        ValueError: they can't be.
    """
    text = metadata.get("profile")
    profile = None if text is None else NoiseProfile.from_json(text)
    if "values" not in metadata:
        return None, profile
    try:
        black, white = (float(value) for value in json.loads(metadata["values"][:LONGEST_TEXT]))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("its values are not black and white") from error
    if not (math.isfinite(black) and math.isfinite(white) and black < white):
        raise ValueError(f"its values are {black} for black and {white} for white")
    return (black, white), profile


def check_fits(
    architecture: str, sizes: Mapping[str, int], shapes: Mapping[str, torch.Size]
) -> None:
    """Compare a network that somebody else's file describes with its weights, without memory.

    Args:
        architecture: a key of `networks.ARCHITECTURES`.
        sizes: all of them, or some.
        shapes: of the weights, by name.

    Raises:
        ValueError: no such network, an absurd size, or weights of another; says which.
    """
    complete = networks.sizes_of(architecture, sizes)
    for size, most in LARGEST_SIZES.items():
        if complete.get(size, 0) > most:
            raise ValueError(f"its {size} is {complete[size]}, and at most {most} are taken")
    numbers = sum(shape.numel() for shape in shapes.values())
    if numbers > MOST_PARAMETERS:
        raise ValueError(f"it has {numbers} weights, and at most {MOST_PARAMETERS} are taken")
    try:
        with torch.device("meta"):
            network = networks.build(architecture, **sizes)
    except (RuntimeError, TypeError) as error:  # more elements than 64 bits can count
        raise ValueError(f"no network is as large as {dict(sizes)} asks for") from error
    wanted = {name: value.shape for name, value in network.named_tensors()}
    for name in sorted(wanted.keys() | shapes.keys()):
        if name not in shapes:
            raise ValueError(f"its weight {name} is missing")
        if name not in wanted:
            raise ValueError(f"it has a weight {name!r}, and {architecture} has none of that name")
        if wanted[name] != shapes[name]:
            raise ValueError(
                f"its weight {name} has the shape {tuple(shapes[name])}, and {dict(sizes)} asks "
                f"for {tuple(wanted[name])}"
            )


def fill(network: Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy weights of somebody else's file, whose shapes fit, into a network.

    Raises:
        ValueError: one is not of real numbers, or holds what is none as the network has it.
    """
    for name, value in weights.items():
        if not value.is_floating_point():
            raise ValueError(f"its weight {name} holds {value.dtype} in place of floats")
    network.load_state_dict(weights)
    # Looked at once they are there: a large float64 is infinite in float32.
    for name, value in network.named_tensors():
        if not value.isfinite().all():
            raise ValueError(f"its weight {name} holds NaN or infinite values")


def _described(metadata: Mapping[str, str]) -> tuple[str, dict[str, int]]:
    """The architecture and all its sizes, checked but for their upper bounds."""
    for key in ("architecture", "sizes"):
        if key not in metadata:
            raise ValueError(f"it doesn't say its {key}")
        if len(metadata[key]) > LONGEST_TEXT:
            raise ValueError(f"its {key} takes {len(metadata[key])} characters")
    try:
        given = json.loads(metadata["sizes"])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its sizes are not JSON: {metadata['sizes']!r}") from error
    if not isinstance(given, dict):
        raise ValueError(f"its sizes are {metadata['sizes']!r} in place of names and numbers")
    return metadata["architecture"], networks.sizes_of(metadata["architecture"], given)


def _weights(entries: Mapping[str, _Entry]) -> dict[str, _Entry]:
    """Those of the network: in a checkpoint, the optimizer's names hold a stroke."""
    return {name: value for name, value in entries.items() if "/" not in name}

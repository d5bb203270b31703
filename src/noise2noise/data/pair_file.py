"""Pair files: two tensors of images in a file that `torch.save((first, second), path)` wrote."""

from __future__ import annotations

from pathlib import Path

import torch

from chainrule.serialization import replacing, write_torch
from noise2noise.errors import UserError
from noise2noise.untrusted import load_torch


def save_pair_file(
    path: str | Path, sides: tuple[torch.Tensor, ...], overwrite: bool = False
) -> None:
    """Write what `load_pair_file` reads, whole or not at all.

    Raises:
        FileExistsError, NotADirectoryError: as `chainrule.serialization.replacing`.
        OSError: the disk refused.
    """
    with replacing(path, overwrite) as temporary:
        write_torch(temporary, sides)


def load_pair_file(path: str | Path, gaps: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The two tensors of a `.pkl`, `.pth` or `.pt` file that `torch.save((a, b), path)` wrote.

    Nothing in the file is ever run: see `noise2noise.untrusted`.

    Arguments:
        path: of the file.
        gaps: whether floats may be NaN or infinite, where nothing is known.

    Returns:
        Two tensors `(N, C, H, W)`, uint8 or floats, values 0 to 255; for `TensorPairs`.

    Raises:
        UserError: there is no such file, it is damaged, holds anything but two such tensors, or
            PyTorch is older than 2.6.
    """
    content = load_torch(path, "write it with torch.save((first, second), path)")
    if not isinstance(content, (tuple, list)):
        raise UserError(
            f"{path} holds a {type(content).__name__}; expected two tensors (first, second)"
        )
    if len(content) != 2 or not all(isinstance(side, torch.Tensor) for side in content):
        kinds = ", ".join(type(side).__name__ for side in content[:5])
        raise UserError(
            f"{path} holds {len(content)} things ({kinds}); expected two tensors (first, second)"
        )
    first, second = (side.detach() for side in content)
    check_tensors(first, second, str(path), gaps)
    return first, second


def check_tensors(
    first: torch.Tensor, second: torch.Tensor, where: str, gaps: bool = False
) -> None:
    """Raise a UserError that names `where` unless these are two sides of pairs."""
    for side in (first, second):
        if side.layout != torch.strided or side.ndim != 4 or side.shape[1] not in (1, 3):
            raise UserError(
                f"{where}: expected tensors (N, C, H, W) with 1 or 3 channels, "
                f"got {tuple(side.shape)}"
            )
        if side.dtype != torch.uint8 and not side.is_floating_point():
            raise UserError(f"{where}: expected uint8 or floats from 0 to 255, got {side.dtype}")
    if first.shape != second.shape:
        raise UserError(
            f"{where}: the two sides differ in shape, {tuple(first.shape)} and "
            f"{tuple(second.shape)}; image i of one must be the partner of image i of the other"
        )
    if first.numel() == 0:
        raise UserError(f"{where}: there are no images, the shape is {tuple(first.shape)}")
    for side in (first, second):
        if side.is_floating_point():
            _check_scale(side, where, gaps)


def _check_scale(side: torch.Tensor, where: str, gaps: bool) -> None:
    known = torch.isfinite(side)
    if gaps and known.any():
        side = side[known]
    elif not known.all():
        raise UserError(f"{where}: holds values that are not finite (NaN or infinite); remove them")
    # Noise may leave 0..255, though not by much; another scale altogether would train in silence.
    lowest, highest = float(side.min()), float(side.max())
    if lowest < -255 or highest <= 1 or highest > 2 * 255:
        raise UserError(
            f"{where}: expected values from 0 to 255, got {lowest:g} to {highest:g}; scale them"
        )

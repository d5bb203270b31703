"""Files of noisy pairs, cut out of layers: what the trainer learns from.

Pieces rather than whole planes, because whole images are held back for validation: one large pair
would leave nothing to learn from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from noise2noise.errors import UserError
from noise2noise.files import Axes, scale_of, survey
from noise2noise.napari.layers import Pixels, PixelStack
from noise2noise.napari.work import Watch

PIECE = 256
"""Sides of pieces are at most so many pixels."""

_FEWEST = 8  # pieces of a plane, where crops are small enough


def frame_pairs(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """Every other frame of a stack, and the ones after them, along its first axis.

    Raises:
        UserError: there are no two frames.
    """
    axes = pixels.axes
    if axes.stored[0] in "YXS" or axes.shape[0] < 2:
        raise UserError(
            f"a stack of at least two frames of the same scene is needed, and the layer's shape is "
            f"{axes.shape}; choose another, or a second layer"
        )
    count = axes.shape[0] // 2
    shape = (count, *axes.shape[1:])
    first, second = (
        Pixels(pixels.data[start : 2 * count : 2], Axes(axes.stored, shape), pixels.alpha)
        for start in (0, 1)
    )
    return first, second


def write_pairs(first: Pixels, second: Pixels, crop: int, folder: Path, watch: Watch) -> int:
    """Write pieces of both into the folders `a` and `b`, as floats on one scale, 0 black and 1
    white.

    Arguments:
        first, second: of the same shape and axes; each plane of one shows what that of the other
            does. Channels of micrographs count as planes, and transparency is left out.
        crop: of the training; no piece is smaller.

    Returns:
        How many pairs.

    Raises:
        UserError: the shapes differ, a plane is smaller than a crop, or its colours are neither one
            nor three.
        Stopped: it was asked for.
    """
    if first.axes != second.axes:
        raise UserError(
            f"the two layers have the shapes {first.axes.shape} and {second.axes.shape}; both must "
            "show the same pixels"
        )
    stacks = PixelStack(first), PixelStack(second)
    header = stacks[0].header
    if header.colours not in (1, 3):
        raise UserError(
            f"a pixel of the layer has {header.colours} samples; one or three can be learned from"
        )
    side = _piece(header.height, header.width, crop)
    scales = [scale_of(stack.header, survey(stack)) for stack in stacks]
    scale = max(scales, key=lambda each: each.white - each.black)
    places = [folder / name for name in "ab"]
    for place in places:
        place.mkdir()
    cells = list(_cells(header.height, header.width, side))
    work = [(plane, cell) for plane in range(header.planes) for cell in cells]
    for number, (plane, cell) in enumerate(watch.track(work, "Cutting pairs out", len(work))):
        for stack, place in zip(stacks, places, strict=True):
            piece = scale.to_unit(stack.read(plane, *cell)[..., : header.colours])
            pixels = piece if header.colours == 3 else piece[..., 0]
            photometric = "rgb" if header.colours == 3 else "minisblack"
            tifffile.imwrite(place / f"{number:06d}.tif", pixels, photometric=photometric)
    return len(work)


def _piece(height: int, width: int, crop: int) -> int:
    """The side of a piece: small enough that a plane has a few, if crops let it."""
    if min(height, width) < crop:
        raise UserError(
            f"the layer has {width} x {height} pixels and a crop {crop} x {crop}; choose a smaller "
            "crop"
        )
    few = int(np.sqrt(height * width / _FEWEST))
    return max(crop, min(PIECE, few, height, width))


def _cells(height: int, width: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Windows side by side; what is left over at the edges isn't used."""
    for top in range(0, height - side + 1, side):
        for left in range(0, width - side + 1, side):
            yield slice(top, top + side), slice(left, left + side)

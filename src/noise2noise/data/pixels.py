"""Pixels as sources keep them, and the squares that are taken from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from noise2noise.data.words import counted, shortened, size_text
from noise2noise.errors import UserError
from noise2noise.files import Scale, array_stack, read_image, scale_of, survey


def decoded(path: Path) -> np.ndarray:
    """A clean image, (C, H, W): integers that use their range as they are, others as floats on the
    scale of their own values (see `noise2noise.files.scale_of`)."""
    stack = array_stack(np.atleast_3d(read_image(path).pixels))
    pixels = stack.read().transpose(2, 0, 1)
    scale = scale_of(stack.header, survey(stack))
    return pixels if scale == Scale.of(pixels.dtype) else scale.to_unit(pixels)


def in_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """The same in 1 (luma of ITU-R BT.601) or 3 channels (grey repeated)."""
    if len(pixels) == channels:
        return pixels
    if channels == 3:
        return np.broadcast_to(pixels, (3, *pixels.shape[1:]))
    luma = np.tensordot((0.299, 0.587, 0.114), pixels, 1)[None]
    return (luma if pixels.dtype.kind == "f" else luma.round()).astype(pixels.dtype)


class View(NamedTuple):
    """A square of an image, in one of its eight flips and turns."""

    top: int
    left: int
    side: int
    way: int

    def of(self, image: np.ndarray) -> np.ndarray:
        top, left, side, way = self
        down, right = (-1 if way & 1 else 1), (-1 if way & 2 else 1)
        square = image[:, top : top + side, left : left + side][:, ::down, ::right]
        return square.swapaxes(1, 2) if way & 4 else square


def random_views(sizes: np.ndarray, side: int, rng: np.random.Generator) -> list[View]:
    """A random view of each of the images of these heights and widths, `(N, 2)`."""
    corners = rng.integers(sizes - side, endpoint=True).tolist()
    ways = rng.integers(8, size=len(sizes)).tolist()
    return [View(top, left, side, way) for (top, left), way in zip(corners, ways, strict=True)]


def centre(image: np.ndarray, side: int) -> np.ndarray:
    """The square of that side in the middle of an image (C, H, W)."""
    top, left = ((length - side) // 2 for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def refuse_small(paths: Sequence[Path | str], pixels: Sequence[np.ndarray], side: int) -> None:
    """Name every image that is smaller than a square of that side.

    Raises:
        UserError: there is one.
    """
    small = [
        f"{path} ({size_text(image)})"
        for path, image in zip(paths, pixels, strict=True)
        if min(image.shape[1:]) < side
    ]
    if small:
        raise UserError(
            f"{counted(len(small), 'image')} smaller than the {side} x {side} pixels that a crop "
            f"takes: {shortened(small)}; choose a smaller crop or remove them"
        )

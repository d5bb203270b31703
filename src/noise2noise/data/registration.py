"""Whether two shots show the same pixels: how far one is shifted against the other, and how bright
it is beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.filters import window
from skimage.registration import phase_cross_correlation

MOST_SHIFT = 0.5
"""Shots that are further apart, in pixels along an axis, are no pair: what they have in common is
blurred by the difference."""

LEAST_SIDE = 32
"""Smaller images tell too little of where they are."""

_STEPS = 10  # of a pixel, to which a shift is told
_SMOOTH = 1.5  # pixels: noise hardly gets through, the picture does
_ROUGH = 8  # what is smooth at so many times that counts for the light, not for the picture
_BLOCK = 8
_EXPOSURE = 0.05  # gains nearer to 1 than this are none
_SURE = 4  # standard errors, from which a difference isn't chance
_LIKENESS = 0.9  # of blocks' brightness, so that a gain can be told
_STRUCTURE = 4  # times the noise of a block: from there on a picture is seen in the blocks


def shift(first: np.ndarray, second: np.ndarray, side: int = 512) -> np.ndarray:
    """How far the picture in `second` lies below and to the right of that in `first`, in pixels.

    By correlation in Fourier space, to a tenth of a pixel (M. Guizar-Sicairos, S. T. Thurman and
    J. R. Fienup, Optics Letters 33, 2008), of what lies between the noise and the light. The
    quarters of the images are measured too: where they don't agree, nothing is seen to move.

    Arguments:
        first, second: (C, H, W), of one shape.
        side: of the square in the middle that is looked at.

    Returns:
        (rows, columns); zeros where it can't be told.
    """
    a, b = (_middle(image, side) for image in (first, second))
    if min(a.shape) < LEAST_SIDE:
        return np.zeros(2)
    whole = _correlated(a, b)
    if abs(whole).max() < 1 / _STEPS:
        return whole
    parts = [_correlated(a[part], b[part]) for part in _quarters(a.shape)]
    apart = np.median(np.abs(np.array(parts) - whole), axis=0)
    return whole if (apart <= np.maximum(MOST_SHIFT, abs(whole) / 2)).all() else np.zeros(2)


def _middle(image: np.ndarray, side: int) -> np.ndarray:
    """The mean over channels of the square in the middle, as float64."""
    tops = [max(0, (length - side) // 2) for length in image.shape[1:]]
    part = image[:, tops[0] : tops[0] + side, tops[1] : tops[1] + side]
    return part.mean(0, dtype=np.float64)


def _quarters(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    rows, columns = ((slice(0, size // 2), slice(size // 2, None)) for size in shape)
    return [(row, column) for row in rows for column in columns]


def _correlated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    seen = [_picture(image) for image in (b, a)]
    if not all(image.any() for image in seen):
        return np.zeros(2)
    # Not normalized, as phase correlation is: that would count the noise as much as the picture.
    plain: Any = None
    found = phase_cross_correlation(*seen, upsample_factor=_STEPS, normalization=plain)
    return np.asarray(found[0], float)


def _picture(image: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(image, _SMOOTH)
    return (smooth - ndimage.gaussian_filter(image, _ROUGH * _SMOOTH)) * window("hann", image.shape)


@dataclass(frozen=True)
class Exposure:
    """What makes the values of a shot those of another: `gain * x + offset`."""

    gain: float = 1.0
    offset: float = 0.0


SAME = Exposure()


def exposure(first: np.ndarray, second: np.ndarray) -> Exposure | None:
    """What brings `second` to the exposure of `first`; SAME if there is next to no difference.

    By the means over squares of 8 x 8 pixels, in which there is little noise: the ratio of their
    spreads, which the noise of both widens alike.

    Returns:
        None if the two show other scenes.
    """
    a, b = (_blocks(image) for image in (first, second))
    if a.size < 4:
        return SAME
    spreads = a.std(), b.std()
    if not all(spreads):
        return SAME
    likeness = float(np.mean((a - a.mean()) * (b - b.mean())) / (spreads[0] * spreads[1]))
    if likeness < _LIKENESS:
        seen = all(map(_has_structure, (first, second), spreads))
        return None if seen and likeness < 0.5 else SAME
    gain = float(spreads[0] / spreads[1])
    offset = float(a.mean() - gain * b.mean())
    # What noise may make of either: small images tell little.
    doubt = _SURE * np.sqrt((1 - likeness**2) / a.size), _SURE * np.std(a - b) / np.sqrt(a.size)
    small = abs(np.log(gain)) < max(_EXPOSURE, doubt[0]) and abs(a.mean() - b.mean()) < max(
        _EXPOSURE * spreads[0], doubt[1]
    )
    return SAME if small else Exposure(gain, offset)


def _blocks(image: np.ndarray) -> np.ndarray:
    """(rows, columns): means over squares and channels."""
    rows, columns = (size // _BLOCK for size in image.shape[1:])
    part = image[:, : rows * _BLOCK, : columns * _BLOCK].astype(np.float64)
    return part.reshape(len(image), rows, _BLOCK, columns, _BLOCK).mean((0, 2, 4))


def _has_structure(image: np.ndarray, spread: float) -> bool:
    """Whether blocks differ by much more than noise makes them."""
    plane = image.mean(0, dtype=np.float64)
    noise = np.std(plane[::2, : plane.shape[1] // 2 * 2 : 2] - plane[::2, 1::2]) / np.sqrt(2)
    return bool(spread > _STRUCTURE * noise / _BLOCK)


def common(shape: tuple[int, ...], places: np.ndarray) -> list[tuple[slice, slice]]:
    """The rows and columns of each shot that show what all shots show.

    Arguments:
        shape: of the shots, (..., H, W).
        places: (shots, 2), where the picture lies in each, in whole pixels.

    Returns:
        Windows; empty ones where nothing is in all of them.
    """
    starts = places - places.min(0)
    height, width = np.maximum(np.array(shape[-2:]) - starts.max(0), 0).tolist()
    return [(slice(top, top + height), slice(left, left + width)) for top, left in starts.tolist()]


def registered(shots: Sequence[np.ndarray], places: np.ndarray) -> list[np.ndarray]:
    """What all shots show, moved by whole pixels: nothing is interpolated, so noise stays as it is.

    Arguments:
        shots: (C, H, W) each, of one shape.
        places: as of `common`.

    Returns:
        Windows of the shots, as `common` has them.
    """
    windows = common(shots[0].shape, places)
    return [shot[:, rows, columns] for shot, (rows, columns) in zip(shots, windows, strict=True)]

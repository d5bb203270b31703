"""One look at all pixels, before any is denoised: which values there are, and what is white."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from noise2noise.files.scale import Scale
from noise2noise.files.stack import Header, Stack, bands_of

BAND = 256
"""Rows that are looked at together."""

_SAMPLES = 2**16  # values of the whole stack that the usual range is told by
_SHARE = 4096  # of them from a band, at most
_USUAL = 99.9  # percent of them
_OUTLIER = 4  # values so many times larger than the usual ones say nothing of what white is


@dataclass(frozen=True)
class Survey:
    """What values a stack has, transparency left out.

    Attributes:
        low, high: the smallest and the largest finite value; 0 if there is none.
        usual: the value that all but one in a thousand stay below.
        bad: how many values are NaN or infinite.
    """

    low: float
    high: float
    usual: float
    bad: int


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of some bands.

    Attributes:
        lows, highs: the smallest and the largest finite value of each.
        samples: some of their values.
        bad: how many are NaN or infinite.
    """

    lows: list[float]
    highs: list[float]
    samples: np.ndarray
    bad: int


def survey(stack: Stack) -> Survey:
    """Read all of a stack once, in bands."""
    return together([look(stack, share_of(stack.header))])


def share_of(header: Header) -> int:
    """How many values of each band the usual range of a whole stack is told by."""
    bands = header.planes * -(-header.height // BAND)
    return min(_SHARE, max(1, _SAMPLES // bands))


def look(stack: Stack, share: int) -> Look:
    """Read all of a stack, or of a part of one that has all columns and whole bands."""
    lows: list[float] = []
    highs: list[float] = []
    samples: list[np.ndarray] = []
    bad = 0
    for band in bands_of(stack, BAND):
        values = band[..., : stack.header.colours]
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            missing = values.size - int(np.count_nonzero(finite))
            bad += missing
            if missing:
                values = values[finite]
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
            few = values.reshape(-1)[:: -(-values.size // share)]
            samples.append(few.astype(np.float64))  # a view would keep the band in memory
    return Look(lows, highs, np.concatenate(samples) if samples else np.empty(0), bad)


def together(looks: Iterable[Look]) -> Survey:
    """What looks at all parts of a stack say of it."""
    looks = [*looks]
    bad = sum(each.bad for each in looks)
    samples = np.concatenate([each.samples for each in looks])
    if not len(samples):
        return Survey(0, 0, 0, bad)
    low = min(value for each in looks for value in each.lows)
    high = max(value for each in looks for value in each.highs)
    return Survey(low, high, float(np.percentile(samples, _USUAL)), bad)


def scale_of(header: Header, seen: Survey) -> Scale:
    """What is black and what is white in a stack with these values.

    - 8 bits have all of their range. Of more bits as many count as the largest value needs, so that
      12 bits in 16 aren't dark; signed ones reach as far below zero as their smallest value needs.
    - Floats that lie about in 0 to 1 are taken as they are or, where none comes near 1, multiplied
      by a power of two. Others are on a scale of their own: the largest value is white or, where
      few are far above the others, the largest of those.
    - A white level that the file states counts if no value is above it.
    """
    if header.white is not None and seen.high <= header.white and seen.low >= 0:
        return Scale(0, header.white)
    dtype = header.whole or header.dtype
    if dtype == np.uint8:
        return Scale.of(dtype)
    if dtype.kind in "ui":
        black = -_power(-seen.low) if seen.low < 0 else 0
        return Scale(black, _power(seen.high + 1) - 1)
    if seen.low >= -1 and seen.high <= 2:
        dark = 0 < seen.high <= 0.5 and -seen.low <= seen.high
        return Scale(0, 2 ** math.ceil(math.log2(seen.high)) if dark else 1)
    white = seen.high if seen.high <= _OUTLIER * seen.usual else seen.usual
    black = min(seen.low, 0)
    return Scale(black, white if white > black else black + 1)


def _power(value: float) -> int:
    """The smallest power of two, of 256 at least, that is no less."""
    return 2 ** max(8, math.ceil(math.log2(max(value, 1))))

"""Salt and pepper: single pixels at the lowest or the highest value there is, among others that
are far from it. `impulses.py` finds any single pixel that stands out; this one knows the two values
that lost bits and dead pixels leave, and so finds them where they are many, or in texture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

REACH = 2
"""How far, in pixels, is looked at to tell whether one is salt or pepper."""

_MOST_AROUND = 0.4  # share of the 24 around it that may be extreme: more is a surface of the image
_AWAY = 0.04  # of the range of values, that it is away from all of its neighbours
_SHARE = 0.003  # of the pixels; pictures have a tenth of it


class Salt(NamedTuple):
    """What was found in an image (C, H, W).

    Attributes:
        repaired: the image, with the median of good neighbours there.
        places: bool (C, H, W).
        spread: (C, H, W), the standard deviation of these neighbours there, 0 elsewhere.
    """

    repaired: np.ndarray
    places: np.ndarray
    spread: np.ndarray

    @property
    def sure(self) -> bool:
        """Whether there is too much of it for an accident."""
        return bool(self.places.mean() > _SHARE)


def find_salt(image: np.ndarray, low: float, high: float) -> Salt:
    """Salt and pepper of an image (C, H, W) whose lowest and highest values are `low` and `high`.

    A window gives what the whole gives where `REACH` pixels around are in it.
    """
    places, repaired = np.zeros(image.shape, bool), image.copy()
    spread = np.zeros(image.shape, np.float32)
    if min(image.shape[1:]) <= REACH:
        return Salt(repaired, places, spread)
    for extreme in (image <= low, image >= high):
        for channel, there in enumerate(extreme):
            at, median, deviation = _lonely(image[channel], there, _AWAY * (high - low))
            places[channel][at] = True
            repaired[channel][at] = median
            spread[channel][at] = deviation
    return Salt(repaired, places, spread)


def _lonely(
    plane: np.ndarray, extreme: np.ndarray, away: float
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """Where pixels of a plane at one extreme value stand alone; median and standard deviation of
    their neighbours that aren't at it, of the next eight where there are enough of these."""
    rows, columns = np.nonzero(extreme)
    padded = np.pad(np.where(extreme, np.float32(np.nan), plane), REACH, "reflect")
    size = 2 * REACH + 1
    around = np.lib.stride_tricks.sliding_window_view(padded, (size, size))[rows, columns]
    lonely = np.isnan(around).sum((1, 2)) - 1 <= _MOST_AROUND * (size**2 - 1)
    rows, columns, around = rows[lonely], columns[lonely], around[lonely]
    nearest = np.nanmin(np.abs(around - plane[rows, columns][:, None, None]), axis=(1, 2))
    alone = nearest > away
    rows, columns, around = rows[alone], columns[alone], around[alone].reshape(-1, size**2)
    near = around.copy()
    near[:, ~_NEXT] = np.nan
    enough = np.isfinite(near).sum(1) >= _FEWEST
    used = np.where(enough[:, None], near, around)
    return (rows, columns), np.nanmedian(used, axis=1), np.nanstd(used, axis=1)


_NEXT = np.pad(np.ones((3, 3), bool), REACH - 1).ravel()
_FEWEST = 3

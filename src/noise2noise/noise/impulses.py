"""Impulses: single pixels far away from all around them, as hot pixels and lost bits leave them."""

from __future__ import annotations

import numpy as np

from noise2noise.noise.profile import NoiseProfile

_DEVIATIONS = 8  # of the noise, that an impulse is away from its neighbours
_RANGES = 5  # of its neighbours' spread: texture and edges spread theirs
REACH = 2
"""How far, in pixels, is looked at to tell whether one is an impulse."""

_SPILL = 0.1  # of its height, that its next neighbours rise with it: those of a star rise more


def impulses(plane: np.ndarray, sigma: float | np.ndarray) -> np.ndarray:
    """Where a pixel can be neither noise nor picture.

    It is further from the median of its eight neighbours than 8 standard deviations of the noise,
    and than 5 times the spread of those neighbours (from the second smallest to the second
    largest). And the four next to it don't rise with it by a tenth of its height above those two
    pixels away, as they do by a star's light, whose peak is 15 % as high one pixel away when it is
    1.2 pixels wide (full width at half maximum).

    Where more than about one pixel in ten is an impulse, many have others among their neighbours
    and aren't found.

    Arguments:
        plane: one channel, `(H, W)`.
        sigma: standard deviation of the noise, a number or `(H, W)`.

    Returns:
        bool `(H, W)`.
    """
    return _found(plane, sigma)[0]


def find_impulses(image: np.ndarray, profile: NoiseProfile) -> np.ndarray:
    """Where the impulses of an image are: `impulses` of each channel, by the noise of a profile.

    Where that is correlated, a single pixel may be as far off as its coarser scales make it.

    Arguments:
        image: `(C, H, W)`.
        profile: its noise.

    Returns:
        bool `(C, H, W)`.
    """
    return remove_impulses(image, profile)[1]


def remove_impulses(image: np.ndarray, profile: NoiseProfile) -> tuple[np.ndarray, np.ndarray]:
    """The image with each impulse replaced by the median of its neighbours, and where they were.

    Arguments, and the second value, as `find_impulses`. The image itself is returned where there
    are none. A window gives what the whole gives where `REACH` pixels around are in it, and
    `noise2noise.noise.profile.MARGIN`.
    """
    coarser = profile.pixel / profile.spectrum[0] if profile.spectrum[0] > 0 else 1.0
    sigma = profile.sigma(image) * np.float32(max(coarser, 1.0))
    found = [_found(*each) for each in zip(image, sigma, strict=True)]
    places = np.stack([mask for mask, _ in found])
    if not places.any():
        return image, places
    repaired = image.copy()
    repaired[places] = np.concatenate([medians for _, medians in found])
    return repaired, places


def without_impulses(plane: np.ndarray, sigma: float | np.ndarray) -> tuple[np.ndarray, int]:
    """The plane with each impulse replaced by the median of its neighbours, and how many.

    The plane itself is returned where there were none. Arguments as `impulses`.
    """
    mask, medians = _found(plane, sigma)
    if not len(medians):
        return plane, 0
    repaired = plane.copy()
    repaired[mask] = medians
    return repaired, len(medians)


def _found(plane: np.ndarray, sigma: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the impulses are, and the medians of their neighbours in the order of the mask."""
    mask = np.zeros(plane.shape, bool)
    if min(plane.shape) < 3:  # no pixel with neighbours on all sides
        return mask, np.empty(0, np.float32)
    padded = np.pad(plane, 2, "reflect")
    sums = padded[1:-3] + padded[2:-2] + padded[3:-1]
    means = (sums[:, 1:-3] + sums[:, 2:-2] + sums[:, 3:-1] - plane) / 8
    # Few pixels are far from their neighbours' mean, and only theirs are sorted.
    rows, columns = np.nonzero(np.abs(plane - means) > 0.6 * _DEVIATIONS * sigma)
    values = plane[rows, columns]
    neighbours = np.sort(_at(padded, rows, columns, _NEIGHBOURS), axis=1)
    medians = (neighbours[:, 3] + neighbours[:, 4]) / 2
    away = np.abs(values - medians)
    spread = neighbours[:, 6] - neighbours[:, 1]
    beside = np.median(_at(padded, rows, columns, _BESIDE), axis=1)
    around = np.median(_at(padded, rows, columns, _AROUND), axis=1)
    spilled = (beside - around) * np.sign(values - medians)
    noise = np.broadcast_to(sigma, plane.shape)[rows, columns]
    impulse = away > np.maximum(_DEVIATIONS * noise, _RANGES * spread)
    impulse &= spilled < _SPILL * away
    mask[rows[impulse], columns[impulse]] = True
    return mask, medians[impulse]


_OFFSETS = [(y, x) for y in range(-2, 3) for x in range(-2, 3)]
_NEIGHBOURS = [(y, x) for y, x in _OFFSETS if max(abs(y), abs(x)) == 1]
_BESIDE = [(y, x) for y, x in _OFFSETS if abs(y) + abs(x) == 1]
_AROUND = [(y, x) for y, x in _OFFSETS if max(abs(y), abs(x)) == 2]


def _at(
    padded: np.ndarray, rows: np.ndarray, columns: np.ndarray, offsets: list[tuple[int, int]]
) -> np.ndarray:
    """Values at these offsets from N pixels of a plane that was padded by 2: (N, offsets)."""
    return np.stack([padded[rows + 2 + y, columns + 2 + x] for y, x in offsets], axis=1)

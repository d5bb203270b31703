"""Impulses: single pixels far away from all around them, as hot pixels and lost bits leave them."""

from __future__ import annotations

import numpy as np

_DEVIATIONS = 6  # of the noise, that an impulse is away from its neighbours
_RANGES = 5  # of its neighbours' spread: texture, edges and stars spread theirs


def impulses(plane: np.ndarray, sigma: float | np.ndarray) -> np.ndarray:
    """Where a pixel can be neither noise nor picture.

    It is further from the median of its eight neighbours than 6 standard deviations of the noise,
    and than 5 times the spread of those neighbours (from the second smallest to the second
    largest), so that a star, whose light falls on its neighbours too, isn't taken for one. Where
    more than about one pixel in ten is an impulse, many have others among their neighbours and
    aren't found.

    Arguments:
        plane: one channel, `(H, W)`.
        sigma: standard deviation of the noise, a number or `(H, W)`.

    Returns:
        bool `(H, W)`.
    """
    return _found(plane, sigma)[0]


def without_impulses(plane: np.ndarray, sigma: float | np.ndarray) -> tuple[np.ndarray, int]:
    """The plane with each impulse replaced by the median of its neighbours, and how many."""
    mask, medians = _found(plane, sigma)
    if not len(medians):
        return plane, 0
    repaired = plane.copy()
    repaired[mask] = medians
    return repaired, len(medians)


def _found(plane: np.ndarray, sigma: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the impulses are, and the medians of their neighbours in the order of the mask."""
    mask = np.zeros(plane.shape, bool)
    if min(plane.shape) < 3:
        return mask, np.empty(0, np.float32)
    padded = np.pad(plane, 1, "reflect")
    sums = padded[:-2] + padded[1:-1] + padded[2:]
    means = (sums[:, :-2] + sums[:, 1:-1] + sums[:, 2:] - plane) / 8
    # Few pixels are far from their neighbours' mean, and only theirs are sorted.
    rows, columns = np.nonzero(np.abs(plane - means) > 0.7 * _DEVIATIONS * sigma)
    around = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    neighbours = np.stack([padded[rows + y, columns + x] for y, x in around], axis=1)
    neighbours.sort(axis=1)
    medians = (neighbours[:, 3] + neighbours[:, 4]) / 2
    away = np.abs(plane[rows, columns] - medians)
    noise = np.broadcast_to(sigma, plane.shape)[rows, columns]
    impulse = away > np.maximum(
        _DEVIATIONS * noise, _RANGES * (neighbours[:, 6] - neighbours[:, 1])
    )
    mask[rows[impulse], columns[impulse]] = True
    return mask, medians[impulse]

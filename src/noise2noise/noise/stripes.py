"""Rows that are brighter or darker than those around them by an offset of their own, as the
amplifiers of a sensor's rows leave them; of columns the same, turned."""

from __future__ import annotations

import numpy as np

_ROUNDS = 3  # each takes away what smoothing has left of the offsets
_TAPS = np.array([1, 4, 7, 0, 7, 4, 1]) / 24  # of the rows around one, which is left out
_MOST_COLUMNS = 4096  # that a row's offset is told by


def row_offsets(image: np.ndarray) -> np.ndarray:
    """How far each row is off: the median, along it, of its distance from the rows around.

    Brightness that changes slowly from row to row is left in the image, offsets that do are too:
    a mean over some ten rows of what is returned is about zero.

    Arguments:
        image: (C, H, W); every k-th column is enough, for a k that leaves some thousand.

    Returns:
        float32 (C, H).
    """
    columns = image[:, :, :: -(-image.shape[2] // _MOST_COLUMNS)]
    offsets = np.zeros(columns.shape[:2], np.float32)
    if columns.shape[1] < len(_TAPS):
        return offsets
    for _ in range(_ROUNDS):
        rest = columns - offsets[:, :, None]
        offsets += 0.7 * np.median(rest - _around(rest), axis=2)
    return offsets - offsets.mean(axis=1, keepdims=True)


def stripes_left(image: np.ndarray, offsets: np.ndarray) -> tuple[float, float]:
    """How striped an image is as it is, and without offsets that were measured elsewhere in it:
    the mean square of the medians of rows' distances from those around them.

    Arguments:
        image: (C, H, W), other columns than those that the offsets are from.
        offsets: (C, H).
    """
    left = []
    for rest in (image, image - offsets[:, :, None]):
        off = np.median(rest - _around(rest), axis=2)
        left.append(float(np.square(off, dtype=np.float64).mean()))
    return left[0], left[1]


def _around(image: np.ndarray) -> np.ndarray:
    """The weighted mean of three rows above and three below, the border reflected."""
    reach = len(_TAPS) // 2
    padded = np.pad(image, ((0, 0), (reach, reach), (0, 0)), "reflect")
    height = image.shape[1]
    total = np.zeros_like(image)
    for row, weight in enumerate(_TAPS):
        if weight:
            total += np.float32(weight) * padded[:, row : row + height]
    return total

"""Small squares of an image and their frequencies: what noise is measured in.

Noise shows best where the picture is smooth, and in the frequencies where pictures have least. So
squares of 8 x 8 pixels are taken from all over the image and transformed (orthonormal discrete
cosine transform). Which of them are smooth is told by their low and middle frequencies, and the
noise is read from nine of the highest: in white noise these are independent, so that choosing the
smoothest squares doesn't choose those with little noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

SIDE = 8
"""Of a square, in pixels."""

MOST_CROPS = 24
"""How many crops a large image is looked at through."""

_CROP = 256  # their side in pixels
MAD = NormalDist().inv_cdf(0.75)
"""The median of |x| of a standard normal x."""


_PATCHES = 16_000  # about so many squares are taken in all


def _cosines() -> np.ndarray:
    frequency, place = np.mgrid[:SIDE, :SIDE]
    cosines = np.sqrt(2 / SIDE) * np.cos(np.pi * frequency * (2 * place + 1) / (2 * SIDE))
    cosines[0] /= np.sqrt(2)
    return np.kron(cosines, cosines).astype(np.float32)  # (64 frequencies, 64 pixels)


_DCT = _cosines()
_ROW, _COLUMN = (index.ravel() for index in np.mgrid[:SIDE, :SIDE])
_FINE = np.minimum(_ROW, _COLUMN) >= 5
FINE_CYCLES = (_ROW + _COLUMN)[_FINE]
"""Of `Patches.fine`: rows' and columns' frequencies together, in half cycles a square."""

_MIDDLE = (_ROW + _COLUMN >= 1) & (_ROW + _COLUMN <= 7)


@dataclass(frozen=True)
class Patches:
    """What was read from the squares of one channel, N of them.

    Attributes:
        level: (N,) their means.
        fine: (N, 9) the highest frequencies: for white noise each has the noise's deviation.
        texture: (N,) mean square of the frequencies from 1 to 7 half cycles: the noise's variance
            where the picture is smooth and the noise white, more elsewhere.
        piled: (N, 4) shares of the pixels at the lowest value there is in the channel, at the next
            above it, at the last but one, and at the highest.
    """

    level: np.ndarray
    fine: np.ndarray
    texture: np.ndarray
    piled: np.ndarray

    def __len__(self) -> int:
        return len(self.level)

    def __getitem__(self, index: np.ndarray) -> Patches:
        return Patches(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    @classmethod
    def joined(cls, parts: list[Patches]) -> Patches:
        """Those of several crops as one."""
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in cls.__dataclass_fields__
            )
        )


def crops(height: int, width: int, most: int = MOST_CROPS) -> list[tuple[slice, slice]]:
    """Where to look: all of a small image, else crops of 256 x 256 pixels spread over it."""
    if height * width <= most * _CROP**2:
        return [(slice(0, height), slice(0, width))]
    rows, columns = (max(-(-size // _CROP), 1) for size in (height, width))
    count = min(rows * columns, most)
    # Steps of the golden ratio through the grid, row by row, fall into all its columns.
    places = {int(rows * columns * ((0.5 + step * 0.6180339887) % 1)) for step in range(count)}
    tops, lefts = np.divmod(sorted(places), columns)
    return [
        (
            slice(max(min(top * _CROP, height - _CROP), 0), min(top * _CROP + _CROP, height)),
            slice(max(min(left * _CROP, width - _CROP), 0), min(left * _CROP + _CROP, width)),
        )
        for top, left in zip(tops.tolist(), lefts.tolist(), strict=True)
    ]


def of(planes: Sequence[np.ndarray]) -> Patches:
    """The squares of a channel's crops."""
    step = step_for(sum(plane.size for plane in planes))
    planes = [plane for plane in planes if min(plane.shape) >= SIDE]
    if not planes:
        return read(np.empty((0, SIDE * SIDE), np.float32), (0.0,) * 4)
    ends = extremes(planes)
    return Patches.joined(
        [read(squares(plane, *grid(plane.shape, step)), ends) for plane in planes]
    )


def robust_sigma(values: np.ndarray) -> float:
    """The standard deviation of values around 0, most of which are normal."""
    return float(np.median(np.abs(values))) / MAD


def step_for(pixels: int) -> int:
    """How far apart squares are taken from so many pixels, for 16,000 of them if there are enough.

    An odd number, so that they lie in every way on the grids of JPEG's blocks and of mosaics.
    """
    step = int(np.sqrt(pixels / _PATCHES))
    return max(step | 1, 3)


def squares(plane: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The squares whose first pixels lie at these rows and columns: (H, W) -> (N, 64)."""
    if not len(rows):
        return np.empty((0, SIDE * SIDE), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))
    return windows[rows, columns].reshape(-1, SIDE * SIDE)


def grid(shape: tuple[int, ...], step: int) -> tuple[np.ndarray, np.ndarray]:
    """First rows and columns of squares so many pixels apart: two arrays (N,)."""
    tops, lefts = (np.arange(0, max(size - SIDE + 1, 0), step) for size in shape)
    rows, columns = np.meshgrid(tops, lefts, indexing="ij")
    return rows.ravel(), columns.ravel()


def read(pixels: np.ndarray, extremes: tuple[float, ...]) -> Patches:
    """What the squares (N, 64) of a channel tell whose `extremes` are these."""
    # Differences from the mean keep their digits where a large offset would take them.
    level = pixels.mean(axis=1, dtype=np.float64)
    frequencies = (pixels - level[:, None].astype(np.float32)) @ _DCT.T
    power = frequencies**2
    return Patches(
        level=level,
        fine=frequencies[:, _FINE],
        texture=power[:, _MIDDLE].mean(axis=1),
        piled=np.stack([(pixels == value).mean(axis=1) for value in extremes], axis=1),
    )


def extremes(planes: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Of a channel's crops: the lowest value, the next above it, the last but one, the highest."""
    low, high = min(plane.min() for plane in planes), max(plane.max() for plane in planes)
    second = min(plane.min(initial=high, where=plane > low) for plane in planes)
    last_but_one = max(plane.max(initial=low, where=plane < high) for plane in planes)
    return tuple(float(value) for value in (low, second, last_but_one, high))


def powers(pixels: np.ndarray) -> np.ndarray:
    """Squares of all frequencies: (N, 64) pixels -> (N, 8, 8), rows and columns' frequencies."""
    centred = pixels - pixels.mean(axis=1, keepdims=True)
    return ((centred @ _DCT.T) ** 2).reshape(-1, SIDE, SIDE)


def halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels."""
    height, width = (size // 2 * 2 for size in plane.shape)
    even = plane[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) * np.float32(
        0.25
    )

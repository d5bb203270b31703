"""Stored values as something a screen can show: 8 bits, turned the right way up, and smaller."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

from noise2noise.files import exif
from noise2noise.files.stack import Header, Metadata

TILE = 128
"""Side of a tile on the page, in pixels."""

RESIDUAL_GAIN = 4
"""What was removed is shown so many times as strong, about a middle grey."""

_LOW, _HIGH = 0.1, 99.9  # percent of the values: what lies below is black, what lies above white
_MOST_SAMPLES = 2**17


@dataclass(frozen=True)
class Range:
    """Which stored value is shown black, and which white."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.high > self.low:
            object.__setattr__(self, "high", self.low + 1)

    @classmethod
    def of(cls, header: Header, planes: Sequence[np.ndarray]) -> Range:
        """All that 8 bits hold; of other values what most of them lie between."""
        if header.dtype == np.uint8:
            return cls(0, 255)
        few = [plane.reshape(-1)[:: -(-plane.size // _MOST_SAMPLES)] for plane in planes]
        values = np.concatenate(few).astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            return cls(0, 1)
        low, high = np.percentile(values, (_LOW, _HIGH))
        return cls(float(low), float(high))

    def unit(self, stored: np.ndarray) -> np.ndarray:
        """float32, black 0 and white 1; what is no number is black."""
        unit = (stored.astype(np.float32) - np.float32(self.low)) / np.float32(self.high - self.low)
        return np.nan_to_num(unit, copy=False, nan=0.0, posinf=1.0, neginf=0.0)


def levels_of(height: int, width: int) -> int:
    """How many levels a picture has: at the last one a tile holds all of it, unless a tile's pixels
    would be means of more than a tile."""
    return 1 + min(max(0, math.ceil(math.log2(max(height, width) / TILE))), int(math.log2(TILE)))


def shown(unit: np.ndarray) -> np.ndarray:
    """uint8 of values in [0, 1]."""
    return np.rint(unit.clip(0, 1) * 255).astype(np.uint8)


def residual(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """uint8: what was removed, about the middle grey."""
    return shown(0.5 + RESIDUAL_GAIN * (before - after))


def smaller(pixels: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, C) as float32 means of squares; those at the far edges may be narrower."""
    if factor == 1:
        return pixels.astype(np.float32)
    height, width = pixels.shape[:2]
    below, right = -height % factor, -width % factor
    whole = np.pad(pixels.astype(np.float32), ((0, below), (0, right), (0, 0)), "edge")
    rows, columns = (size // factor for size in whole.shape[:2])
    return whole.reshape(rows, factor, columns, factor, -1).mean((1, 3))


def png(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 1) or (H, W, 3) as a PNG, packed in haste."""
    file = io.BytesIO()
    picture = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


@dataclass(frozen=True)
class Turned:
    """A picture as its EXIF orientation has it: where its pixels lie in the stored one.

    Attributes:
        height, width: of the stored picture.
        orientation: from 1 to 8.
    """

    height: int
    width: int
    orientation: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width as they are seen."""
        if self.orientation > 4:
            return self.width, self.height
        return self.height, self.width

    def stored(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Where a window of what is seen lies in what is stored."""
        if self.orientation > 4:
            rows, columns = columns, rows
        upside_down, mirrored = _FLIPS[self.orientation]
        if upside_down:
            rows = slice(self.height - rows.stop, self.height - rows.start)
        if mirrored:
            columns = slice(self.width - columns.stop, self.width - columns.start)
        return rows, columns

    def seen(self, stored: np.ndarray) -> np.ndarray:
        """A window, (h, w, C), as it is seen."""
        return np.ascontiguousarray(exif.turned(stored, self.orientation))


# EXIF's orientations: whether the stored rows run upwards, and the stored columns to the left, once
# rows and columns are exchanged for those above 4.
_FLIPS = {
    1: (False, False),
    2: (False, True),
    3: (True, True),
    4: (True, False),
    5: (False, False),
    6: (True, False),
    7: (True, True),
    8: (False, True),
}


def orientation_of(metadata: Metadata) -> int:
    """What the EXIF block says; 1 if it says nothing that can be."""
    if not metadata.exif:
        return 1
    try:
        order, entries = exif.read_block(metadata.exif)
    except Exception:  # a damaged block, in any way that there is
        return 1
    big = "little" if order == "<" else "big"
    for entry in entries:
        if entry.code == exif.ORIENTATION and len(entry.data) >= 2:
            value = int.from_bytes(entry.data[:2], big)
            return value if 1 <= value <= 8 else 1
    return 1

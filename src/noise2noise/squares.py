"""Squares out of photographs, averaged over areas: the course's small images were made so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from noise2noise.evaluation import read_unit
from noise2noise.files import from_unit

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


def read_photograph(path: Path, least: int) -> PIL.Image.Image:
    """The photograph with 8 bits and three channels.

    Raises:
        UserError: it can't be read, or a side has fewer than `least` pixels.
    """
    return PIL.Image.fromarray(from_unit(read_unit(path, least=least), np.uint8)).convert("RGB")


def centre(photo: PIL.Image.Image) -> Box:
    """The largest square in the photograph's centre."""
    side = min(photo.size)
    left, top = ((size - side) // 2 for size in photo.size)
    return left, top, left + side, top + side


def averaged(photo: PIL.Image.Image, box: Box, side: int) -> np.ndarray:
    """The box, averaged over areas to uint8 (3, side, side)."""
    square = photo.resize((side, side), PIL.Image.Resampling.BOX, box=box)
    return np.asarray(square).transpose(2, 0, 1)

"""Pictures to work on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photograph(height: int, width: int, seed: int = 0, noise: float = 12) -> np.ndarray:
    """(height, width, 3) uint8: waves and noise."""
    rng = np.random.default_rng((seed, height, width))
    y, x = np.ogrid[:height, :width]
    image = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        a, b = rng.uniform(0.02, 0.3, 2)
        plane = np.float32(128 + 60 * np.sin(a * x) * np.cos(b * y))
        plane += noise * rng.standard_normal((height, width), np.float32)
        image[..., channel] = plane.clip(0, 255)
    return image


def write(folder: Path, count: int, side: int, seed: int = 0) -> Path:
    """A folder of PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image = Image.fromarray(photograph(side, side + 8 * index, seed + index))
        image.save(folder / f"{index:03d}.png")
    return folder

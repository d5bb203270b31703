"""Draws docs/images/gallery/: pictures of scikit-image with noise, denoised, and as they were.

Noise is drawn with a fixed seed and stored in 8 bits, as files have it; the model is the one that
`noise2noise denoise` takes, and it isn't told the noise.

Run from the repository: .venv/bin/python docs/figures/make_gallery.py, with names for some of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage.data

from noise2noise import denoise
from noise2noise.figures import save_comparison
from noise2noise.metrics import psnr
from noise2noise.noise.corruptions import parse

PLACE = Path(__file__).parents[1] / "images" / "gallery"


class Picture(NamedTuple):
    """What is shown.

    Attributes:
        name: of the picture in scikit-image, and of the file.
        noise: as `noise2noise make-pairs` takes it.
        part: rows and columns of the picture.
        zoom: top, left and side of the detail, in pixels of that part.
    """

    name: str
    noise: str
    part: tuple[slice, slice]
    zoom: tuple[int, int, int]


def _part(top: int, left: int, height: int, width: int) -> tuple[slice, slice]:
    return slice(top, top + height), slice(left, left + width)


PICTURES = [
    Picture("chelsea", "sensor:0.01,4", _part(0, 40, 300, 380), (150, 60, 100)),
    Picture("astronaut", "poisson:20", _part(0, 80, 320, 400), (60, 95, 100)),
    Picture("camera", "gaussian:40", _part(40, 100, 320, 400), (90, 60, 90)),
    Picture("cell", "micro:scmos,40,2", _part(120, 60, 400, 480), (190, 260, 130)),
    Picture("immunohistochemistry", "sensor:0.02,5", _part(60, 60, 320, 400), (120, 110, 90)),
    Picture("hubble_deep_field", "poisson-gaussian:40,6", _part(380, 300, 320, 400), (170, 90, 90)),
    Picture("moon", "gaussian:25", _part(100, 60, 320, 400), (150, 120, 100)),
    Picture("grass", "gaussian:50", _part(0, 0, 320, 400), (150, 120, 90)),
]


def draw(picture: Picture) -> None:
    """Draw one comparison, and print what it reaches."""
    stored = getattr(skimage.data, picture.name)()[picture.part]
    clean = np.atleast_3d(stored).transpose(2, 0, 1).astype(np.float32) / 255
    noisy = parse(picture.noise).draw(clean, np.random.default_rng(0))
    noisy = np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)
    pixels = noisy.transpose(1, 2, 0)
    denoised = denoise(pixels if len(clean) == 3 else pixels[..., 0])
    before, after = (
        np.atleast_3d(each).transpose(2, 0, 1) / np.float32(255) for each in (pixels, denoised)
    )
    said = [f"{psnr(each, clean):.1f} dB" for each in (before, after)]
    panels = [(f"noisy, {said[0]}", before), (f"denoised, {said[1]}", after), ("clean", clean)]
    path = PLACE / f"{picture.name}.webp"
    save_comparison(path, panels, overwrite=True, zoom=picture.zoom)
    print(f"{path.name}: {picture.noise}, {said[0]} -> {said[1]}")


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for each in PICTURES:
        if each.name in sys.argv[1:] or not sys.argv[1:]:
            draw(each)

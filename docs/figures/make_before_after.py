"""Draws docs/images/before-after.png: a photograph of scikit-image, with noise and without.

Run from the repository: .venv/bin/python docs/figures/make_before_after.py
"""

from pathlib import Path

import numpy as np
import skimage.data

from noise2noise.denoiser import Denoiser
from noise2noise.figures import save_comparison
from noise2noise.files import to_unit
from noise2noise.metrics import psnr
from noise2noise.noise.corruptions import parse

clean = to_unit(skimage.data.coffee())
noisy = parse("gaussian:25").draw(clean, np.random.default_rng(0))
denoised = np.clip(Denoiser.load("photo").denoise_unit(noisy), 0, 1)
save_comparison(
    Path(__file__).parents[1] / "images" / "before-after.png",
    [
        (f"noisy, {psnr(noisy, clean):.1f} dB", noisy),
        (f"denoised, {psnr(denoised, clean):.1f} dB", denoised),
        ("clean", clean),
    ],
    overwrite=True,
    zoom=(225, 300, 110),
)

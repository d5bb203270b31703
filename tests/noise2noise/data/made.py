"""Noisy shots of textures that are made on the spot."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def texture(side: int, seed: int = 0, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Smooth blobs around 120, (H, W), whose picture lies `shift` rows and columns further on."""
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.normal(size=(side + 32, side + 32)), 2, mode="wrap")
    picture = 120 + 40 * blobs / blobs.std()
    moved = np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(picture), shift)).real
    return moved[16:-16, 16:-16]


def shot(picture: np.ndarray, seed: int, sigma: float = 8) -> np.ndarray:
    """The picture with Gaussian noise of its own."""
    return picture + np.random.default_rng((1, seed)).normal(0, sigma, picture.shape)


def eight_bits(values: np.ndarray) -> np.ndarray:
    return np.rint(values.clip(0, 255)).astype(np.uint8)

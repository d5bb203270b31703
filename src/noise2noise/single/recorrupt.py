"""Pairs for noise that reaches from pixel to pixel: more of the same noise is added to an image and
taken from it.

    first = y + a n,    second = y - n / a        n as the noise of y, and independent of it

Then the two have independent noise where n has the covariance of the noise in y: that of their
noise is Cov - a/a Cov(n) = 0 (T. Pang, H. Zheng, Y. Quan and H. Ji, "Recorrupted-to-Recorrupted:
Unsupervised Deep Learning for Image Denoising", CVPR 2021). What is known of it is what a
`NoiseProfile` says: its level by brightness, and its correlation one and two pixels away.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noise2noise.noise import NoiseProfile, estimate_together
from noise2noise.noise.words import is_correlated
from noise2noise.single.sample import Pair, Sample, held_back

REACHES = 0.3
"""Noise that grows from scale to scale, and whose neighbours go together by more than this, isn't
independent from pixel to pixel. Texture that is taken for noise has less."""

_ADDED = 0.5  # a
_DRAWS = 2  # of each sample


def noise_of(samples: Sequence[Sample]) -> NoiseProfile:
    """What the samples have in common."""
    return estimate_together([sample.image for sample in samples])


def reaches_far(profile: NoiseProfile) -> bool:
    """Whether pairs must be made here, since the noise of neighbours goes together."""
    beside = max(profile.correlation.horizontal[0], profile.correlation.vertical[0])
    return is_correlated(profile) and beside > REACHES


def recorrupted(
    samples: Sequence[Sample], profile: NoiseProfile, rng: np.random.Generator
) -> list[Pair]:
    """Two pairs of each sample.

    Arguments:
        profile: of their noise.
        rng: draws the noise that is added, and chooses what is held back.
    """
    pairs = []
    for sample in samples:
        for _ in range(_DRAWS):
            noise = like(profile, sample.image, rng)
            first, second = sample.image + _ADDED * noise, sample.image - noise / _ADDED
            sigma = sample.sigma * np.float32((1 + _ADDED**2) ** 0.5)
            held = held_back(first.shape[1:], rng)
            pairs.append(Pair(first, second, sigma, held, mirrored=False))
    return pairs


def like(profile: NoiseProfile, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise as a profile says that it is in an image (C, H, W), float32 of the same shape."""
    # Its line is of the finest scale, and says how the level goes with the brightness.
    level = profile.sigma(image)
    level = level * (profile.pixel / (float(np.sqrt(np.square(level).mean())) or 1.0))
    correlation = profile.correlation
    spectrum = np.multiply.outer(
        _density(correlation.vertical, image.shape[1]),
        _density(correlation.horizontal, image.shape[2]),
    )
    white = np.fft.fft2(rng.standard_normal(image.shape))
    field = np.fft.ifft2(white * np.sqrt(spectrum)).real
    return (field * level).astype(np.float32)


def _density(lags: tuple[float, float], count: int) -> np.ndarray:
    """Over the frequencies of a transform of `count` values, with a mean of 1: what belongs to a
    correlation of 1, and of these one and two pixels away."""
    frequency = 2 * np.pi * np.fft.fftfreq(count)
    density = 1 + 2 * lags[0] * np.cos(frequency) + 2 * lags[1] * np.cos(2 * frequency)
    density = np.maximum(density, 0)
    return density / density.mean()

"""How noise spreads over scales, directions and channels: what tells correlated noise from white.

Everything is read relative to the standard deviation that the profile expects at each square's
brightness, in the smoothest squares of all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from noise2noise.noise import patches
from noise2noise.noise.patches import SIDE, Patches
from noise2noise.noise.profile import Correlation, NoiseProfile

_SMOOTHEST = 0.08  # of all squares
_FEWEST = 30
_COARSE = np.add.outer(np.arange(SIDE), np.arange(SIDE)) <= 3
_MEDIAN_SQUARE = patches.MAD**2  # the median of the square of a standard normal value


def with_scales(profile: NoiseProfile, channels: list[list[np.ndarray]]) -> NoiseProfile:
    """The profile with its `spectrum`, `pixel` and `correlation`.

    Arguments:
        channels: each channel's crops, `(h, w)`, without impulses. Those without noise are left out
            of the means over channels.
    """
    found = [patches.of(planes) for planes in channels]
    typical = [_typical(profile, index, each.level) for index, each in enumerate(found)]
    spectra = [
        sigma * _by_scale(profile, index, planes)
        for index, (sigma, planes) in enumerate(zip(typical, channels, strict=True))
    ]
    densities = [
        sigma**2 * _density(profile, index, planes)
        for index, (sigma, planes) in enumerate(zip(typical, channels, strict=True))
    ]
    noisy = [any(each) for each in spectra]
    if not any(noisy):
        return profile
    spectrum = np.sqrt(np.mean(np.square(np.compress(noisy, spectra, axis=0)), axis=0))
    density = np.mean(np.compress(noisy, densities, axis=0), axis=0)
    return replace(
        profile,
        spectrum=tuple(spectrum.tolist()),
        pixel=float(np.sqrt(density.mean())),
        correlation=Correlation(
            horizontal=_lags(density.mean(axis=0)),
            vertical=_lags(density.mean(axis=1)),
            channels=_between_channels(profile, found),
        ),
    )


def _typical(profile: NoiseProfile, index: int, level: np.ndarray) -> float:
    """The root mean square of what the profile expects; 1 where it expects none."""
    return float(np.sqrt(profile.variance(level, index).mean())) or 1.0


def _expected(profile: NoiseProfile, index: int, level: np.ndarray) -> np.ndarray:
    """The standard deviation that the profile expects at these levels, nowhere quite 0."""
    sigma = np.sqrt(profile.variance(level, index)).astype(np.float32)
    return np.maximum(sigma, 1e-3 * sigma.max()) if sigma.any() else np.ones_like(sigma)


def _smoothest(texture: np.ndarray) -> np.ndarray:
    count = min(max(int(_SMOOTHEST * len(texture)), _FEWEST), len(texture))
    return np.argpartition(texture, count - 1)[:count]


def _by_scale(profile: NoiseProfile, index: int, planes: list[np.ndarray]) -> np.ndarray:
    """The deviation at scales 1, 2 and 4, in parts of the expected, 1 for white noise."""
    deviations: list[float] = []
    for scale in (1, 2, 4):
        found = patches.of(planes)
        if len(found):
            sigma = _expected(profile, index, found.level)
            smooth = _smoothest(found.texture / sigma**2)
            relative = found.fine[smooth] / sigma[smooth, None]
            deviations.append(scale * patches.robust_sigma(relative))
        else:  # too small to have such a scale
            deviations.append(deviations[-1])
        planes = [patches.halved(plane) for plane in planes]
    return np.array(deviations)


def _density(profile: NoiseProfile, index: int, planes: list[np.ndarray]) -> np.ndarray:
    """Spectral density (8, 8) in parts of the expected variance, 1 everywhere for white noise.

    Smooth surroundings are told by the lowest frequencies of twice the scale, so that choosing
    them leaves all frequencies of the squares but the four lowest as they are.
    """
    step = patches.step_for(sum(plane.size for plane in planes) // 4)
    texture, pixels = [], []
    for plane in planes:
        half = patches.halved(plane)
        rows, columns = patches.grid(half.shape, step)
        around = patches.squares(half, rows, columns)
        texture.append(patches.powers(around)[:, _COARSE].mean(axis=1))
        pixels.append(patches.squares(plane, 2 * rows + SIDE // 2, 2 * columns + SIDE // 2))
    squares = np.concatenate(pixels)
    if not len(squares):
        return np.ones((SIDE, SIDE))
    sigma = _expected(profile, index, squares.mean(axis=1))
    smooth = _smoothest(np.concatenate(texture) / sigma**2)
    powers = patches.powers(squares[smooth]) / sigma[smooth, None, None] ** 2
    density = np.median(powers, axis=0) / _MEDIAN_SQUARE
    density[:2, :2] = (density[0, 2] + density[2, 0] + density[1, 2] + density[2, 1]) / 4
    return density


def _lags(density: np.ndarray) -> tuple[float, float]:
    """The correlation at one and two pixels that belongs to a density (8,) over frequencies.

    The inverse cosine transform of the density, by the trapezoidal rule from frequency 0 to the
    highest, pi, which the last of the eight stands for.
    """
    ends = np.append(density, density[-1])
    weight = np.array([0.5, *[1.0] * (SIDE - 1), 0.5]) * ends
    if weight.sum() <= 0:
        return 0.0, 0.0
    frequency = np.pi * np.arange(SIDE + 1) / SIDE
    first, second = (float(weight @ np.cos(lag * frequency) / weight.sum()) for lag in (1, 2))
    return first, second


def _between_channels(profile: NoiseProfile, found: list[Patches]) -> float:
    """The mean correlation of the highest frequencies of two different channels."""
    if len(found) < 2 or not len(found[0]):
        return 0.0
    sigmas = [_expected(profile, index, each.level) for index, each in enumerate(found)]
    texture = np.sum(
        [each.texture / sigma**2 for each, sigma in zip(found, sigmas, strict=True)], axis=0
    )
    smooth = _smoothest(texture)
    # Cut off, so that a few squares with texture don't speak for all.
    values = np.stack(
        [
            np.clip(each.fine[smooth] / sigma[smooth, None], -4, 4).ravel()
            for each, sigma in zip(found, sigmas, strict=True)
        ]
    )
    products = values @ values.T
    norms = np.sqrt(products.diagonal())
    if not norms.all():
        return 0.0
    correlation = products / np.outer(norms, norms)
    count = len(found)
    return float((correlation.sum() - count) / (count * (count - 1)))

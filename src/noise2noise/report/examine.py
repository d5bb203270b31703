"""What an image and its denoiser say about the result, without a clean image.

For noise of variance s^2 and a denoiser f, and with <.> the mean over the pixels, Stein's identity
gives

    <(y - f(y))^2> = MSE + <s^2> - 2 T,      T = <s^2 df/dy>

(SURE: C. Stein, 1981). Alone it is of little use here: an s that is 2 % off moves the estimate of a
good result by decibels. But a denoiser that learned to be the mean of all that the pixels could
have been has the variance s^2 df/dy of these as its error (K. Miyasawa 1961; H. Manor and T.
Michaeli, "On the Posterior Distribution in Denoising", ICLR 2024): MSE = T. The s for which both
hold gives

    MSE = T <(y - f(y))^2> / (<s^2> - T)

which doesn't change when s is multiplied by a factor. T is measured by steps into random
directions (S. Ramani, T. Blu and M. Unser, "Monte-Carlo SURE", 2008).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from noise2noise.denoiser import Denoiser
from noise2noise.files import Stack
from noise2noise.inference import Settings
from noise2noise.noise import NoiseProfile
from noise2noise.noise.estimate import measure, sample
from noise2noise.noise.line import Points
from noise2noise.noise.profile import blurred
from noise2noise.report.words import Facts, trusted, verdict

Denoise = Callable[[np.ndarray], np.ndarray]

_SIDE = 384  # pixels of the square that is looked at
_STEP = 0.1  # of the noise's standard deviation
_WAYS = 2  # random directions
_LAGS = 4  # pixels to each side, over which what was removed is correlated with itself
_SEED = 0


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found of one image.

    Attributes:
        noisy, clean: (C, h, w) of a square in its middle, on the unit scale.
        noise: as measured in it.
        points: of that, for a picture; one for each channel.
        psnr: of `clean`, estimated in dB; None where there is no noise.
        level: the standard deviation of what was removed, over what is expected of the noise.
        alike: the correlation of what was removed with itself, (2 L + 1, 2 L + 1), 1 in the middle.
        structure: how much more was removed at edges than in flat parts, in parts of the noise.
        sentence: what that means.
        trusted: whether nothing speaks against the result.
    """

    noisy: np.ndarray
    clean: np.ndarray
    noise: NoiseProfile
    points: list[Points]
    psnr: float | None
    level: float
    alike: np.ndarray
    structure: float
    sentence: str
    trusted: bool

    @property
    def residual(self) -> np.ndarray:
        """What was removed."""
        return self.noisy - self.clean

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "psnr": None if self.psnr is None else round(self.psnr, 2),
            "level": round(self.level, 3),
            "correlation": [round(each, 3) for each in _beside(self.alike)],
            "structure": round(self.structure, 3),
            "trusted": self.trusted,
            "said": self.sentence,
        }


def examine(denoiser: Denoiser, stack: Stack, settings: Settings) -> Examination:
    """Look at a square in the middle of the stack's middle plane.

    Arguments:
        denoiser: what denoised it.
        stack: the noisy image; it is read, and can be read again.
        settings: that it was denoised with.
    """
    run, plane = denoiser.run(stack, settings), stack.header.planes // 2
    view, guide = run.view(plane), run.guides()(plane)
    noisy = view[:, _middle(view.shape[1]), _middle(view.shape[2])]
    measured, points = measure(sample(noisy))
    noise = measured if settings.noise is None or guide is None else guide.noise

    def f(image: np.ndarray) -> np.ndarray:
        told = None if guide is None else guide.noise
        return denoiser.denoise_unit(image, settings.strength, settings.tile, noise=told)

    clean = f(noisy)
    psnr, level = _estimate(noisy, clean, noise, f)
    alike = _alike(noisy - clean, noise.sigma(noisy))
    structure = _structure(noisy - clean, clean, noise.sigma(noisy))
    facts = Facts(psnr, level, max(_beside(alike), key=abs), structure, noise)
    said, trust = verdict(facts), trusted(facts)
    return Examination(noisy, clean, noise, points, psnr, level, alike, structure, said, trust)


def _middle(length: int) -> slice:
    first = max((length - _SIDE) // 2, 0)
    return slice(first, min(first + _SIDE, length))


def _estimate(
    noisy: np.ndarray, clean: np.ndarray, noise: NoiseProfile, f: Denoise
) -> tuple[float | None, float]:
    """The PSNR, in dB, and what was removed in parts of what is expected; see the file's text."""
    variance = np.square(noise.sigma(noisy))
    total = float(variance.mean(dtype=np.float64))
    if total == 0:
        return None, 1.0
    rng = np.random.default_rng(_SEED)
    step = np.float32(_STEP * math.sqrt(total))
    spread = 0.0
    for _ in range(_WAYS):
        way = rng.choice(np.array([-1, 1], np.float32), noisy.shape)
        slope = (f(noisy + step * way) - f(noisy - step * way)) * way / (2 * step)
        spread += float((variance * slope).mean(dtype=np.float64)) / _WAYS
    removed = float(np.square(noisy - clean).mean(dtype=np.float64))
    if not 0 < spread < total or removed == 0:
        return None, math.sqrt(removed / total)
    error = spread * removed / (total - spread)
    return -10 * math.log10(error), math.sqrt(removed / (total - spread))


def _alike(removed: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """The correlation of what was removed with itself, the mean over channels."""
    relative = removed / np.maximum(sigma, 1e-3 * sigma.max() + np.finfo(np.float32).tiny)
    relative = np.clip(relative, -5, 5)  # so that an edge doesn't speak for all
    relative -= relative.mean(axis=(1, 2), keepdims=True)
    spectrum = np.square(np.abs(np.fft.rfft2(relative, axes=(1, 2)))).mean(axis=0)
    around = np.fft.irfft2(spectrum, s=relative.shape[1:])
    around = np.roll(around, (_LAGS, _LAGS), (0, 1))[: 2 * _LAGS + 1, : 2 * _LAGS + 1]
    return around / (around[_LAGS, _LAGS] or 1.0)


def _beside(alike: np.ndarray) -> tuple[float, float]:
    """With the next pixel in the row, and in the column."""
    return float(alike[_LAGS, _LAGS + 1]), float(alike[_LAGS + 1, _LAGS])


def _structure(removed: np.ndarray, clean: np.ndarray, sigma: np.ndarray) -> float:
    """How much more was removed, in parts of the noise's variance, at the tenth of the pixels where
    the result is steepest than at the half where it is flattest, less 1: above 0 where edges and
    texture went with the noise; a little below where some of the noise was left at edges."""
    relative = np.square(removed / np.maximum(sigma, 1e-3 * sigma.max() + 1e-9)).clip(0, 25)
    steep = np.zeros(clean.shape, np.float32)
    for slope, plane in zip(steep, clean, strict=True):
        down, along = np.gradient(blurred(plane))
        slope[...] = np.hypot(down, along)
    flat, edge = np.quantile(steep, (0.5, 0.9))
    before = float(relative[steep <= flat].mean())
    return float(relative[steep > edge].mean()) / before - 1 if before and edge > flat else 0.0

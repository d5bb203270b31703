"""Crops for networks that are told the noise: how it is said, and how crops are made to differ."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from noise2noise.guidance import Guidance
from noise2noise.noise import NoiseProfile

LEAST_NOISE = 2 / 255
"""Crops with less noise than this weigh no more than those that have as much."""

_OFFSET = 0.05

_HALVED, _DIMMED, _TINTED, _FLAT = 1 / 3, 0.7, 0.3, 0.03
_DARKEST, _LEAST_TINT = 0.15, 0.6


class Telling(NamedTuple):
    """How crops are made for a network that is told the noise.

    Attributes:
        shots: targets are the means of so many noisy versions, where noise is drawn.
        varied: clean crops are made to differ in scale and brightness, see `varied`.
    """

    shots: int = 1
    varied: bool = False


def told(
    noisy: np.ndarray,
    target: np.ndarray,
    noise: NoiseProfile,
    mean: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A crop's input (2 C, H, W) and target (C, H, W) as the network gets them.

    Both are divided by the square root of the crop's noise s. The network commutes with factors, so
    this says nothing new to it, and makes a plain squared error count each crop by 1 / s: as much
    as it takes for crops of all strengths of noise to matter, whose errors grow about as s does.

    Arguments:
        noisy, target: (C, H, W).
        noise: of `noisy`.
        mean: of the image that the crop is from, which is taken off, give or take a little.
        rng: for that little.
    """
    offset = mean + _OFFSET * rng.standard_normal()
    guidance = Guidance(noise, offset)
    given = guidance.input(noisy, 1)
    sigma = float(given[len(noisy) :].mean())
    factor = np.float32(1 / math.sqrt(max(sigma, LEAST_NOISE)))
    return given * factor, (target - np.float32(offset)) * factor


def varied(clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A clean crop in another light: darker (7 in 10; by 0.15 to 1), tinted (3 in 10; each channel
    by 0.6 to 1), or rarely (3 in 100) flat, of its mean colour."""
    factor = np.ones((len(clean), 1, 1), np.float32)
    if rng.random() < _DIMMED:
        factor *= np.float32(rng.uniform(_DARKEST, 1))
    if len(clean) > 1 and rng.random() < _TINTED:
        factor *= rng.uniform(_LEAST_TINT, 1, factor.shape).astype(np.float32)
    if rng.random() < _FLAT:
        clean = np.broadcast_to(clean.mean((1, 2), keepdims=True), clean.shape)
    return clean * factor


def is_halved(rng: np.random.Generator) -> bool:
    """Whether a crop is to be the mean of 2 x 2 pixels of a larger one: one in three is."""
    return rng.random() < _HALVED

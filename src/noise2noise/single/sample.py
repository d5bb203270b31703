"""What of an image is looked at to fit a model to it, and the pairs that it is fitted with.

Two diagonals of each 2 x 2 pixels have their means in the same point, and noise of their own where
noise is independent from pixel to pixel (Y. Mansour and R. Heckel, "Zero-Shot Noise2Noise:
Efficient Image Denoising without any Data", CVPR 2023): two images of half the size that show the
same, with 1 / sqrt(2) of the noise. Noise that reaches from pixel to pixel needs other pairs:
`recorrupt.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noise2noise.denoiser import Denoiser
from noise2noise.files import Stack
from noise2noise.guidance import ChannelPlanes, Guidance
from noise2noise.inference import Settings
from noise2noise.noise import NoiseProfile, remove_impulses
from noise2noise.suiting import is_grey

MOST = 8
"""Crops of 256 x 256 pixels that are looked at, of all images together."""

LEAST = 32
"""Sides of an image in pixels, below which nothing can be learned from it."""

_PLANES = 4  # of a stack, at most
_BLOCK, _HELD = 4, 0.2  # held back are a fifth of the squares of 4 x 4 cells


@dataclass(frozen=True, eq=False)
class Sample:
    """A part of an image.

    Attributes:
        image: (C, h, w) on the unit scale, impulses removed; C is the network's.
        sigma: (C, h, w), the standard deviation that the network is told.
    """

    image: np.ndarray
    sigma: np.ndarray


@dataclass(frozen=True, eq=False)
class Pair:
    """Two images of the same with noise of their own.

    Attributes:
        first, second: (C, h, w).
        sigma: (C, h, w), of both.
        held: (h, w), true where nothing is learned from, so that it can be checked.
        mirrored: whether the second may also be the one that is denoised.
    """

    first: np.ndarray
    second: np.ndarray
    sigma: np.ndarray
    held: np.ndarray
    mirrored: bool = True


def samples_of(denoiser: Denoiser, stack: Stack, settings: Settings, most: int) -> list[Sample]:
    """Crops of a stack as the denoiser's network sees them.

    Arguments:
        denoiser: whose network is told the noise.
        stack: is read, and can be read again.
        settings: of its noise, where that is known, and whether impulses are removed.
        most: crops of 256 x 256 pixels.
    """
    run = denoiser.run(stack, settings)
    guides, found = run.guides(), []
    channels = ChannelPlanes.of(stack.header)
    planes = [
        plane
        for channel in range(channels.channels)
        for plane in channels.some(channel, max(_PLANES // channels.channels, 1))
    ]
    for plane in planes[:most]:
        view = run.view(plane)
        guide = guides(plane)
        assert guide is not None  # it is told the noise
        for part in view.parts(max(most // len(planes), 1)):
            found += _seen(part, guide, denoiser.channels, stack.header.colour)
    return [sample for sample in found if min(sample.image.shape[1:]) >= LEAST]


def _seen(part: np.ndarray, guide: Guidance, channels: int, colour: str) -> list[Sample]:
    """A part of a plane: all its channels together, or one by one, as the network takes them."""
    part, _ = remove_impulses(part, guide.noise)
    sigma = guide.noise.sigma(part)
    if len(part) == channels and (channels == 1 or colour == "rgb"):
        return [Sample(part, sigma)]
    if is_grey(part):
        part, sigma = part[:1], sigma[:1]
    return [
        Sample(np.repeat(image[None], channels, 0), np.repeat(level[None], channels, 0))
        for image, level in zip(part, sigma, strict=True)
    ]


def pairs_of(samples: Sequence[Sample], rng: np.random.Generator) -> list[Pair]:
    """The pair that each sample gives.

    Arguments:
        rng: chooses what is held back.
    """
    return [_pair(sample, rng) for sample in samples]


def noise_share(samples: Sequence[Sample], pairs: Sequence[Pair], noise: NoiseProfile) -> float:
    """How much of the mean square difference between two images of a pair is noise, as measured;
    the rest is texture, or noise that wasn't."""
    measured = np.mean([np.square(noise.sigma(sample.image)).mean() for sample in samples])
    met = np.mean([np.square(pair.first - pair.second).mean() for pair in pairs])
    return float(measured / met) if met else 1.0


def held_back(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Where nothing is learned from: a fifth of the squares of 4 x 4, bool (h, w)."""
    height, width = shape
    blocks = rng.random((-(-height // _BLOCK), -(-width // _BLOCK))) < _HELD
    held = np.kron(blocks, np.ones((_BLOCK, _BLOCK), bool))[:height, :width]
    return held.astype(bool)


def _pair(sample: Sample, rng: np.random.Generator) -> Pair:
    a, b, c, d = _quarters(sample.image)
    variance = sum(each**2 for each in _quarters(sample.sigma)) / 8
    sigma = np.sqrt(variance, dtype=np.float32)
    return Pair((a + d) / 2, (b + c) / 2, sigma, held_back(a.shape[1:], rng))


def _quarters(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The four pixels of each 2 x 2: (C, H, W) to four (C, H // 2, W // 2)."""
    height, width = (size // 2 * 2 for size in values.shape[1:])
    even, odd = values[:, :height:2, :width], values[:, 1:height:2, :width]
    return even[:, :, ::2], even[:, :, 1::2], odd[:, :, ::2], odd[:, :, 1::2]

"""The noise of recorded pairs: two noisy images of one scene tell it by their difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from noise2noise.noise import patches
from noise2noise.noise.line import Points, confidence, line
from noise2noise.noise.profile import NoiseProfile
from noise2noise.noise.spectrum import with_scales
from noise2noise.tiling import filled

_MOST_PIXELS = 2**22  # of each channel
_CLASSES = 24
_KNOWN = 0.25  # of an image, that it tells of the noise


Images = np.ndarray | Sequence[np.ndarray]


def profile_of_pairs(first: Images, second: Images) -> NoiseProfile:
    """Half the variance of the pairs' difference, by brightness: the noise of either image.

    The picture cancels out, so that no texture is in the way. What differs between the two besides
    noise counts as noise: motion, another exposure.

    Arguments:
        first, second: `(N, C, H, W)`, or lists of images `(C, H, W)`: `second[i]` shows what
            `first[i]` shows, with independent noise. Of many, some spread over all are looked at.

    Returns:
        The profile, in the images' units, with the same line through shot and read noise as
        `noise2noise.noise.estimate.estimate` finds. Its `impulses` are 0: they count as noise. Its
        confidence is 0 if no image has 8 x 8 pixels. What is NaN in either image tells nothing.

    Raises:
        ValueError: there are no pairs, or shapes differ within a pair or channels between pairs.
    """
    if not len(first) or len(first) != len(second):
        raise ValueError(
            f"expected as many first as second images, got {len(first)}, {len(second)}"
        )
    pairs = [
        (np.asarray(first[i], np.float32), np.asarray(second[i], np.float32))
        for i in _spread(len(first), first[0][0].size)
    ]
    for a, b in pairs:
        if a.shape != b.shape or a.ndim != 3 or len(a) != len(pairs[0][0]):
            raise ValueError(f"expected pairs of (C, H, W), got {a.shape} and {b.shape}")
    channels = range(len(pairs[0][0]))
    parted = _of_known([((a - b) * np.float32(math.sqrt(0.5)), (a + b) / 2) for a, b in pairs])
    noise = [[each[c] for each, _ in parted] for c in channels]
    means = [[each[c] for _, each in parted] for c in channels]
    points = [_points(*planes) for planes in zip(means, noise, strict=True)]
    if not all(len(each.level) for each in points):
        nothing = (0.0,) * len(channels)
        return NoiseProfile(shot=nothing, read=nothing, confidence=0.0)
    black = min(float(each.level.min()) for each in points)
    lines = [line(each, black, tolerance=math.inf) for each in points]
    shot, read = zip(*lines, strict=True)
    typical = [math.sqrt(np.average(each.variance, weights=each.weight)) for each in points]
    white = NoiseProfile(shot=(0.0,) * len(channels), read=tuple(typical))
    return replace(
        with_scales(white, noise),
        shot=shot,
        read=read,
        black=black,
        confidence=min(
            confidence(each, *found, black) for each, found in zip(points, lines, strict=True)
        ),
    )


Parted = tuple[np.ndarray, np.ndarray]  # what two images don't have in common, and have


def _of_known(pairs: list[Parted]) -> list[Parted]:
    """The pairs of which something is known, with a number everywhere."""
    unknown = [np.isnan(noise) for noise, _ in pairs]
    shares = [1 - gap.mean((1, 2)).max() for gap in unknown]
    least = min(_KNOWN, max(shares))
    return [
        (filled(noise, gap), filled(mean, gap)) if gap.any() else (noise, mean)
        for (noise, mean), gap, share in zip(pairs, unknown, shares, strict=True)
        if share >= least
    ]


def _spread(count: int, pixels: int) -> list[int]:
    """Which of `count` images of so many pixels to look at."""
    most = max(_MOST_PIXELS // max(pixels, 1), 1)
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int)).tolist()


def _points(means: list[np.ndarray], noise: list[np.ndarray]) -> Points:
    """The variance by brightness of a channel, from squares of 8 x 8 pixels beside each other."""
    level, variance = (
        np.concatenate(values) for values in zip(*map(_squares, means, noise), strict=True)
    )
    order = np.argsort(level, kind="stable")
    classes = np.array_split(order, min(_CLASSES, max(len(order) // 8, 1))) if len(order) else []
    return Points(
        level=np.array([level[members].mean() for members in classes]),
        variance=np.array([variance[members].mean() for members in classes]),
        weight=np.array([float(len(members)) for members in classes]),
    )


def _squares(mean: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and mean square of the noise in each square of one pair."""
    rows, columns = patches.grid(mean.shape, patches.SIDE)
    level = patches.squares(mean, rows, columns).mean(axis=1)
    # One image may be a little brighter than the other as a whole.
    deviations = patches.squares(noise - noise.mean(), rows, columns)
    return level, (deviations**2).mean(axis=1)

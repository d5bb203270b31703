"""Measures the noise of an image from it alone; docs/noise.md says how well.

Squares of 8 x 8 pixels (`noise2noise.noise.patches`) are sorted into classes of like brightness. In
each class the smoothest are kept, the variance of their highest frequencies is the noise's, and a
straight line through the classes is the profile. What each step takes care of:

- *Texture* looks like noise. The smoothest squares of a class have least of it; a class that has
  some left (more in its middle frequencies than noise alone would put there) counts for less; and
  points above the line pull less at it than points below.
- *Clipping* makes noise look small. A share p of a class's pixels at the lowest value and q at the
  highest say how much of its bell curve was cut off, so how wide it was before.
- *Impulses* are told apart by their neighbours, counted, and left out.
- *Correlated noise* has little in the highest frequencies. The same squares taken from means of
  2 x 2 and of 4 x 4 pixels give `spectrum`, and all frequencies of the smoothest squares give the
  correlation and the standard deviation of a pixel.

Selecting homogeneous patches is the way of X. Liu, M. Tanaka and M. Okutomi, "Single-Image Noise
Level Estimation for Blind Denoising", IEEE Transactions on Image Processing 22, 2013; reading noise
from the highest frequencies of smooth blocks that of N. Ponomarenko et al., "An Automatic Approach
to Lossy Compression of AVIRIS Images", IGARSS 2007; clipping is undone after A. Foi, "Clipped Noisy
Images: Heteroskedastic Modeling and Practical Denoising", Signal Processing 89, 2009.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from noise2noise.noise import patches
from noise2noise.noise.impulses import find_impulses, without_impulses
from noise2noise.noise.line import Points, confidence, line
from noise2noise.noise.patches import Patches
from noise2noise.noise.profile import NoiseProfile
from noise2noise.noise.spectrum import with_scales

_CLASSES = 24
_SMOOTH = 0.15  # of a class is kept
_FEWEST = 30  # squares of a class
_MOST_CLIPPED = 0.5
_TEXTURE = 0.5 ** ((patches.FINE_CYCLES - patches.FINE_CYCLES.min()) / 2)


def estimate(image: np.ndarray) -> NoiseProfile:
    """The noise of one image.

    Arguments:
        image: `(C, H, W)` floats of any range; anything that is sliced as an array is, of which
            large images are read in 24 crops of 256 x 256 pixels.

    Returns:
        The profile, in the image's own units: `estimate(a * x + b)` is
        `estimate(x).scaled(a, b)` up to rounding, for a above 0. Its confidence is 0 for images too
        small to tell (a side below 16 pixels).

    Raises:
        ValueError: `image` is not `(C, H, W)`, or empty.
    """
    return measure(sample(image))[0]


def estimate_together(images: Sequence[np.ndarray]) -> NoiseProfile:
    """What one camera or microscope leaves in several images `(C, H, W)`; see `estimate`.

    Raises:
        ValueError: there is no image, or they differ in their channels.
    """
    most = max(patches.MOST_CROPS // max(len(images), 1), 1)
    return measure([part for image in images for part in sample(image, most)])[0]


def sample(image: np.ndarray, most: int = patches.MOST_CROPS) -> list[np.ndarray]:
    """What is looked at of an image `(C, H, W)`: all of a small one, `most` crops of a large one.

    Returns:
        float32 `(C, h, w)`.

    Raises:
        ValueError: `image` is not `(C, H, W)`, or empty.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected an image of shape (C, H, W), got {image.shape}")
    _, height, width = image.shape
    places = patches.crops(height, width, most)
    return [np.asarray(image[:, rows, columns], np.float32) for rows, columns in places]


def measure(parts: Sequence[np.ndarray]) -> tuple[NoiseProfile, list[Points]]:
    """The noise of samples of one or several images, and the points of each channel's line.

    Arguments:
        parts: float32 `(C, h, w)`, as `sample` gives them.

    Raises:
        ValueError: there is none, or they differ in their channels.
    """
    if len({len(part) for part in parts}) != 1:
        raise ValueError("expected one or more images of the same channels")
    channels = [_read(list(planes)) for planes in zip(*parts, strict=True)]
    points = [_points(channel.found) for channel in channels]
    known = [each for each in points if len(each.level)]  # the others are constant, or tiny
    if not known:
        nothing = (0.0,) * len(channels)
        constant = all(np.ptp(part, axis=(1, 2)).max() == 0 for part in parts)
        return NoiseProfile(shot=nothing, read=nothing, confidence=float(constant)), points
    black = min(float(each.level.min()) for each in known)
    lines = [line(each, black) if len(each.level) else (0.0, 0.0) for each in points]
    shot, read = zip(*lines, strict=True)
    profile = NoiseProfile(
        shot=shot,
        read=read,
        black=black,
        confidence=min(confidence(each, *line(each, black), black) for each in known),
    )
    profile = with_scales(profile, [channel.planes for channel in channels])
    return replace(profile, impulses=_share_of_impulses(profile, parts, channels)), points


@dataclass(frozen=True, eq=False)
class _Channel:
    """What was read from a channel: its crops without impulses, and their squares."""

    planes: list[np.ndarray]
    found: Patches
    impulses: int


def _read(stored: list[np.ndarray]) -> _Channel:
    rough = _rough_sigma(stored)
    repaired = [without_impulses(plane, rough) for plane in stored]
    planes = [plane for plane, _ in repaired]
    return _Channel(planes, patches.of(planes), sum(count for _, count in repaired))


def _share_of_impulses(
    profile: NoiseProfile, parts: Sequence[np.ndarray], channels: list[_Channel]
) -> float:
    """Told anew by the noise at each pixel, which was not known at first."""
    if not any(channel.impulses for channel in channels):
        return 0.0
    found = sum(int(find_impulses(part, profile).sum()) for part in parts)
    return found / sum(part.size for part in parts)


def _rough_sigma(planes: list[np.ndarray]) -> float:
    """An upper bound for most of the noise, by which impulses are told: of diagonal differences."""
    differences = np.concatenate([_diagonal_differences(plane) for plane in planes])
    if not len(differences):
        return math.inf
    middle, most = np.quantile(differences, (0.5, 0.9))
    # More than half are 0 where the dark is clipped, or where few photons were counted.
    return float(middle / patches.MAD if middle > 0 else most / NormalDist().inv_cdf(0.95))


def _diagonal_differences(plane: np.ndarray) -> np.ndarray:
    height, width = (size // 2 * 2 for size in plane.shape)
    x = plane[:height, :width]
    return np.abs(x[::2, ::2] - x[::2, 1::2] - x[1::2, ::2] + x[1::2, 1::2]).ravel() / 2


def _points(found: Patches) -> Points:
    """The variance by brightness of a channel with these squares."""
    varied = found[found.piled[:, (0, 3)].max(axis=1) < 1]
    order = np.argsort(varied.level, kind="stable")
    count = min(max(len(order) // (4 * _FEWEST), 1), _CLASSES)
    classes = [
        _smooth(varied[members]) for members in np.array_split(order, count) if len(members) >= 4
    ]
    rows = np.array([row for row in map(_point, classes) if row is not None]).reshape(-1, 4)
    level, variance, texture, weight = rows[np.argsort(rows[:, 0], kind="stable")].T
    if not len(level):
        return Points(level, variance, weight)
    # Relative to what is usual in this image: correlated noise has more of it everywhere.
    ratio = texture / np.maximum(variance, 1e-9 * texture.max() + np.finfo(np.float32).tiny)
    usual = np.quantile(ratio, 0.25)
    # Drawings and screenshots are flat but for their lines: there no texture at all is usual.
    excess = np.maximum(ratio / usual - 1, 0) if usual > 0 else np.where(ratio > 0, np.inf, 0)
    return Points(level, variance * _noise_share(classes), weight / (1 + (excess / 0.3) ** 2))


def _smooth(members: Patches) -> Patches:
    """Those squares of a class that have least texture."""
    count = min(max(int(_SMOOTH * len(members)), _FEWEST), len(members))
    return members[np.argpartition(members.texture, count - 1)[:count]]


def _point(smooth: Patches) -> tuple[float, float, float, float] | None:
    """Level, variance, texture and weight of a class; None if too much of it is clipped."""
    variance = patches.robust_sigma(smooth.fine) ** 2
    low, above_low, below_high, high = smooth.piled.mean(axis=0)
    # A pile towers above the value beside it; of counted photons the zeros don't.
    low, high = low * (low > 2 * above_low), high * (high > 2 * below_high)
    if low + high > _MOST_CLIPPED:
        return None
    shift, shrinkage = _clipping(low, high)
    sigma = math.sqrt(variance / shrinkage)
    level = float(smooth.level.mean()) - sigma * shift
    return level, sigma**2, float(smooth.texture.mean()), float(len(smooth))


def _noise_share(classes: list[Patches]) -> float:
    """How much of the highest frequencies' variance is noise; below 1 where all is textured.

    White noise has the same variance in each of the nine; that of pictures falls to half with
    each two half cycles more. What is told apart so is an accident where it is less than half the
    noise, and may be noise that was smoothed where it is much more: 45 % is left in any case.
    """
    relative = np.concatenate(
        [each.fine / (patches.robust_sigma(each.fine) or 1) for each in classes]
    )
    variances = np.median(relative**2, axis=0)
    (texture, noise), *_ = np.linalg.lstsq(
        np.stack([_TEXTURE, np.ones_like(_TEXTURE)], axis=1), variances, rcond=None
    )
    if texture <= 0.5 * noise:  # both are 0 where nothing but lines was drawn
        return 1.0
    return max(float(noise / (noise + texture * _TEXTURE.mean())), 0.45)


def _clipping(low: float, high: float) -> tuple[float, float]:
    """Mean and variance of a standard normal value of which the shares `low` and `high` of the two
    ends were clipped: put onto the ends of what remains."""
    normal = NormalDist()
    mean, square = 0.0, 1.0 - low - high
    for share, sign in ((low, -1), (high, 1)):
        if share <= 0:
            continue
        end = normal.inv_cdf(share)  # by symmetry both ends are treated as the lower
        mean -= sign * (end * share + normal.pdf(end))
        square += end**2 * share + end * normal.pdf(end)
    return mean, square - mean**2

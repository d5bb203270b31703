"""What a network that is told the noise sees of an image, and how its result is taken back.

Such a network (`noise2noise.networks.guided`) takes [x - m, s]: the image about its mean m, so that
an offset changes nothing, and the standard deviation s of the noise at every value. It has no
biases, so that a factor changes nothing either. What it returns, plus m, is the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from noise2noise.files import Header, Scale, Stack
from noise2noise.noise import NoiseProfile
from noise2noise.noise.estimate import measure
from noise2noise.noise.patches import MOST_CROPS, crops
from noise2noise.noise.words import is_correlated
from noise2noise.tiling import filled

Prepare = Callable[[np.ndarray, int, slice, slice], np.ndarray]
"""What a window (C, h, w) of a plane becomes before it is looked at."""

_KNOWN = 0.25  # of a crop, that it tells of the plane's noise


class PlaneView:
    """A plane of a stack as `estimate` reads an image, (C, H, W) on the unit scale: only what is
    sliced is read, and what `prepare` makes of it is returned. Values that are NaN or infinite are
    `filled` from others."""

    ndim = 3

    def __init__(
        self, stack: Stack, scale: Scale, plane: int, prepare: Prepare | None = None
    ) -> None:
        self._stack, self._scale, self._plane = stack, scale, plane
        self._prepare = prepare
        header = stack.header
        self.shape = (header.colours, header.height, header.width)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, window: tuple[slice, slice, slice]) -> np.ndarray:
        return self._window(*window[1:])[0]

    def parts(self, most: int = MOST_CROPS) -> list[np.ndarray]:
        """What is looked at to measure the plane, (C, h, w): all of a small one, `most` crops of a
        large one, but for crops of which next to nothing is known."""
        looks = [self._window(*place) for place in crops(*self.shape[1:], most)]
        least = min(_KNOWN, max(known for _, known in looks))
        return [part for part, known in looks if known >= least]

    def _window(self, rows: slice, columns: slice) -> tuple[np.ndarray, float]:
        """A window, and how much of it is known, of the channel of which least is."""
        stored = self._stack.read(self._plane, rows, columns)[..., : self.shape[0]]
        unit = self._scale.to_unit(stored.transpose(2, 0, 1))
        bad = ~np.isfinite(unit)
        known = 1.0
        if bad.any():
            unit, known = filled(unit, bad), 1 - float(bad.mean((1, 2)).max())
        if self._prepare is not None:
            unit = self._prepare(unit, self._plane, rows, columns)
        return unit, known


_COARSER = 3.5
_MOST_HIDDEN = 0.05


def unhidden(noise: NoiseProfile, contrast: float) -> NoiseProfile:
    """The profile to tell of noise that hides from its estimate, since it is correlated.

    What a camera or a phone has smoothed and compressed has little noise left from pixel to pixel,
    where noise is measured best, and much in larger blots. There it can't be told from texture, so
    it is told no stronger than a clean image survives: 3.5 times the standard deviation of a pixel,
    and at most a twentieth of the image's contrast. That is about 3 of 255 in photographs, and what
    recovered most, of a few such rules, on photographs whose mean of many shots is known.

    Arguments:
        noise: as estimated.
        contrast: the standard deviation of the image's values.
    """
    floor = min(_COARSER * noise.pixel, _MOST_HIDDEN * contrast)
    if not is_correlated(noise) or floor <= noise.spectrum[0]:
        return noise
    count = noise.channels
    return replace(noise, shot=(0.0,) * count, read=(floor,) * count)


@dataclass(frozen=True)
class Guidance:
    """What is said beside an image.

    Attributes:
        noise: of the image, on its unit scale.
        offset: the image's mean m, over all its channels.
        hidden: whether more noise is told than was found; see `unhidden`.
        shared: whether all channels are told as one, by the root of their mean variance.
    """

    noise: NoiseProfile
    offset: float
    hidden: bool = False
    shared: bool = False

    @classmethod
    def of(cls, images: Sequence[PlaneView], noise: NoiseProfile | None = None) -> Guidance:
        """For images of one kind, which share their noise; it is estimated if it isn't given."""
        windows = [part for image in images for part in image.parts()]
        offset = float(np.mean([window.mean(dtype=np.float64) for window in windows]))
        if noise is not None:
            return cls(noise, offset)
        contrast = float(np.mean([window.std(dtype=np.float64) for window in windows]))
        if len(images) > 1:
            most = max(MOST_CROPS // len(images), 1)
            windows = [part for image in images for part in image.parts(most)]
        found = measure(windows)[0]
        told = unhidden(found, contrast)
        return cls(told, offset, told is not found)

    @property
    def silent(self) -> bool:
        """Whether there is no noise at all, and so nothing to do."""
        return not any(self.noise.shot) and not any(self.noise.read)

    def channel(self, index: int) -> Guidance:
        """For one channel alone."""
        if self.noise.channels == 1:
            return self
        shot, read = (self.noise.shot[index],), (self.noise.read[index],)
        return replace(self, noise=replace(self.noise, shot=shot, read=read))

    def input(self, image: np.ndarray, strength: float) -> np.ndarray:
        """What goes into the network for a part of the image, (C, H, W).

        That is (2 C, H, W), or, if the noise is shared, (C + 1, H, W).

        Arguments:
            image: on the unit scale, with `noise2noise.noise.MARGIN` pixels around what matters.
            strength: how much of the noise is to be removed; 1 is all of it.
        """
        sigma = self.noise.sigma(image)
        if self.shared:
            sigma = np.sqrt((sigma * sigma).mean(0, keepdims=True))
        sigma *= np.float32(strength)
        return np.concatenate([image - np.float32(self.offset), sigma])

    def result(self, output: np.ndarray) -> np.ndarray:
        """The image that the network's output stands for."""
        return output + np.float32(self.offset)


@dataclass(frozen=True)
class ChannelPlanes:
    """Which planes of a stack belong to which channel, without a list of all: some have millions.

    Attributes:
        channels: how many; 1 where there is no axis C before Y.
        stride: planes from one channel to the next.
        planes: of each channel.
    """

    channels: int
    stride: int
    planes: int

    @classmethod
    def of(cls, header: Header) -> ChannelPlanes:
        before = header.axes.index("Y")
        place = header.axes.find("C", 0, before)
        if place < 0:
            return cls(1, 1, header.planes)
        count = header.shape[place]
        return cls(count, math.prod(header.shape[place + 1 : before]), header.planes // count)

    def channel(self, plane: int) -> int:
        """The channel of a plane."""
        return plane // self.stride % self.channels

    def some(self, channel: int, most: int) -> list[int]:
        """Planes of a channel, at most so many, spread evenly."""
        chosen = range(0, self.planes, -(-self.planes // most))
        return [
            (each // self.stride * self.channels + channel) * self.stride + each % self.stride
            for each in chosen
        ]

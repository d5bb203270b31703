"""What every source of pairs has in common: its images, and how crops are taken from them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from noise2noise.data.telling import Telling
from noise2noise.guidance import Guidance
from noise2noise.noise import NoiseProfile

Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
"""What shows progress: called with items, a description and their number, it yields the items, as
`rich.progress.track` does."""

Source = TypeVar("Source", bound="PairSource")


class PairSource(ABC):
    """Where pairs come from; `noise2noise.data` lists the kinds.

    Attributes:
        channels: 1 (grey) or 3 (colour), the same for all images.
        crop: side in pixels of both images of a pair.
        reference_is_clean: whether the second image of `validation_pair` is clean.
        notes: sentences for people about what was met, such as shots that are left out.
        values: of recorded images, what is black and white in the units of their files, if they
            mean something to others; else None.
        gaps: whether targets of `batch` may be NaN: there nothing is known of one of the images.
        takes_time: whether threads should make batches ahead: not where a batch is so quickly made
            that handing it from one to the other takes as long.
    """

    takes_time: ClassVar[bool]
    channels: int
    reference_is_clean: bool
    notes: tuple[str, ...] = ()
    values: tuple[float, float] | None = None
    gaps: bool = False
    _telling: Telling | None = None

    def __init__(self, shapes: np.ndarray, crop: int) -> None:
        # shapes: (images, 2), height and width of each image, in pixels of the pairs.
        self.crop = crop
        self._shapes = shapes
        self._choose(np.arange(len(shapes)))

    def _choose(self, images: np.ndarray) -> None:
        self._images = images
        self._image_of_crop = np.repeat(images, np.prod(self._shapes[images] // self.crop, axis=1))

    def __len__(self) -> int:
        """Crops in an epoch: of each image as many as fit in it side by side."""
        return len(self._image_of_crop)

    @property
    def images(self) -> int:
        """How many images (or pairs of recorded images) the crops are taken from."""
        return len(self._images)

    @property
    def smallest_side(self) -> int:
        """The shortest height or width among the images, in pixels of the pairs."""
        return int(self._shapes[self._images].min())

    def batch(
        self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(inputs, targets) number `indices` of `len(self)`: float32 `(N, channels, crop, crop)`.

        After `telling`, inputs have twice the channels: the noise comes after the image.

        The place of each crop, flips and quarter turns, alike on both sides, and what noise there
        is to draw all come from `rng`.
        """
        images = self._image_of_crop[indices]
        shape = (len(images), self.channels, self.crop, self.crop)
        targets = np.empty(shape, np.float32)
        if self._telling is None:
            inputs = np.empty(shape, np.float32)
            self._fill(inputs, targets, images, rng)
            return inputs, targets
        inputs = np.empty((shape[0], 2 * shape[1], *shape[2:]), np.float32)
        self._fill_told(inputs, targets, images, rng, self._telling)
        return inputs, targets

    def validation_pair(self, index: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """(noisy, reference) of image `index` of `images`: its centre, `side` pixels square; the
        reference is NaN where nothing is known of one of them."""
        return self._validation_pair(self._images[index], side)[:2]

    def guidance(self, index: int, side: int) -> Guidance:
        """What a network that is told the noise is told of `validation_pair`'s noisy image."""
        noisy, _, noise = self._validation_pair(self._images[index], side)
        if noise is None:
            raise ValueError(f"the noise of {self.describe()} can't be told")
        return Guidance(noise, float(noisy.mean(dtype=np.float64)))

    def recorded_noise(self) -> NoiseProfile | None:
        """The noise of recorded pairs, in the units of their files; None where it isn't known."""
        return None

    @property
    def is_telling(self) -> bool:
        """Whether the batches are for a network that is told the noise."""
        return self._telling is not None

    def telling(self: Source, telling: Telling) -> Source:
        """The same source for a network that is told the noise.

        Raises:
            UserError: the noise can't be told.
        """
        self._check_telling()
        part = copy.copy(self)
        part._telling = telling
        return part

    def repeated(self: Source, passes: int) -> Source:
        """The same source, of which an epoch goes over the images so many times."""
        part = copy.copy(self)
        part._image_of_crop = np.tile(self._image_of_crop, passes)
        return part

    def subset(self: Source, indices: Sequence[int] | np.ndarray) -> Source:
        """The same kind of source with only these of the `images`, without copying a pixel."""
        part = copy.copy(self)
        part._choose(self._images[np.asarray(indices, dtype=np.int64)])
        return part

    @abstractmethod
    def describe(self) -> str:
        """One line for people: what is learned from."""

    @abstractmethod
    def _fill(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
    ) -> None: ...

    @abstractmethod
    def _fill_told(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
        telling: Telling,
    ) -> None: ...

    @abstractmethod
    def _check_telling(self) -> None:
        """Raise a UserError if the noise can't be told."""

    @abstractmethod
    def _validation_pair(
        self, image: int, side: int
    ) -> tuple[np.ndarray, np.ndarray, NoiseProfile | None]:
        """(noisy, reference, the noise if it can be told)."""


def silently(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    """The `Track` that shows nothing."""
    return items

"""What every source of pairs has in common: its images, and how crops are taken from them."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, TypeVar

import numpy as np

Track = Callable[[Iterable, str, int], Iterable]
"""What shows progress: called with items, a description and their number, it yields the items, as
`rich.progress.track` does."""

Source = TypeVar("Source", bound="PairSource")


class PairSource(ABC):
    """Where pairs come from; `noise2noise.data` lists the kinds.

    Attributes:
        channels: 1 (grey) or 3 (colour), the same for all images.
        crop: side in pixels of both images of a pair.
        reference_is_clean: whether the second image of `validation_pair` is clean.
        takes_time: whether threads should make batches ahead: not where a batch is so quickly made
            that handing it from one to the other takes as long.
    """

    takes_time: ClassVar[bool]
    channels: int
    reference_is_clean: bool

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

        The place of each crop, flips and quarter turns, alike on both sides, and what noise there
        is to draw all come from `rng`.
        """
        images = self._image_of_crop[indices]
        shape = (len(images), self.channels, self.crop, self.crop)
        inputs, targets = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._fill(inputs, targets, images, rng)
        return inputs, targets

    def validation_pair(self, index: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """(noisy, reference) of image `index` of `images`: its centre, `side` pixels square."""
        return self._validation_pair(self._images[index], side)

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
    def _validation_pair(self, image: int, side: int) -> tuple[np.ndarray, np.ndarray]: ...


def silently(items: Iterable, description: str, total: int) -> Iterable:
    """The `Track` that shows nothing."""
    return items

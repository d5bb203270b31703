"""Axes: a letter for each dimension of an array, in any order, and where a plane lies in it.

T is time, Z depth, C a channel of a micrograph, S a sample of a pixel's colour, I and Q any
sequence, Y rows and X columns, as tifffile names them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files.guard import UnusableError

LETTERS = "TZCSYXQI"
MOST_DIMENSIONS = 8
_MOST_SAMPLES = 4  # a last axis no longer than this holds the samples of a pixel
_SEQUENCES = "QI"  # which alone may be there several times


@dataclass(frozen=True)
class Axes:
    """An array whose dimensions lie in any order, seen as planes of (h, w, samples).

    Planes are numbered in the order in which the other dimensions lie, or in that of `numbered`,
    the last of them fastest. Samples are along S, wherever that lies, or along C where it comes
    last: the channels of a pixel then lie side by side, and are read together.

    Attributes:
        stored: a letter for each dimension, as they lie in the array.
        shape: the sizes, in the same order.
        numbered: the letters of the dimensions that number planes, where they lie in another order.
    """

    stored: str
    shape: tuple[int, ...]
    numbered: str = ""

    @functools.cached_property
    def order(self) -> tuple[int, ...]:
        """The dimensions as `letters` has them: those of the planes' numbers, Y, X, samples."""
        last = len(self.stored) - 1
        samples = self.stored.find("S")
        if samples < 0 and self.stored.endswith("C"):
            samples = last
        plane = [self.stored.index(letter) for letter in "YX"] + [samples] * (samples >= 0)
        if self.numbered:
            return (*(self.stored.index(letter) for letter in self.numbered), *plane)
        return (*(place for place in range(last + 1) if place not in plane), *plane)

    @property
    def letters(self) -> str:
        """The axes as a `Header` has them: those of planes, then YX, then S if there is one."""
        letters = "".join(self.stored[place] for place in self.order)
        return letters if letters.endswith("X") else letters[:-1] + "S"

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes along `letters`."""
        return tuple(self.shape[place] for place in self.order)

    @property
    def are_colours(self) -> bool:
        """Whether samples are three, and of a colour: red, green and blue."""
        return "S" in self.stored and self.sizes[-1] == 3

    @property
    def leading(self) -> tuple[int, ...]:
        """The sizes along the axes that number the planes."""
        return self.sizes[: self.letters.index("Y")]

    @property
    def planes(self) -> int:
        return math.prod(self.leading)

    @property
    def in_order(self) -> bool:
        """Whether planes, rows, columns and samples lie in the array as they are handed out."""
        return self.order == tuple(range(len(self.order)))

    def window(self, plane: int, rows: slice, columns: slice) -> tuple[int | slice, ...]:
        """The index that picks a window of a plane out of the array."""
        numbers = np.unravel_index(plane, self.leading) if self.leading else ()
        picked: list[int | slice] = [slice(None)] * len(self.shape)
        for place, number in zip(self.order, numbers, strict=False):
            picked[place] = int(number)
        picked[self.stored.index("Y")], picked[self.stored.index("X")] = rows, columns
        return tuple(picked)

    def from_stored(self, window: np.ndarray) -> np.ndarray:
        """What `window` picked, as (h, w, samples)."""
        turned = window.transpose(self._turn)
        return turned if turned.ndim == 3 else turned[..., None]

    def to_stored(self, pixels: np.ndarray) -> np.ndarray:
        """The inverse of `from_stored`."""
        pixels = pixels if len(self._turn) == 3 else pixels[..., 0]
        return pixels.transpose(np.argsort(self._turn))

    def put(self, array: np.ndarray, bands: Iterable[np.ndarray]) -> None:
        """Put bands of rows, (h, w, samples), plane after plane, where the array has them."""
        height = self.shape[self.stored.index("Y")]
        plane, row = 0, 0
        for band in bands:
            place = self.window(plane, slice(row, row + len(band)), slice(None))
            array[place] = self.to_stored(band)
            row += len(band)
            if row == height:
                plane, row = plane + 1, 0

    @functools.cached_property
    def _turn(self) -> tuple[int, ...]:
        """Where Y, X and samples lie among the dimensions that `window` leaves."""
        own = self.order[len(self.leading) :]
        return tuple(sorted(own).index(place) for place in own)


def usual(shape: Sequence[int]) -> str:
    """The axes of an array that doesn't say: (..., H, W), or (..., H, W, S) where S is 1 to 4; the
    axes before are T, Z and C.

    Raises:
        UnusableError: fewer than 2 dimensions, or too many.
    """
    if len(shape) > 2 and shape[-1] <= _MOST_SAMPLES:
        return leading(len(shape) - 1) + "S"
    return leading(len(shape))


def leading(dimensions: int) -> str:
    """The axes of an array without samples that doesn't say."""
    if not 2 <= dimensions <= MOST_DIMENSIONS:
        raise UnusableError(
            f"holds an array of {dimensions} dimensions; 2 to {MOST_DIMENSIONS} are an image"
        )
    before = dimensions - 2
    return "Q" * (before - 3) + "TZC"[:before] + "YX"


def named(letters: str, shape: Sequence[int], name: object) -> Axes:
    """Axes as somebody names them, checked.

    Arguments:
        letters: for each dimension of `shape`; upper or lower case.
        shape: of the array.
        name: of the file, for the messages.

    Raises:
        UserError: unknown letters, one twice, no Y or X, or another number than dimensions.
    """
    given = letters.upper()
    unknown = sorted(set(given) - set(LETTERS))
    if unknown:
        raise UserError(
            f"--axes {letters}: {unknown[0]!r} is no axis; use letters of {', '.join(LETTERS)}"
        )
    twice = [each for each in given if given.count(each) > 1 and each not in _SEQUENCES]
    missing = [each for each in "YX" if each not in given]
    if twice or missing:
        fault = f"{twice[0]} is there twice" if twice else f"{missing[0]} is missing"
        raise UserError(f"--axes {letters}: {fault}; name each axis once, Y and X among them")
    if len(given) != len(shape):
        sizes = " x ".join(str(size) for size in shape)
        raise UserError(
            f"{name} has {len(shape)} axes ({sizes}), and --axes {letters} names {len(given)}; "
            "name all of them"
        )
    return Axes(given, tuple(shape))


def with_samples(letters: str, place: int, name: object) -> str:
    """The same axes, of which the one at `place`, from 0 or from the end, holds the samples.

    Raises:
        UserError: there is no such axis, or it is Y or X.
    """
    count = len(letters)
    if not -count <= place < count:
        raise UserError(
            f"{name} has {count} axes ({letters}), so --channel-axis must lie in {-count} to "
            f"{count - 1}, got {place}"
        )
    if letters[place] in "YX":
        raise UserError(
            f"--channel-axis {place} of {name} is its {letters[place]} axis ({letters}); "
            "name another one, or all by --axes"
        )
    others = letters.replace("S", "Q")
    place %= count
    return others[:place] + "S" + others[place + 1 :]


def samples_at(place: int, shape: Sequence[int], name: object) -> str:
    """The axes of an array that doesn't say, but for the one that holds the samples."""
    others = leading(len(shape) - 1)
    index = place + len(shape) if place < 0 else place
    return with_samples(others[:index] + "S" + others[index:], place, name)

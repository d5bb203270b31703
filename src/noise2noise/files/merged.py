"""Pages that are the samples of one pixel: red, green and blue in pages of their own, for one.

Where a file's planes can't be read in another order, a view of it puts those together that lie
along S. What is denoised together is taken apart again for the result, so that it has pages too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from noise2noise.files.axes import Axes, named, with_samples
from noise2noise.files.stack import Finish, Header, Held, Stack, colour_of, whole_planes


def with_axes(stack: Stack, letters: str) -> Stack:
    """A stack, or a view of it, whose axes have these letters.

    Raises:
        UserError: as `Stack.with_axes`.
    """
    if type(stack).with_axes is Stack.with_axes and not stack.axes.endswith("S"):
        given = named(letters, stack.header.shape, stack.name)
        if "S" in given.stored and given.stored.endswith("YX"):
            return Merged(stack, given)
    stack.with_axes(letters)
    return stack


def with_channel_axis(stack: Stack, place: int) -> Stack:
    """A stack, or a view of it, whose samples lie along this one of its axes.

    Raises:
        UserError: as `Stack.with_channel_axis`.
    """
    if type(stack).with_channel_axis is Stack.with_channel_axis:
        return with_axes(stack, with_samples(stack.axes, place, stack.name))
    stack.with_channel_axis(place)
    return stack


class Merged(Stack):
    """A stack whose planes along S are one.

    Arguments:
        stack: planes of one sample.
        given: what its axes are, S among them and YX last.
    """

    def __init__(self, stack: Stack, given: Axes) -> None:
        self._stack, self._given = stack, given
        self._count = given.shape[given.stored.index("S")]
        header = stack.header
        # Planes are numbered along the other axes; those along S are so many apart.
        self._apart = math.prod(given.shape[given.stored.index("S") + 1 : -2])
        merged = replace(header, axes=given.letters, shape=given.sizes, colour=colour_of(given))
        super().__init__(merged, stack.name)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        before, after = divmod(plane, self._apart)
        first = before * self._count * self._apart + after
        numbers = range(first, first + self._count * self._apart, self._apart)
        return np.concatenate([self._stack.read(each, rows, columns) for each in numbers], -1)

    @property
    def held(self) -> Held:
        """Beside what the stack takes, what waits until it can be taken apart."""
        kept, peak = self._stack.held
        waiting = self._apart * self.header.plane_bytes
        return Held(kept + waiting, peak + waiting)

    def forget(self) -> None:
        self._stack.forget()

    def close(self) -> None:
        self._stack.close()

    def result(self, holds: Callable[[Header], bool]) -> tuple[Header, Finish]:
        """Pages again where the format has pages that aren't frames of an animation."""
        single = replace(self._stack.header, colour="channels", white=self.header.white)
        if not holds(single):
            return self.header, lambda bands: bands
        return replace(single, colour=self._stack.header.colour), self._taken_apart

    def _taken_apart(self, bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        waiting: list[np.ndarray] = []
        for pixels in whole_planes(self.header, bands):
            waiting.append(pixels.copy())  # whoever made it may use the memory again
            if len(waiting) == self._apart:
                for sample in range(self._count):
                    yield from (each[..., sample : sample + 1] for each in waiting)
                waiting = []

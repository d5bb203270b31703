"""Part of a stack: some of its planes, and a window of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from noise2noise.files.stack import Held, Stack


class Part(Stack):
    """A window along all axes of a stack, which is one itself.

    Arguments:
        stack: the whole; from now on other columns of it can't be read.
        window: a slice with both ends for each of the axes of its header, but for the samples.
    """

    def __init__(self, stack: Stack, window: tuple[slice, ...]) -> None:
        header = stack.header
        sizes = tuple(each.stop - each.start for each in window)
        super().__init__(replace(header, shape=sizes + header.shape[len(window) :]), stack.name)
        *self._leading, self._rows, self._columns = window
        self._whole = stack
        stack.narrow(self._columns)

    @property
    def held(self) -> Held:
        return self._whole.held

    def forget(self) -> None:
        self._whole.forget()

    def close(self) -> None:
        self._whole.close()

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        place = tuple(
            _moved(each, own) for each, own in ((rows, self._rows), (columns, self._columns))
        )
        return self._whole.read(self._plane(plane), *place)

    def _plane(self, plane: int) -> int:
        """Its number in the whole."""
        if not self._leading:
            return plane
        sizes = [each.stop - each.start for each in self._leading]
        numbers = np.unravel_index(plane, sizes)
        moved = [
            int(number) + each.start for number, each in zip(numbers, self._leading, strict=True)
        ]
        whole = self._whole.header.shape[: len(sizes)]
        return int(np.ravel_multi_index(moved, whole))


def _moved(inner: slice, outer: slice) -> slice:
    """A slice of what another one picked, as one of the whole."""
    start, stop, _ = inner.indices(outer.stop - outer.start)
    return slice(outer.start + start, outer.start + stop)

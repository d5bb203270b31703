"""A value that stands for "nothing was measured here", as maps and satellites' images have it.

Pixels with it are handed out as NaN, integers as floats, so that nothing is made of them; in the
result they are as they were, and no other pixel gets their value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from noise2noise.files.stack import ALL, Finish, Header, Held, Stack


def masked(stack: Stack, value: float) -> Stack:
    """A stack, grey or of colours or channels, in which this value means nothing; itself where its
    dtype has no such value, or that is NaN anyway."""
    dtype = stack.header.dtype
    if not np.isfinite(value) or (dtype.kind in "ui" and not _is_in(value, dtype)):
        return stack
    return _Masked(stack, dtype.type(value))


def _is_in(value: float, dtype: np.dtype) -> bool:
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max and value == int(value)


class _Masked(Stack):
    """NaN in the place of a value, but for transparency."""

    def __init__(self, stored: Stack, value: Any) -> None:
        self._stored, self._value = stored, value
        header = stored.header
        if header.dtype.kind in "ui":
            dtype = np.dtype(np.float32 if header.dtype.itemsize <= 2 else np.float64)
            header = replace(header, dtype=dtype, whole=header.dtype)
        super().__init__(header, stored.name)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        stored = self._stored.read(plane, rows, columns)
        values = stored.astype(self.header.dtype)
        colours = slice(self.header.colours)
        values[..., colours][stored[..., colours] == self._value] = np.nan
        return values

    @property
    def held(self) -> Held:
        return self._stored.held

    def forget(self) -> None:
        self._stored.forget()

    def close(self) -> None:
        self._stored.close()

    def result(self, holds: Callable[[Header], bool]) -> tuple[Header, Finish]:
        """The source's dtype, with its value where that was."""
        del holds
        stored = self._stored.header
        return replace(self.header, dtype=stored.dtype, whole=stored.whole), self._finish

    def _finish(self, bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        place, height, colours = 0, self.header.height, slice(self.header.colours)
        for band in bands:
            plane, row = divmod(place, height)
            result = self._stored.read(plane, slice(row, row + len(band)), ALL).copy()
            known = np.isfinite(band[..., colours])
            result[..., colours][known] = self._as_stored(band[..., colours][known])
            place += len(band)
            yield result

    def _as_stored(self, values: np.ndarray) -> np.ndarray:
        dtype = self._stored.header.dtype
        if dtype.kind == "f":
            return np.where(values == self._value, np.nextafter(self._value, dtype.type(0)), values)
        limits = np.iinfo(dtype)
        # Of 64 bits the largest float that fits is less than the largest integer.
        top = np.nextafter(2.0**63, 0) if limits.max > 2**53 else limits.max
        stored = np.rint(values).clip(limits.min, top).astype(dtype)
        beside = int(self._value) + (-1 if self._value == limits.max else 1)
        return np.where(stored == self._value, beside, stored)

"""Bands into an array that is stored in chunks, each of which is packed once.

A chunk that holds several planes can be packed when the last of them is there. Until then planes
lie in a file, so that memory is needed for a row of chunks only.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from noise2noise.files.axes import Axes
from noise2noise.files.stack import blocks_of, next_plane

_BLOCK = 2**26  # bytes that are gathered from the file at a time, if a chunk isn't larger


class Chunked(Protocol):
    """An array that takes and gives parts of itself."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, place: tuple[int | slice, ...], /) -> np.ndarray: ...

    def __setitem__(self, place: tuple[int | slice, ...], values: np.ndarray, /) -> None: ...


def fill(
    array: Chunked, axes: Axes, chunk: tuple[int, ...], bands: Iterable[np.ndarray], spool: Path
) -> None:
    """Write bands, as `Format.write` takes them, into an array.

    Arguments:
        array: of `axes.shape`.
        axes: of it.
        chunk: the shape of what is packed at once.
        bands: rows of all planes in order.
        spool: the path of a file that is made and removed where chunks hold several planes.
    """
    rows, height = iter(bands), axes.sizes[len(axes.leading)]
    deep = _first_deep(axes, chunk)
    if deep is None:
        length = chunk[axes.stored.index("Y")]
        for plane in range(axes.planes):
            top = 0
            for block in blocks_of(next_plane(rows, height), length):
                place = axes.window(plane, slice(top, top + len(block)), slice(None))
                array[place] = axes.to_stored(block)
                top += len(block)
        return
    try:
        for numbers, extent in _slabs(axes, chunk, deep):
            count = extent.stop - extent.start
            count *= math.prod(axes.leading[deep + 1 :])
            with spool.open("wb") as file:
                for _ in range(count):
                    for band in next_plane(rows, height):
                        file.write(np.ascontiguousarray(band, array.dtype).tobytes())
            _pack(array, axes, chunk, (*numbers, extent), spool)
    finally:
        spool.unlink(missing_ok=True)


def _first_deep(axes: Axes, chunk: tuple[int, ...]) -> int | None:
    """The first of the axes that number planes along which a chunk holds several."""
    for place, size in enumerate(axes.leading):
        if min(chunk[axes.order[place]], size) > 1:
            return place
    return None


def _slabs(
    axes: Axes, chunk: tuple[int, ...], deep: int
) -> Iterator[tuple[tuple[int, ...], slice]]:
    """Planes that follow each other and share chunks with no others: the numbers along the axes
    before `deep`, and a range along it."""
    size, step = axes.leading[deep], chunk[axes.order[deep]]
    for numbers in itertools.product(*(range(each) for each in axes.leading[:deep])):
        for start in range(0, size, step):
            yield numbers, slice(start, min(start + step, size))


def _pack(
    array: Chunked, axes: Axes, chunk: tuple[int, ...], first: tuple[int | slice, ...], spool: Path
) -> None:
    """Write a slab, whose planes lie in a file, row of chunks by row of chunks."""
    deep = len(first) - 1
    planes = np.memmap(spool, array.dtype, mode="r").reshape(-1, *axes.sizes[deep + 1 :])
    inside = planes.shape
    y = len(axes.leading) - deep
    height, width = inside[y], inside[y + 1]
    length, least = (chunk[axes.stored.index(letter)] for letter in "YX")
    column = math.prod(inside) // (height * width) * min(length, height) * array.dtype.itemsize
    across = max(1, _BLOCK // (column * least)) * least
    # Stored order of the dimensions that are left: those of the letters from `deep` on.
    turn = np.argsort(axes.order[deep:])
    for top in range(0, height, length):
        for left in range(0, width, across):
            window = slice(top, min(top + length, height)), slice(left, min(left + across, width))
            place: list[int | slice] = [slice(None)] * len(axes.shape)
            for number, dimension in zip(first, axes.order, strict=False):
                place[dimension] = number
            place[axes.stored.index("Y")], place[axes.stored.index("X")] = window
            block = np.array(planes[(slice(None),) * y + window])
            array[tuple(place)] = block.transpose(turn)


def shrink(large: Chunked, small: Chunked, chunk: tuple[int, ...]) -> None:
    """Fill an array with means of blocks of a larger one, 2 x 2 where it is half as wide and high.

    How many values become one along each axis follows from the two shapes; at the edge, where there
    are too few, the last counts several times.
    """
    starts = (range(0, size, step) for size, step in zip(small.shape, chunk, strict=True))
    for corner in itertools.product(*starts):
        target = tuple(
            slice(start, min(start + step, size))
            for start, step, size in zip(corner, chunk, small.shape, strict=True)
        )
        shrink_into(large, small, target)


def shrink_into(large: Chunked, small: Chunked, target: tuple[slice, ...]) -> None:
    """As `shrink`, for a part of the smaller array."""
    factors = tuple(
        max(1, round(whole / part)) for whole, part in zip(large.shape, small.shape, strict=True)
    )
    small[target] = _means(large, target, factors).astype(small.dtype)


def _means(large: Chunked, target: tuple[slice, ...], factors: tuple[int, ...]) -> np.ndarray:
    source, missing = [], []
    for part, factor, size in zip(target, factors, large.shape, strict=True):
        start = min(part.start * factor, size - 1)
        stop = min(part.stop * factor, size)
        source.append(slice(start, stop))
        missing.append((0, (part.stop - part.start) * factor - (stop - start)))
    values = np.pad(large[tuple(source)], missing, "edge")
    total = np.zeros([part.stop - part.start for part in target])
    for first in itertools.product(*(range(factor) for factor in factors)):
        total += values[tuple(map(slice, first, itertools.repeat(None), factors))]
    total /= math.prod(factors)
    return np.rint(total) if large.dtype.kind in "ui" else total


def held(axes: Axes, chunk: tuple[int, ...], itemsize: int) -> int:
    """How many bytes `fill` and `shrink` take at most."""
    sizes = [min(step, size) for step, size in zip(chunk, axes.shape, strict=True)]
    packed = math.prod(sizes) * itemsize
    row = packed // sizes[axes.stored.index("X")] * axes.shape[axes.stored.index("X")]
    if _first_deep(axes, chunk) is not None:
        row = min(row, max(packed, _BLOCK))
    means = math.prod(sizes) * (8 * itemsize + 24)
    return max(3 * row, means)

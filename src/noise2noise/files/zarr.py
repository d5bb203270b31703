"""OME-Zarr and plain Zarr arrays, of versions 2 and 3: folders of chunks, read as they are needed.

The full level of a pyramid is read; `zarr_write.py` builds the others anew. `zarr_store.py` reads
what a store says.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from noise2noise.files import zarr_store, zarr_write
from noise2noise.files.axes import Axes, named, samples_at, usual
from noise2noise.files.format import KEPT, Format
from noise2noise.files.guard import UnusableError, check_growth, reading
from noise2noise.files.stack import Header, Held, Stack, colour_of
from noise2noise.files.zarr_chunks import check_file
from noise2noise.files.zarr_store import Picture
from noise2noise.files.zarr_write import ZarrLayout, library

_ROW = 2**26  # bytes of a row of chunks that is worth to be decoded whole
_KEPT = 2**27  # bytes of decoded rows of chunks
_CHECKED = 4096  # chunks that are known to be no larger than they may be
_LARGE = 2**24  # bytes of a chunk, beyond which no two are decoded at a time


class _Zarr(Format):
    name, suffixes, is_folder = "OME-Zarr", (".zarr",), True
    without = tuple(KEPT)

    def recognises(self, head: bytes) -> bool:
        del head
        return False

    def recognises_folder(self, folder: Path) -> bool:
        return zarr_store.is_node(folder)

    def open(self, path: Path) -> Stack:
        return _ZarrStack(zarr_store.picture(path), path)

    def refusal(self, header: Header) -> str:
        return zarr_write.refusal(header)

    def held(self, header: Header) -> Held:
        return zarr_write.held(header)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        zarr_write.write(path, header, bands)


ZARR = _Zarr()


class _ZarrStack(Stack):
    """The largest array of an image."""

    def __init__(self, picture: Picture, path: Path) -> None:
        found = zarr_store.node(path / picture.levels[0])
        self._growth = zarr_store.check_array(found)
        packing = zarr_store.packing(found)
        # Windows that follow each other lie in the same chunks.
        self._check_packed = functools.lru_cache(_CHECKED)(lambda file: check_file(file, packing))
        zarr = library()
        self._array = zarr.open_array(str(found.folder), mode="r", zarr_format=found.version)
        self._folder, self._picture = found.folder, picture
        self._rows: OrderedDict[tuple[int, ...], np.ndarray] = OrderedDict()
        shape = self._array.shape
        self._axes = Axes(picture.letters or usual(shape), shape)
        self._x = self._axes.stored.index("X")
        self._columns = slice(0, shape[self._x])
        super().__init__(self._described(), path)

    @property
    def axes(self) -> str:
        return self._axes.stored

    def with_axes(self, letters: str) -> None:
        self._axes = named(letters, self._array.shape, self.name)
        self._x = self._axes.stored.index("X")
        self._columns = slice(0, self._array.shape[self._x])
        with reading(self.name):
            self.header = self._described()

    def with_channel_axis(self, place: int) -> None:
        self.with_axes(samples_at(place, self._array.shape, self.name))

    @property
    def held(self) -> Held:
        size = math.prod(self._array.chunks) * self._array.dtype.itemsize
        if self._row_bytes > _ROW:
            return Held(0, 3 * size)
        kept = self._most_rows * self._row_bytes
        return Held(kept, kept + 2 * self._row_bytes)

    def narrow(self, columns: slice) -> None:
        step, size = self._array.chunks[self._x], self._array.shape[self._x]
        start, stop, _ = columns.indices(size)
        self._columns = slice(start // step * step, min(-(-stop // step) * step, size))
        self.forget()

    def forget(self) -> None:
        self._rows.clear()

    def _described(self) -> Header:
        axes, picture = self._axes, self._picture
        packed = self._array.shards or self._array.chunks
        layout = ZarrLayout(picture, axes, self._array.dtype, packed)
        header = Header(
            axes.letters,
            axes.sizes,
            self._array.dtype.newbyteorder("="),
            colour_of(axes),
            notes=picture.notes,
            metadata=replace(picture.metadata, layout=layout),
        )
        y, x = (axes.stored.index(letter) for letter in "YX")
        zarr_store.check_planes(header, self._array.chunks[y], self._array.chunks[x])
        return header

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        place = self._axes.window(plane, rows, columns)
        values = self._fetched(place) if self._row_bytes > _ROW else self._from_rows(place)
        return self._axes.from_stored(values).astype(self.header.dtype)

    # -- rows of chunks: all columns that matter, and as many planes as a chunk holds --------------

    @property
    def _row_bytes(self) -> int:
        row = [min(chunk, size) for chunk, size in self._extents]
        width = self._columns.stop - self._columns.start
        return math.prod(row) // row[self._x] * width * self._array.dtype.itemsize

    @property
    def _most_rows(self) -> int:
        """How many are kept: two, for bands that overlap, or all that a plane touches where the
        next planes lie in them too."""
        axes, chunks = self._axes, self._array.chunks
        deep = any(min(chunks[axes.order[i]], size) > 1 for i, size in enumerate(axes.leading))
        down = -(-self.header.height // chunks[axes.stored.index("Y")])
        return max(2, min(down, _KEPT // self._row_bytes)) if deep else 2

    @property
    def _extents(self) -> Iterable[tuple[int, int]]:
        return zip(self._array.chunks, self._array.shape, strict=True)

    def _from_rows(self, place: tuple[int | slice, ...]) -> np.ndarray:
        """A window put together from rows of chunks, the last of which are kept: the planes and
        rows that come next are in them."""
        y = self._axes.stored.index("Y")
        rows, columns = place[y], place[self._x]
        assert isinstance(rows, slice)
        assert isinstance(columns, slice)
        left, right, _ = columns.indices(self._array.shape[self._x])
        columns = slice(left - self._columns.start, right - self._columns.start)
        top, bottom, _ = rows.indices(self._array.shape[y])
        length = self._array.chunks[y]
        parts = []
        for start in range(top // length * length, bottom, length):
            window = slice(max(top, start) - start, min(bottom, start + length) - start)
            inner = [
                each % chunk if isinstance(each, int) else each
                for each, chunk in zip(place, self._array.chunks, strict=True)
            ]
            inner[y], inner[self._x] = window, columns
            parts.append(self._row(place, y, start)[tuple(inner)])
        # Where rows are among the dimensions that are left.
        down = sum(isinstance(each, slice) for each in place[:y])
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=down)

    def _row(self, place: tuple[int | slice, ...], y: int, start: int) -> np.ndarray:
        chunk = self._array.chunks
        whole = [
            slice(each // step * step, min(each // step * step + step, size))
            if isinstance(each, int)
            else slice(0, size)
            for each, (step, size) in zip(place, self._extents, strict=True)
        ]
        whole[y] = slice(start, min(start + chunk[y], self._array.shape[y]))
        whole[self._x] = self._columns
        key = tuple(part.start for part in whole)
        if key in self._rows:
            self._rows.move_to_end(key)
            return self._rows[key]
        while len(self._rows) >= self._most_rows:
            self._rows.popitem(last=False)
        self._rows[key] = self._fetched(tuple(whole))
        return self._rows[key]

    def _fetched(self, place: tuple[int | slice, ...]) -> np.ndarray:
        """Part of the array, its chunks looked at before they are decoded."""
        array = self._array
        size = math.prod(array.chunks) * array.dtype.itemsize
        self._check_files(place, size)
        settings = {"async.concurrency": 1} if size > _LARGE else {}
        with library().config.set(settings):
            return np.asarray(array[place])

    def _check_files(self, place: tuple[int | slice, ...], size: int) -> None:
        """Refuse chunks that are no files, or too short for what they are to hold."""
        files = self._array.shards or self._array.chunks
        ranges = []
        for each, step, whole in zip(place, files, self._array.shape, strict=True):
            part = slice(each, each + 1) if isinstance(each, int) else each
            start, stop, _ = part.indices(whole)
            ranges.append(range(start // step, -(-stop // step)))
        for numbers in itertools.product(*ranges):
            file = self._folder / self._array.metadata.encode_chunk_key(numbers)
            if not file.exists():  # all of it has the value that stands for nothing
                continue
            if not file.is_file():
                raise UnusableError(f"is damaged ({file.name} is no file); copy or save it again")
            header = self.header
            length = file.stat().st_size
            check_growth(header.width, header.height, size, length, self._growth)
            self._check_packed(file)

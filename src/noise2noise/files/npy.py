"""`.npy`: one array, read from the disk as it is asked for: it may be larger than memory."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.lib.format

from noise2noise.files.axes import Axes, named, samples_at, usual
from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_size, reading
from noise2noise.files.stack import STREAMED, Header, Held, Metadata, Stack, colour_of

_MAGIC = b"\x93NUMPY"
_BLOCK = 2**20


@dataclass(frozen=True)
class NpyLayout:
    """How an array was stored.

    Attributes:
        axes: of it.
        dtype: byte order included.
        fortran: whether the first index is the fastest.
    """

    axes: Axes
    dtype: np.dtype
    fortran: bool

    @property
    def in_order(self) -> bool:
        """Whether pixels lie in the file as they are handed out."""
        return self.axes.in_order and not self.fortran


class _Npy(Format):
    name, suffixes = "NPY", (".npy",)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def open(self, path: Path) -> Stack:
        return _NpyStack(path)

    def refusal(self, header: Header) -> str:
        del header
        return ""

    def held(self, header: Header) -> Held:
        layout = header.metadata.layout
        if not isinstance(layout, NpyLayout) or layout.in_order:
            return STREAMED
        pixels = header.planes * header.plane_bytes  # in a map of the file
        return Held(pixels, pixels)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        layout = _layout(header)
        axes, dtype = layout.axes, layout.dtype
        described = {"descr": dtype.str, "fortran_order": layout.fortran, "shape": axes.shape}
        with path.open("wb") as file:
            numpy.lib.format.write_array_header_2_0(file, described)
            if layout.in_order:
                for band in bands:
                    file.write(np.ascontiguousarray(band, dtype).tobytes())
                return
            _reserve(file, math.prod(axes.shape) * dtype.itemsize)
        array = np.lib.format.open_memmap(path, mode="r+")
        axes.put(array, bands)
        array.flush()


NPY = _Npy()


def _layout(header: Header) -> NpyLayout:
    """How to store this: like the source, as far as it was an array of this shape and dtype."""
    dtype, own = header.dtype, header.metadata.layout
    if not isinstance(own, NpyLayout) or own.axes.sizes != header.shape:
        return NpyLayout(Axes(header.axes, header.shape), dtype, fortran=False)
    same = own.dtype.newbyteorder("=") == dtype
    return own if same else replace(own, dtype=dtype)


def _reserve(file: BinaryIO, size: int) -> None:
    """Take room on the disk: where there is none, writing into a map of the file would kill."""
    for start in range(0, size, _BLOCK):
        file.write(bytes(min(_BLOCK, size - start)))


class _NpyStack(Stack):
    def __init__(self, path: Path) -> None:
        # Pickled objects can run code, and are no pixels.
        self._array = np.lib.format.open_memmap(path, mode="r")
        if self._array.dtype.kind not in "uif":
            raise UnusableError(f"holds {self._array.dtype}; save it as integers or floats")
        self._axes = Axes(usual(self._array.shape), self._array.shape)
        super().__init__(self._described(), path)

    @property
    def axes(self) -> str:
        return self._axes.stored

    def with_axes(self, letters: str) -> None:
        self._axes = named(letters, self._array.shape, self.name)
        with reading(self.name):
            self.header = self._described()

    def with_channel_axis(self, place: int) -> None:
        self.with_axes(samples_at(place, self._array.shape, self.name))

    def _described(self) -> Header:
        axes, dtype = self._axes, self._array.dtype
        metadata = Metadata(layout=NpyLayout(axes, dtype, self._array.flags.fnc))
        dtype = dtype.newbyteorder("=")
        header = Header(axes.letters, axes.sizes, dtype, colour_of(axes), metadata=metadata)
        check_size(header.width, header.height)
        return header

    @property
    def held(self) -> Held:
        return STREAMED

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        # Mapped anew each time: pages that were looked at would stay in memory with the map.
        array = np.lib.format.open_memmap(self.name, mode="r")
        window = array[self._axes.window(plane, rows, columns)]
        return self._axes.from_stored(window).astype(self.header.dtype)

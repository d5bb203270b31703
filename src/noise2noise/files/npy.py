"""`.npy`: one array, read from the disk as it is asked for: it may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.lib.format

from noise2noise.files.axes import Axes, named, samples_at, usual
from noise2noise.files.flat import Flat
from noise2noise.files.format import KEPT, Format
from noise2noise.files.guard import UnusableError, check_size, reading
from noise2noise.files.stack import STREAMED, Header, Held, Metadata, Stack, colour_of

_MAGIC = b"\x93NUMPY"


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

    def flat(self, path: Path, offset: int = 0) -> Flat:
        return Flat(path, offset, self.axes, self.dtype, self.fortran)


class _Npy(Format):
    name, suffixes = "NPY", (".npy",)
    without = tuple(KEPT)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def open(self, path: Path) -> Stack:
        return _NpyStack(path)

    def refusal(self, header: Header) -> str:
        del header
        return ""

    def held(self, header: Header) -> Held:
        layout = header.metadata.layout
        ours = isinstance(layout, NpyLayout)
        return layout.flat(Path()).held(header) if ours else STREAMED

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        layout = _layout(header)
        shape, dtype = layout.axes.shape, layout.dtype
        described = {"descr": dtype.str, "fortran_order": layout.fortran, "shape": shape}
        with path.open("wb") as file:
            numpy.lib.format.write_array_header_2_0(file, described)
            layout.flat(path, file.tell()).write(file, bands)


NPY = _Npy()


def _layout(header: Header) -> NpyLayout:
    """How to store this: like the source, as far as it was an array of this shape and dtype."""
    dtype, own = header.dtype, header.metadata.layout
    if not isinstance(own, NpyLayout) or own.axes.sizes != header.shape:
        return NpyLayout(Axes(header.axes, header.shape), dtype, fortran=False)
    same = own.dtype.newbyteorder("=") == dtype
    return own if same else replace(own, dtype=dtype)


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
        layout: NpyLayout = self.header.metadata.layout
        flat = replace(layout.flat(Path(self.name), self._array.offset), axes=self._axes)
        return flat.read(plane, rows, columns).astype(self.header.dtype, copy=False)

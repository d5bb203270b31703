"""FITS: what telescopes write. One array is denoised, and everything else in the file is copied.

astropy reads the headers; pixels are read from the disk as they are asked for, or from compressed
tiles by astropy. A result has the header of its source card by card, WCS, comments and history
included, and the other extensions byte by byte. `fits_header.py` knows what a header says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from noise2noise.files import fits_header
from noise2noise.files.axes import Axes, named, samples_at
from noise2noise.files.extras import missing, needed
from noise2noise.files.fits_header import Scaling
from noise2noise.files.flat import Flat, each
from noise2noise.files.format import KEPT, Format
from noise2noise.files.guard import UnusableError, check_growth, check_size, quiet, reading, shown
from noise2noise.files.stack import STREAMED, Header, Held, Metadata, Stack, colour_of

_MAGIC = b"SIMPLE  ="
_BLOCK = 2880  # bytes: the length of headers and of data is a multiple
_MOST_PARTS = 4096
# How many times its size a tile can grow: PLIO's longest run of 4 bytes each; HCOMPRESS has fewer.
_MOST_GROWTH = 8192
_MOST_TILE = 2**28  # bytes of a tile, of which there are several in memory
_SUMS = ("CHECKSUM", "DATASUM")


@dataclass(frozen=True)
class FitsLayout:
    """The file that was read.

    Attributes:
        path: of it.
        part: the number of the array's part (header and data unit).
        start, end: where that part begins and ends in the file.
        header: of the array, astropy's.
        axes: of it.
        scaling: of its values.
        packed: whether it is stored in compressed tiles.
    """

    path: Path
    part: int
    start: int
    end: int
    header: Any
    axes: Axes
    scaling: Scaling
    packed: bool


class _Fits(Format):
    name, suffixes = "FITS", (".fits", ".fit", ".fts")
    without = tuple(KEPT)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def open(self, path: Path) -> Stack:
        with needed("fits", "a FITS file"):
            from astropy.io import fits
        file = fits.open(path, do_not_scale_image_data=True, memmap=True)
        try:
            return _FitsStack(file, path)
        except BaseException:
            file.close()
            raise

    def refusal(self, header: Header) -> str:
        lacking = missing("astropy", "fits", self.name)
        if lacking or _own(header) is not None:
            return lacking
        if header.alpha or header.colour in ("cmyk", "lab"):
            kind = "transparency" if header.alpha else f"{header.colour} pixels"
            return f"FITS can't hold {kind}; end the name in .tif"
        if header.dtype == np.float16:
            return "FITS can't hold float16 pixels; add --dtype float32"
        return ""

    def losses(self, header: Header) -> tuple[str, ...]:
        own = _own(header)
        packed = own is not None and own.packed
        return (*(("written uncompressed",) if packed else ()), *super().losses(header))

    def held(self, header: Header) -> Held:
        return _flat(header, Path(), 0).held(header)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        own = _own(header)
        with quiet():
            said = _header(header, own)
        with path.open("wb") as file:
            if own:
                _copy(own.path, file, 0, own.start)
            file.write(said.tostring(padding=True).encode("ascii"))
            flat = _flat(header, path, file.tell())
            flat.write(file, each(bands, _scaling(header).store))
            file.seek(0, 2)
            file.write(bytes(-file.tell() % _BLOCK))
            if own:
                _copy(own.path, file, own.end, own.path.stat().st_size)
        if any(name in said for name in _SUMS):
            _sum_up(path, own.part if own else 0)


FITS = _Fits()


class _Packed(_Fits):
    """The suffix of files whose arrays are compressed; results have another."""

    suffixes, written_as = (".fz",), ".fits"

    def recognises(self, head: bytes) -> bool:
        del head
        return False

    def refusal(self, header: Header) -> str:
        del header
        return "is a format that can only be read; end the name in .fits"


PACKED_FITS = _Packed()


class _FitsStack(Stack):
    """The first array of two dimensions or more."""

    def __init__(self, file: Any, path: Path) -> None:
        part = _main_part(file)
        self._file, self._part = file, file[part]
        said = self._part.header
        shape = fits_header.sizes(said)
        axes = Axes(fits_header.letters(said, shape), shape)
        place = self._part.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        scaling = Scaling.of(said)
        packed = hasattr(self._part, "compression_type")
        self._layout = FitsLayout(path, part, place["hdrLoc"], end, said, axes, scaling, packed)
        self._flat = None
        if packed:
            self._check_packed(place["datSpan"])
        else:
            self._flat = Flat(path, place["datLoc"], axes, scaling.stored)
            self._flat.check()
        super().__init__(self._described(), path)

    @property
    def axes(self) -> str:
        return self._layout.axes.stored

    def with_axes(self, letters: str) -> None:
        axes = named(letters, self._layout.axes.shape, self.name)
        self._layout = replace(self._layout, axes=axes)
        if self._flat is not None:
            self._flat = replace(self._flat, axes=axes)
        with reading(self.name):
            self.header = self._described()

    def with_channel_axis(self, place: int) -> None:
        self.with_axes(samples_at(place, self._layout.axes.shape, self.name))

    def close(self) -> None:
        self._file.close()

    @property
    def held(self) -> Held:
        if self._flat is not None:
            return STREAMED
        tile = math.prod(self._part.tile_shape) * self._layout.scaling.stored.itemsize
        return Held(0, 3 * tile + self._part.fileinfo()["datSpan"])

    def _described(self) -> Header:
        layout = self._layout
        axes = layout.axes
        metadata = Metadata(steps=fits_header.steps(layout.header, axes.stored), layout=layout)
        check_size(axes.sizes[axes.letters.index("X")], axes.sizes[axes.letters.index("Y")])
        return Header(
            axes.letters,
            axes.sizes,
            layout.scaling.dtype,
            colour_of(axes),
            notes=_notes(self._file, layout.part),
            metadata=metadata,
        )

    def _check_packed(self, length: int) -> None:
        axes, size = self._layout.axes, self._layout.scaling.stored.itemsize
        *_, height, width = axes.shape
        check_size(width, height)
        check_growth(width, height, math.prod(axes.shape) * size, length, _MOST_GROWTH)
        if not 0 < math.prod(self._part.tile_shape) * size <= _MOST_TILE:
            raise UnusableError("is compressed in tiles that are too large; save it uncompressed")

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        layout = self._layout
        if self._flat is not None:
            return layout.scaling.load(self._flat.read(plane, rows, columns))
        place = layout.axes.window(plane, rows, columns)
        window = np.asarray(self._part.section[place])
        return layout.scaling.load(layout.axes.from_stored(window))


def _main_part(file: Any) -> int:
    """The number of the first part that is an image."""
    parts = 0
    for number, part in enumerate(file):
        parts += 1
        if number >= _MOST_PARTS:
            break
        # Random groups have an array of no width, tables none of pixels.
        shape = fits_header.sizes(part.header) if part.is_image else ()
        if len(shape) > 1 and math.prod(shape):
            return number
    raise UnusableError(f"holds no image ({parts} parts without one); use one that has pixels")


def _notes(file: Any, main: int) -> tuple[str, ...]:
    """What is left as it is: other images, by name, and tables."""
    others = [shown(part.name or f"part {i}") for i, part in enumerate(file) if i > max(main, 0)]
    notes = []
    if others:
        named = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        notes.append(f"{len(others)} other part{'s' * (len(others) > 1)} not denoised: {named}")
    return tuple(notes)


# Out.


def _own(header: Header) -> FitsLayout | None:
    layout = header.metadata.layout
    same = isinstance(layout, FitsLayout) and layout.axes.sizes == header.shape
    return layout if same and header.dtype != np.float16 else None


def _scaling(header: Header) -> Scaling:
    own = _own(header)
    same = own is not None and own.scaling.dtype == header.dtype and not header.metadata.converted
    return own.scaling if own is not None and same else Scaling.new(header.dtype)


def _flat(header: Header, path: Path, offset: int) -> Flat:
    own = _own(header)
    return Flat(path, offset, own.axes if own else _new_axes(header), _scaling(header).stored)


def _new_axes(header: Header) -> Axes:
    """As they come; the samples of a pixel as planes, which is where others look for colours."""
    if not header.axes.endswith("S"):
        return Axes(header.axes, header.shape)
    before, place = header.axes.index("Y"), header.shape
    letters = header.axes[:before] + "SYX"
    return Axes(letters, (*place[:before], place[-1], *place[before:-1]))


def _header(header: Header, own: FitsLayout | None) -> Any:
    """Of the part that is written, astropy's."""
    from astropy.io import fits

    scaling = _scaling(header)
    said = own.header.copy() if own else fits.Header([("SIMPLE", True)])
    said["BITPIX"] = {kind: bits for bits, kind in fits_header.DTYPES.items()}[
        scaling.stored.str[1:]
    ]
    if own is None:
        shape = _new_axes(header).shape
        said["NAXIS"] = len(shape)
        for place, size in enumerate(reversed(shape), 1):
            said[f"NAXIS{place}"] = size
        fits_header.describe(said, header, _new_axes(header).stored)
    elif own.scaling is not scaling:
        said.remove("BLANK", ignore_missing=True)
        for name in ("BSCALE", "BZERO"):
            said.remove(name, ignore_missing=True)
    if scaling.zero and "BZERO" not in said:
        said["BSCALE"], said["BZERO"] = 1, scaling.zero
    for name in fits_header.STALE:
        said.remove(name, ignore_missing=True)
    return said


def _copy(source: Path, file: BinaryIO, start: int, end: int) -> None:
    """Bytes of the source as they are."""
    with source.open("rb") as old:
        old.seek(start)
        left = end - start
        while left > 0:
            piece = old.read(min(left, 2**20))
            if not piece:
                return
            left -= file.write(piece)


def _sum_up(path: Path, part: int) -> None:
    """Renew the checksums of a part that had them."""
    from astropy.io import fits

    with quiet(), fits.open(path, mode="update", disable_image_compression=True) as file:
        parts: Any = file
        parts[part].add_checksum()

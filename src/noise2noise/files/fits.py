"""FITS: what telescopes write. An array is denoised, and those that are its equals, such as the
chips of a mosaic; everything else in the file is copied.

astropy reads the headers; pixels are read from the disk as they are asked for, or from compressed
tiles by astropy. A result has the header of its source card by card, WCS, comments and history
included, and the other extensions byte by byte. `fits_header.py` knows what a header says.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files import fits_header
from noise2noise.files.axes import Axes, named, samples_at
from noise2noise.files.extras import missing, needed
from noise2noise.files.fits_header import Scaling
from noise2noise.files.flat import Flat, each
from noise2noise.files.format import KEPT, Format
from noise2noise.files.guard import UnusableError, check_growth, check_size, quiet, reading, shown
from noise2noise.files.stack import (
    STREAMED,
    Header,
    Held,
    Metadata,
    Stack,
    colour_of,
    next_plane,
)

_MAGIC = b"SIMPLE  ="
GZIP = b"\x1f\x8b"
_BLOCK = 2880  # bytes: the length of headers and of data is a multiple
_MOST_PARTS = 4096
# How many times its size a tile can grow: PLIO's longest run of 4 bytes each; HCOMPRESS has fewer.
_MOST_GROWTH = 8192
_MOST_TILE = 2**28  # bytes of a tile, of which there are several in memory
_SUMS = ("CHECKSUM", "DATASUM")


@dataclass(frozen=True)
class FitsPart:
    """A part of a file (header and data unit) that is denoised.

    Attributes:
        number: of it.
        start, data, end: where it, its array, and what follows begin in the file.
        header: astropy's.
    """

    number: int
    start: int
    data: int
    end: int
    header: Any


@dataclass(frozen=True)
class FitsLayout:
    """The file that was read.

    Attributes:
        path: of it.
        parts: what is denoised of it, all of one kind.
        axes: of the arrays; the first counts parts where there are several.
        scaling: of their values.
        packed: whether they are stored in compressed tiles.
    """

    path: Path
    parts: tuple[FitsPart, ...]
    axes: Axes
    scaling: Scaling
    packed: bool

    @property
    def part_axes(self) -> Axes:
        """Of the array of a part."""
        if len(self.parts) == 1:
            return self.axes
        return Axes(self.axes.stored[1:], self.axes.shape[1:])

    @property
    def header(self) -> Any:
        """Of the first part."""
        return self.parts[0].header


class FitsFormat(Format):
    """FITS; others are packed."""

    name, suffixes = "FITS", (".fits", ".fit", ".fts")
    without = tuple(KEPT)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def open(self, path: Path) -> Stack:
        file = self.opened(path)
        try:
            return FitsStack(file, path, path)
        except BaseException:
            file.close()
            raise

    def opened(self, path: Path) -> Any:
        """A file as astropy has it."""
        with needed("fits", "a FITS file"):
            from astropy.io import fits
        return fits.open(path, do_not_scale_image_data=True, memmap=True)

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
        return Flat(Path(), 0, _part_axes(header), _scaling(header).stored).held(header)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        own = _own(header)
        axes, scaling = _part_axes(header), _scaling(header)
        stored = iter(each(bands, scaling.store))
        summed, copied = [], 0
        with path.open("wb") as file:
            for part in own.parts if own else (None,):
                with quiet():
                    said = _header(header, own, part)
                if own and part:
                    _copy(own.path, file, copied, part.start)
                    copied = part.end
                file.write(said.tostring(padding=True).encode("ascii"))
                flat = Flat(path, file.tell(), axes, scaling.stored)
                flat.write(file, _bands_of_planes(stored, axes.planes, header.height))
                file.seek(0, 2)
                file.write(bytes(-file.tell() % _BLOCK))
                if any(name in said for name in _SUMS):
                    summed.append(part.number if part else 0)
            if own:
                _copy(own.path, file, copied, math.inf)
        if summed:
            _sum_up(path, summed)


FITS = FitsFormat()


class _Packed(FitsFormat):
    """The suffix of files whose arrays are compressed; results have another."""

    suffixes, written_as = (".fz",), ".fits"

    def recognises(self, head: bytes) -> bool:
        del head
        return False

    def refusal(self, header: Header) -> str:
        del header
        return "is a format that can only be read; end the name in .fits"


PACKED_FITS = _Packed()


class FitsStack(Stack):
    """The first array of two dimensions or more, and its equals.

    Arguments:
        file: astropy's.
        place: where its bytes are read.
        path: its name, from which the rest of it is copied.
    """

    def __init__(self, file: Any, place: Path, path: Path) -> None:
        main, *equals = _main_parts(file)
        self._file, self._place, said = file, place, file[main].header
        shape = fits_header.sizes(said)
        letters = fits_header.letters(said, shape)
        if equals:
            shape, letters = (1 + len(equals), *shape), "I" + letters
        parts = tuple(_part(file, number) for number in (main, *equals))
        packed = hasattr(file[main], "compression_type")
        axes, scaling = Axes(letters, shape), Scaling.of(said)
        self._layout = FitsLayout(path, parts, axes, scaling, packed)
        for part in parts:
            if packed:
                self._check_packed(part)
            else:
                self._flat(part).check()
        super().__init__(self._described(), path)

    @property
    def axes(self) -> str:
        return self._layout.axes.stored

    def with_axes(self, letters: str) -> None:
        axes = named(letters, self._layout.axes.shape, self.name)
        if len(self._layout.parts) > 1 and axes.order[0] != 0:
            raise UserError(
                f"{self.name} has axes {self._layout.axes.stored}, of which the first counts parts "
                f"of the file, and --axes {letters} makes a pixel of them; name it T, Z or Q, or C "
                "with Y and X behind it"
            )
        self._layout = replace(self._layout, axes=axes)
        with reading(self.name):
            self.header = self._described()

    def with_channel_axis(self, place: int) -> None:
        self.with_axes(samples_at(place, self._layout.axes.shape, self.name))

    def close(self) -> None:
        self._file.close()

    @property
    def held(self) -> Held:
        layout = self._layout
        if not layout.packed:
            return STREAMED
        tiles = (math.prod(self._file[part.number].tile_shape) for part in layout.parts)
        length = sum(part.end - part.data for part in layout.parts)
        return Held(0, 3 * max(tiles) * layout.scaling.stored.itemsize + length)

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
            notes=_notes(self._file, layout.parts),
            metadata=metadata,
        )

    def _flat(self, part: FitsPart) -> Flat:
        layout = self._layout
        return Flat(self._place, part.data, layout.part_axes, layout.scaling.stored)

    def _check_packed(self, part: FitsPart) -> None:
        axes, size = self._layout.part_axes, self._layout.scaling.stored.itemsize
        *_, height, width = axes.shape
        check_size(width, height)
        check_growth(
            width, height, math.prod(axes.shape) * size, part.end - part.data, _MOST_GROWTH
        )
        if not 0 < math.prod(self._file[part.number].tile_shape) * size <= _MOST_TILE:
            raise UnusableError("is compressed in tiles that are too large; save it uncompressed")

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        layout = self._layout
        axes = layout.part_axes
        place, plane = divmod(plane, axes.planes)
        part = layout.parts[place]
        if not layout.packed:
            return layout.scaling.load(self._flat(part).read(plane, rows, columns))
        window = np.asarray(self._file[part.number].section[axes.window(plane, rows, columns)])
        return layout.scaling.load(axes.from_stored(window))


def _part(file: Any, number: int) -> FitsPart:
    place = file[number].fileinfo()
    data = place["datLoc"]
    return FitsPart(number, place["hdrLoc"], data, data + place["datSpan"], file[number].header)


def _main_parts(file: Any) -> list[int]:
    """The number of the first part that is an image, and those of its equals."""
    found, kind, parts = [], None, 0
    for number, part in enumerate(file):
        parts += 1
        if number >= _MOST_PARTS:
            break
        # Random groups have an array of no width, tables none of pixels.
        shape = fits_header.sizes(part.header) if part.is_image else ()
        if len(shape) < 2 or not math.prod(shape):
            continue
        packed = hasattr(part, "compression_type")
        its = (fits_header.name_of_kind(part.header), shape, Scaling.of(part.header), packed)
        if kind is None:
            kind = its
        elif its != kind:
            continue
        found.append(number)
        if number == 0 and not its[0]:
            return found  # what comes with a picture isn't its equal but by name
    if not found:
        raise UnusableError(f"holds no image ({parts} parts without one); use one that has pixels")
    return found


def _notes(file: Any, main: Sequence[FitsPart]) -> tuple[str, ...]:
    """What is left as it is: other images, by name, and tables."""
    done = {part.number for part in main}
    others = [
        shown(part.name or f"part {i}")
        for i, part in enumerate(file)
        if i > main[0].number and i not in done
    ]
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


def _part_axes(header: Header) -> Axes:
    own = _own(header)
    return own.part_axes if own else _new_axes(header)


def _bands_of_planes(bands: Iterator[np.ndarray], planes: int, height: int) -> Iterator[np.ndarray]:
    for _ in range(planes):
        yield from next_plane(bands, height)


def _new_axes(header: Header) -> Axes:
    """As they come; the samples of a pixel as planes, which is where others look for colours."""
    if not header.axes.endswith("S"):
        return Axes(header.axes, header.shape)
    before, place = header.axes.index("Y"), header.shape
    letters = header.axes[:before] + "SYX"
    return Axes(letters, (*place[:before], place[-1], *place[before:-1]))


def _header(header: Header, own: FitsLayout | None, part: FitsPart | None) -> Any:
    """Of the part that is written, astropy's."""
    from astropy.io import fits

    scaling = _scaling(header)
    said = part.header.copy() if part else fits.Header([("SIMPLE", True)])
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


def _copy(source: Path, file: BinaryIO, start: int, end: float) -> None:
    """Bytes of the source, unpacked, as they are."""
    with source.open("rb") as plain:
        packed = plain.read(len(GZIP)) == GZIP
    with gzip.open(source) if packed else source.open("rb") as old:
        old.seek(start)
        left = end - start
        while left > 0:
            piece = old.read(int(min(left, 2**20)))
            if not piece:
                return
            left -= file.write(piece)


def _sum_up(path: Path, parts: Sequence[int]) -> None:
    """Renew the checksums of parts that had them."""
    from astropy.io import fits

    with quiet(), fits.open(path, mode="update", disable_image_compression=True) as file:
        every: Any = file
        for part in parts:
            every[part].add_checksum()

"""Directories of tags as bytes: an EXIF block is a TIFF without pixels, and a TIFF holds the same.

Values are moved as they are, whatever they mean, so that nothing is lost to a reader's idea of it.
Where they lie changes; maker notes that hold offsets into the file suffer from that, but whoever
reads them expects it of any program that saved the file.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Order = Literal["<", ">"]
"""Of bytes, as struct and numpy name it: the small end first, or the big end."""

ORIENTATION = 274
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965
POINTERS = (EXIF, GPS, INTEROPERABILITY)
"""Tags whose value is the place of another directory."""

MAIN = (271, 272, ORIENTATION, 305, 306, 315, 33432)  # make, model, ..., copyright
"""The tags that both an EXIF block and a TIFF have in their first directory."""

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
SIZES |= {16: 8, 17: 8, 18: 8}
"""Bytes of a value of each of TIFF's types."""

_MOST = 2**24  # bytes of a value; a maker note has some ten thousand
_LONG = 4


class Readable(Protocol):
    """A file, or what tifffile has in its place."""

    def seek(self, offset: int, /) -> int: ...

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Entry:
    """A tag: its code, TIFF's number of its type, the count of its values, and their bytes."""

    code: int
    kind: int
    count: int
    data: bytes
    directory: tuple[Entry, ...] = ()


def read_block(exif: bytes) -> tuple[Order, tuple[Entry, ...]]:
    """The byte order of an EXIF block (< or >), and its first directory.

    Raises:
        Exception: it is damaged, in any way that there is.
    """
    orders: dict[bytes, Order] = {b"II": "<", b"MM": ">"}
    order = orders[exif[:2]]
    (offset,) = struct.unpack_from(f"{order}I", exif, 4)
    return order, read_directory(io.BytesIO(exif), offset, order)


def read_directory(
    file: Readable, offset: int, order: Order, big: bool = False, depth: int = 3
) -> tuple[Entry, ...]:
    """A directory at `offset`, and those that it points to, without entries that are damaged."""
    number, small = ("Q", 8) if big else ("I", 4)
    found = []
    for _, code, kind, count, field in fields(file, offset, order, big):
        length = count * SIZES.get(kind, _MOST + 1)
        if length > _MOST:
            continue
        data = field[:length]
        (value,) = struct.unpack(order + number, field)
        if length > small:
            file.seek(value)
            data = file.read(length)
        if len(data) < length:
            continue
        if code not in POINTERS:
            found.append(Entry(code, kind, count, data))
        elif depth:
            if kind == _LONG:
                (value,) = struct.unpack(f"{order}I", data[:4])
            inner = read_directory(file, value, order, big, depth - 1)
            found.append(Entry(code, _LONG, 1, b"", inner))
    return tuple(found)


def fields(
    file: Readable, offset: int, order: Order, big: bool
) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Place of the value, code, type, count, and value or its place, of each entry at `offset`."""
    number, counter, small = ("Q", "Q", 8) if big else ("I", "H", 4)
    file.seek(offset)
    (entries,) = struct.unpack(order + counter, file.read(struct.calcsize(counter)))
    layout = f"{order}HH{number}{small}s"
    size = struct.calcsize(layout)
    table = file.read(min(entries, 2**16) * size)
    first = offset + struct.calcsize(counter) + size - small
    for start in range(0, len(table) - size + 1, size):
        yield first + start, *struct.unpack_from(layout, table, start)


def pack_directory(entries: Sequence[Entry], offset: int, order: Order, big: bool = False) -> bytes:
    """A directory that will stand at `offset`, its values and inner directories after it."""
    number, counter, small = ("Q", "Q", 8) if big else ("I", "H", 4)
    entries = sorted(entries, key=lambda entry: entry.code)
    start = offset + struct.calcsize(counter) + len(entries) * (4 + 2 * small) + small
    table, values = struct.pack(order + counter, len(entries)), b""
    for entry in entries:
        if len(values) % 2:
            values += b"\0"
        here = start + len(values)
        if entry.directory:
            values += pack_directory(entry.directory, here, order, big)
            kind = 16 if big else _LONG
            table += struct.pack(f"{order}HH{number}{number}", entry.code, kind, 1, here)
            continue
        table += struct.pack(f"{order}HH{number}", entry.code, entry.kind, entry.count)
        if len(entry.data) <= small:
            table += entry.data.ljust(small, b"\0")
        else:
            table += struct.pack(order + number, here)
            values += entry.data
    return table + struct.pack(order + number, 0) + values


def block(entries: Sequence[Entry], order: Order) -> bytes:
    """An EXIF block with this first directory; empty without entries."""
    if not entries:
        return b""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    return head + pack_directory(entries, 8, order)


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels, (h, w, ...), as they are to be shown."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    down, across = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
    return pixels[:: -1 if down else 1, :: -1 if across else 1]


def upright(exif: bytes) -> bytes:
    """The same EXIF block, in which the picture isn't to be turned: for formats that say elsewhere
    how it is, and whose readers have turned it."""
    try:
        order: Order = "<" if exif[:1] == b"I" else ">"
        (offset,) = struct.unpack_from(f"{order}I", exif, 4)
        places = {code: at for at, code, *_ in fields(io.BytesIO(exif), offset, order, False)}
    except (struct.error, ValueError):
        return exif
    place = places.get(ORIENTATION)
    if place is None:
        return exif
    return exif[:place] + struct.pack(f"{order}H", 1) + exif[place + 2 :]

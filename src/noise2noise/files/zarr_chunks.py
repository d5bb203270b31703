"""Packed chunks of a Zarr store: how much comes out of one, counted before it is decoded.

The library takes whatever memory a packed chunk asks for, and looks afterwards whether that was as
much as a chunk holds: a few kilobytes could ask for all there is.

Sources: https://zarr-specs.readthedocs.io (shards), RFC 8878 (Zstandard), and what Blosc and
numcodecs write first.
"""

from __future__ import annotations

import bz2
import lzma
import mmap
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from noise2noise.files.guard import UnusableError

_STEP = 2**20  # bytes that are unpacked at a time to count them
_MOST_DICTIONARY = 2**28  # bytes that LZMA may take to work; its highest level takes 2**26
_ROOM = 64  # bytes of checksums inside of what is packed
_NOTHING = 2**64 - 1  # where a shard has no such chunk
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Packing:
    """How a chunk or a shard is packed.

    Attributes:
        packer: the codec that makes it smaller; "" for none.
        before, after: bytes of checksums around what it made.
        most: bytes that may come out of it.
        inner: of the chunks in a shard; None for a chunk.
        count: how many chunks a shard has.
        index: bytes of a shard's index.
        index_first: whether that comes before the chunks.
    """

    packer: str
    before: int
    after: int
    most: int
    inner: Packing | None = None
    count: int = 0
    index: int = 0
    index_first: bool = False


def check_file(file: Path, packing: Packing) -> None:
    """Refuse a file of which more comes out than a chunk holds.

    Raises:
        UnusableError: so, or it is damaged.
    """
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        view = memoryview(data)
        try:
            _check(view, packing, file.name)
        finally:
            view.release()


def _check(data: memoryview, packing: Packing, name: str) -> None:
    if packing.inner is not None:
        for piece in _pieces(data, packing):
            with piece:
                _check(piece, packing.inner, name)
        return
    if not packing.packer:
        return
    with data[packing.before : len(data) - packing.after] as packed:
        if _SIZES[packing.packer](packed, packing.most) > packing.most:
            raise UnusableError(
                f"is damaged ({name} unpacks to more than the {packing.most} bytes of a chunk); "
                "copy or save it again"
            )


def _pieces(data: memoryview, packing: Packing) -> Iterator[memoryview]:
    """The chunks of a shard."""
    start = 0 if packing.index_first else len(data) - packing.index
    index = np.frombuffer(data[max(0, start) :], "<u8", 2 * packing.count).reshape(-1, 2)
    for offset, length in index.tolist():
        if offset != _NOTHING:
            yield data[offset : offset + length]


def _of_zstd(data: memoryview, most: int) -> int:
    if bytes(data[:4]) != _ZSTD:
        return 0  # the library refuses it without taking any memory
    flags = data[4]
    single = flags >> 5 & 1
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    width = (single, 2, 4, 8)[flags >> 6]
    if width:
        return int.from_bytes(data[start : start + width], "little") + 256 * (width == 2)
    try:  # it doesn't say
        return len(imagecodecs.zstd_decode(bytes(data), out=most))
    except RuntimeError:
        return most + 1


def _said_at(place: int) -> Callable[[memoryview, int], int]:
    def said(data: memoryview, most: int) -> int:
        del most
        return struct.unpack_from("<I", data, place)[0]

    return said


def _counted(make: Callable[[], Any]) -> Callable[[memoryview, int], int]:
    """By unpacking step by step, and forgetting each."""

    def count(data: memoryview, most: int) -> int:
        total, rest = 0, data.tobytes()
        while rest and total <= most:
            unpacker = make()
            total, rest = _unpacked(unpacker, rest, total, most)
        return total

    return count


def _unpacked(unpacker: Any, data: bytes, total: int, most: int) -> tuple[int, bytes]:
    """One stream of several that may follow each other: the bytes so far, and what is left."""
    while not unpacker.eof and total <= most:
        step = len(unpacker.decompress(data, _STEP))
        data = getattr(unpacker, "unconsumed_tail", b"")
        total += step
        if not step and not data:
            break  # cut short, which the library says
    return total, unpacker.unused_data


_SIZES: dict[str, Callable[[memoryview, int], int]] = {
    "zstd": _of_zstd,
    "blosc": _said_at(4),
    "lz4": _said_at(0),
    "gzip": _counted(lambda: zlib.decompressobj(zlib.MAX_WBITS | 32)),
    "zlib": _counted(lambda: zlib.decompressobj(zlib.MAX_WBITS | 32)),
    "bz2": _counted(bz2.BZ2Decompressor),
    "lzma": _counted(lambda: lzma.LZMADecompressor(memlimit=_MOST_DICTIONARY)),
}
PACKERS = tuple(_SIZES)
"""Codecs that make chunks smaller."""


def packing_of(names: list[str], size: int, wider: int) -> Packing:
    """How a chunk is packed.

    Arguments:
        names: of its codecs, in the order in which they pack.
        size: bytes of a chunk's pixels.
        wider: how many times as many filters may make of them.

    Raises:
        UnusableError: several make it smaller.
    """
    packers = [place for place, name in enumerate(names) if name in PACKERS]
    if len(packers) > 1:
        raise UnusableError(
            f"has chunks packed twice ({', '.join(names[each] for each in packers)}); "
            "save it with one of them"
        )
    if not packers:
        return Packing("", 0, 0, size)
    around = names[packers[0] + 1 :]
    after = 4 * sum(name in ("crc32c", "fletcher32") for name in around)
    before = 4 * len(around) - after
    return Packing(names[packers[0]], before, after, size * wider + _ROOM)

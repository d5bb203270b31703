"""FITS that gzip packed, as many archives hand it out: unpacked beside, and packed again.

Nothing of what gzip packed can be read without all before it, so pixels are read from a temporary
file; what is copied into a result comes from the source itself.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from noise2noise.files.fits import FITS, GZIP, FitsFormat, FitsStack
from noise2noise.files.guard import UnusableError
from noise2noise.files.stack import Header, Stack

_MEMBER = 31  # of zlib's window sizes that which means gzip
_LEVEL = 6  # gzip's own
_BLOCK = 2**20
_MOST_GROWTH, _FREE_GROWTH = 200, 2**26  # times, from so many bytes on


class _Zipped(FitsFormat):
    name, suffixes = "FITS.gz", (".fits.gz", ".fit.gz", ".fts.gz")

    def recognises(self, head: bytes) -> bool:
        if not head.startswith(GZIP):
            return False
        with contextlib.suppress(zlib.error):
            return FITS.recognises(zlib.decompressobj(_MEMBER).decompress(head, 80))
        return False

    def open(self, path: Path) -> Stack:
        folder = tempfile.TemporaryDirectory(prefix="noise2noise-")
        try:
            place = Path(folder.name) / "unpacked.fits"
            _unpack(path, place)
            return _UnpackedStack(self.opened(place), path, folder)
        except BaseException:
            folder.cleanup()
            raise

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        with tempfile.TemporaryDirectory(prefix="noise2noise-") as folder:
            place = Path(folder) / "packed.fits"
            super().write(place, header, bands)
            with (
                place.open("rb") as plain,
                path.open("wb") as file,
                gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed,
            ):
                shutil.copyfileobj(plain, packed, _BLOCK)


ZIPPED_FITS = _Zipped()


class _UnpackedStack(FitsStack):
    """What lies in a folder that goes when the stack is closed."""

    def __init__(self, file: object, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        super().__init__(file, Path(folder.name) / "unpacked.fits", path)
        self._folder = folder

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def _unpack(path: Path, place: Path) -> None:
    """Write what is packed in a file to another place.

    Raises:
        UnusableError: it is so much that it may be a trap for the disk.
    """
    most = max(_FREE_GROWTH, _MOST_GROWTH * path.stat().st_size)
    with gzip.open(path) as packed, place.open("wb") as file:
        while piece := packed.read(_BLOCK):
            if file.tell() > most:
                raise UnusableError(
                    f"grows to more than {_MOST_GROWTH} times its size; unpack it with: gunzip"
                )
            file.write(piece)

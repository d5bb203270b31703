"""An OME-Zarr that came as one file: zipped, or as the tar that the page makes of a folder.

Nothing of the archive is believed: sizes are counted while they are read, and a name is a place
below the store or the archive is refused. What isn't a plain file is left out.
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from noise2noise.errors import UserError
from noise2noise.files.zarr_store import METADATA
from noise2noise.web.limits import RefusedError, in_words
from noise2noise.web.names import safe_name

_MOST_FILES = 200_000
_PIECE = 2**20
_ZIP, _TAR, _TAR_AT = b"PK\x03\x04", b"ustar", 257
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    RuntimeError,  # a password, or a way of packing that isn't known
    UnicodeError,
    ValueError,
)


@dataclass(frozen=True)
class _Entry:
    """A plain file in an archive.

    Attributes:
        place: its path there.
        size: what the archive says of it, in bytes.
        open: gives its bytes.
    """

    place: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a file begins like a zip or a tar."""
    with path.open("rb") as file:
        head = file.read(_TAR_AT + len(_TAR))
    return head.startswith(_ZIP) or head[_TAR_AT:] == _TAR


def unpacked(path: Path, most: int) -> Path:
    """The folder of the OME-Zarr in an archive, which it lies beside; the archive is removed.

    Arguments:
        path: of the archive.
        most: bytes that it may hold.

    Raises:
        UserError: it is damaged, or holds none or several.
        RefusedError: it holds too much.
    """
    try:
        with _entries(path) as entries:
            root = _root(path, entries)
            folder = path.with_name(_name(path, root))
            _write(
                [each for each in entries if each.place.is_relative_to(root)], root, folder, most
            )
    except _DAMAGED as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path.name} is damaged or cut short; copy or save it again") from error
    path.unlink()
    return folder


@contextmanager
def _entries(path: Path) -> Iterator[list[_Entry]]:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _checked(path, _of_zip(archive))
    else:
        with tarfile.open(path, "r:") as archive:
            yield _checked(path, _of_tar(archive))


def _of_zip(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        if not info.is_dir():
            place = PurePosixPath(info.filename)
            yield _Entry(place, info.file_size, lambda info=info: archive.open(info))


def _of_tar(archive: tarfile.TarFile) -> Iterator[_Entry]:
    for info in archive:
        if info.isreg():

            def opened(info: tarfile.TarInfo = info) -> IO[bytes]:
                file = archive.extractfile(info)
                assert file is not None  # it is a plain file
                return file

            yield _Entry(PurePosixPath(info.name), info.size, opened)


def _checked(path: Path, entries: Iterator[_Entry]) -> list[_Entry]:
    kept: list[_Entry] = []
    for entry in entries:
        if len(kept) >= _MOST_FILES:
            raise UserError(
                f"{path.name} holds more than {_MOST_FILES} files; use: noise2noise denoise"
            )
        if entry.place.is_absolute() or not all(_is_plain(part) for part in entry.place.parts):
            raise UserError(f"{path.name} holds files whose names no folder can have; pack it anew")
        kept.append(entry)
    return kept


def _is_plain(part: str) -> bool:
    control = any(ord(mark) < 32 for mark in part)
    return part != ".." and len(part.encode()) < 256 and not control and not set(part) & set("\\:")


def _root(path: Path, entries: list[_Entry]) -> PurePosixPath:
    """Where the store is in the archive: the folder nearest to its top that says so."""
    found = {each.place.parent for each in entries if each.place.name in METADATA[:3]}
    if not found:
        raise UserError(f"{path.name} holds no OME-Zarr; unpack it, and drop the images in it")
    depth = min(len(place.parts) for place in found)
    first, *others = [place for place in found if len(place.parts) == depth]
    if others:
        raise UserError(f"{path.name} holds {len(others) + 1} images; drop them one by one")
    return first


def _name(path: Path, root: PurePosixPath) -> str:
    """That of the store, or of the archive where it is all of it."""
    name = safe_name(root.name) if root.name else path.stem
    return name if name.lower().endswith(".zarr") else f"{name}.zarr"


def _write(entries: list[_Entry], root: PurePosixPath, folder: Path, most: int) -> None:
    left = most
    if sum(each.size for each in entries) > most:
        raise _too_much(folder.name, most)
    try:
        for entry in entries:
            place = folder.joinpath(*entry.place.relative_to(root).parts)
            place.parent.mkdir(parents=True, exist_ok=True)
            with entry.open() as source, place.open("xb") as file:
                while piece := source.read(min(_PIECE, left + 1)):
                    left -= len(piece)
                    if left < 0:
                        raise _too_much(folder.name, most)
                    file.write(piece)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _too_much(name: str, most: int) -> RefusedError:
    return RefusedError(
        413,
        f"{name} holds more than {in_words(most)} when it is unpacked, and the page takes no more; "
        "use: noise2noise denoise",
        "file_large",
        name=name,
        size=f"> {in_words(most)}",
        most=in_words(most),
    )

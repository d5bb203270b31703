"""Several files as one zip, made while it is sent: nothing of it is kept."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

_PIECE = 2**20


class _Sink:
    """A file that can be written to, and hands out what was."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._place = 0

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        return

    def taken(self) -> bytes:
        """What was written since this was asked last."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def archived(paths: Iterable[Path]) -> Iterator[bytes]:
    """The bytes of a zip of these files and folders, uncompressed, as images are packed already.

    Files of one name are told apart by a number: `cell (2).tif`.
    """
    sink, taken = _Sink(), set[str]()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for path, name in _files(paths, taken):
            info = zipfile.ZipInfo.from_file(path, name)
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as entry:
                while piece := source.read(_PIECE):
                    entry.write(piece)
                    yield sink.taken()
    yield sink.taken()


def _files(paths: Iterable[Path], taken: set[str]) -> Iterator[tuple[Path, str]]:
    """Each file, and its name in the zip."""
    for path in paths:
        name = free_name(path.name, taken)
        if not path.is_dir():
            yield path, name
            continue
        for inside in sorted(path.rglob("*")):
            if inside.is_file():
                yield inside, f"{name}/{inside.relative_to(path).as_posix()}"


def free_name(name: str, taken: set[str]) -> str:
    """The name, with a number if it is taken; from now on it is."""
    path, number, free = PurePath(name), 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{path.stem} ({number}){path.suffix}"
    taken.add(free.casefold())
    return free

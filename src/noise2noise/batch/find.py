"""Files, folders and patterns that people name become a list of image files."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from noise2noise.errors import UserError
from noise2noise.files import ending, is_image_folder, suffixes

RESULT = "_denoised"
"""What is added to the name of a result that lies beside its original."""

_INNER = (".ome", ".fits", ".fit", ".fts")  # cells.ome.zarr, m31.fits.gz

LONGEST_LIST = 2**28
"""Bytes of a list of names that are read."""


@dataclass(frozen=True)
class Source:
    """An image file.

    Attributes:
        path: as it is to be opened.
        below: the folder it lies in, from the folder that was named on: what a result's folder
            mirrors.
    """

    path: Path
    below: Path = Path()


@dataclass
class Found:
    """What there is to do.

    Attributes:
        sources: each file once, in the order in which they were named, folders sorted by name.
        unsupported: how many files of each suffix were passed over, as no format has it.
        folders: subfolders that were passed over.
        loops: links to folders that were looked into already.
        results: results of earlier runs.
        batch: whether more than one file was named by hand.
    """

    sources: list[Source] = field(default_factory=list)
    unsupported: Counter[str] = field(default_factory=Counter)
    folders: list[Path] = field(default_factory=list)
    loops: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    batch: bool = False

    def passed_over(self) -> list[str]:
        """What was left out and why, in words."""
        words = []
        count = self.unsupported.total()
        if count:
            kinds = ", ".join(suffix or "no suffix" for suffix in sorted(self.unsupported)[:8])
            words.append(f"{_counted(count, 'file')} of no image format ({kinds})")
        if self.folders:
            words.append(f"{_counted(len(self.folders), 'subfolder')}; --recursive looks into them")
        if self.loops:
            words.append(f"{_counted(len(self.loops), 'link')} to folders that were looked into")
        if self.results:
            words.append(f"{_counted(len(self.results), 'result')} of earlier runs")
        return words


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def find(
    named: Iterable[str | Path],
    recursive: bool = False,
    output: Path | None = None,
    own: Container[Path] = (),
) -> Found:
    """Look for images.

    Arguments:
        named: files, which are taken whatever they are called; folders, of which the files are
            taken whose suffix a format has; patterns such as `scans/*.png` and `**/*.tif`, as
            shells know them.
        recursive: look into subfolders, too. A link to a folder counts as one, but no folder is
            looked into twice.
        output: a folder for results, which isn't looked into where it lies in another.
        own: results of earlier runs besides those whose names end in `_denoised`.

    Raises:
        UserError: a folder can't be listed or has no image, or nothing matches a pattern.
    """
    search = _Search(recursive, output, own)
    places = list(named)
    for place in places:
        search.add(place)
    found = search.found
    found.batch = len(places) > 1 or [str(each.path) for each in found.sources] != [
        str(Path(place)) for place in places
    ]
    return found


def read_list(file: BinaryIO) -> list[Path]:
    """The names in a list: a line each, or, where there is a zero byte, as `find -print0` has them.

    Raises:
        UserError: no name, or more than anyone has.
    """
    data = file.read(LONGEST_LIST + 1)
    if len(data) > LONGEST_LIST:
        raise UserError(f"the list of files is longer than {LONGEST_LIST} bytes; is it a list?")
    names = data.split(b"\0") if b"\0" in data else data.splitlines()
    paths = [Path(os.fsdecode(name)) for name in names if name.strip()]
    if not paths:
        raise UserError("the list of files is empty; give it a name a line")
    return paths


def plain_stem(path: Path) -> str:
    """The name without its suffix, of which `.ome` or `.fits` before the last is a part."""
    inner = Path(path.stem)
    return inner.stem if inner.suffix.lower() in _INNER else path.stem


class _Search:
    def __init__(self, recursive: bool, output: Path | None, own: Container[Path]) -> None:
        self.found = Found()
        self._recursive, self._own = recursive, own
        self._output = os.path.realpath(output) if output is not None else None
        self._taken: set[Path] = set()
        self._visited: set[tuple[int, int]] = set()

    def add(self, place: str | Path) -> None:
        path = Path(place)
        if path.is_dir() and not is_image_folder(path):
            self._add_folder(path)
        elif not os.path.lexists(path) and glob.has_magic(str(place)):
            self._add_matches(str(place))
        else:
            below = path.parent if isinstance(place, Path) and not path.is_absolute() else Path()
            self._take(path, Path() if ".." in below.parts else below)

    def _add_folder(self, folder: Path) -> None:
        before = len(self.found.sources) + len(self.found.results)
        for path, below in self._files(folder, Path()):
            self._consider(path, below)
        if len(self.found.sources) + len(self.found.results) == before:
            hint = "; --recursive looks into its subfolders" if self.found.folders else ""
            raise UserError(
                f"there is no image in {folder}{hint or '; it needs files that end in '}"
                f"{'' if hint else _suffixes_in_words()}"
            )

    def _files(self, folder: Path, below: Path) -> Iterator[tuple[Path, Path]]:
        """The files of a folder, then those of its subfolders."""
        try:
            status = folder.stat()
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise UserError(f"{folder} could not be listed: {error.strerror}") from error
        self._visited.add((status.st_dev, status.st_ino))
        folders = []
        for path in entries:
            if path.name.startswith("."):
                continue
            if path.is_dir() and not is_image_folder(path):
                folders.append(path)
            else:
                yield path, below
        for path in folders:
            if os.path.realpath(path) == self._output:
                continue
            if not self._recursive:
                self.found.folders.append(path)
            elif self._is_new(path):
                yield from self._files(path, below / path.name)
            else:
                self.found.loops.append(path)

    def _is_new(self, folder: Path) -> bool:
        try:
            status = folder.stat()
        except OSError:  # listing it says what is wrong
            return True
        return (status.st_dev, status.st_ino) not in self._visited

    def _add_matches(self, pattern: str) -> None:
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise UserError(f"there is no file that matches {pattern}; check the name")
        fixed = Path(*_before_magic(Path(pattern).parts))
        for match in matches:
            path = Path(match)
            if not path.is_dir() or is_image_folder(path):
                self._consider(path, path.parent.relative_to(fixed))
            elif "**" not in pattern:
                self.found.folders.append(path)

    def _consider(self, path: Path, below: Path) -> None:
        """Take a file that wasn't named itself, if it may be an image."""
        if ending(path) not in suffixes():
            self.found.unsupported[ending(path)] += 1
        elif plain_stem(path).endswith(RESULT) or path in self._own:
            self.found.results.append(path)
        else:
            self._take(path, below)

    def _take(self, path: Path, below: Path) -> None:
        if path not in self._taken:
            self._taken.add(path)
            self.found.sources.append(Source(path, below))


def _before_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _suffixes_in_words() -> str:
    *first, last = sorted(suffixes())
    return f"{', '.join(first)} or {last}"

"""What earlier runs did: a line for each result, in a hidden file beside the results.

So a second run over a folder skips what is done, does again what changed, and never replaces a
file that isn't its own. Lines are added one by one, each in a single write: nothing is lost when a
run is killed, and two runs may write at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = ".noise2noise.jsonl"
"""The file beside results."""

_LARGEST = 2**28


def key_of(source: Path, model: str, options: Mapping[str, Any]) -> str:
    """What a result follows from: other input, model or options have another key.

    Arguments:
        source: the image, told by its size and the time of its last change.
        model: a digest of the weights.
        options: whatever changes the result, as JSON has it.

    Raises:
        OSError: there is no such file.
    """
    told = [*_stamp(source), model, dict(options)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


class Ledger:
    """The results of earlier runs, in all folders that are asked for."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Any]] = {}

    def is_done(self, result: Path, key: str) -> bool:
        """Whether a result stands there that follows from what `key` was made of."""
        return self.is_own(result) and self._entries(result.parent)[result.name]["key"] == key

    def is_own(self, result: Path) -> bool:
        """Whether a result of an earlier run stands there as it was written."""
        entry = self._entries(result.parent).get(result.name)
        with contextlib.suppress(OSError):
            return entry is not None and entry["stamp"] == _stamp(result)
        return False

    def __contains__(self, path: object) -> bool:
        """Whether a file is the result of an earlier run that lies beside its original."""
        if not isinstance(path, Path):
            return False
        entry = self._entries(path.parent).get(path.name)
        return entry is not None and entry["beside"] and self.is_own(path)

    def add(self, result: Path, key: str, beside: bool) -> None:
        """Note a result that was just written. Where that can't be noted the next run will say that
        it is in the way: no reason to fail.

        Arguments:
            result: the file.
            key: what it follows from.
            beside: whether its original lies in the same folder.
        """
        with contextlib.suppress(OSError):
            entry = {"name": result.name, "key": key, "stamp": _stamp(result)}
            entry["beside"] = beside
            self._entries(result.parent)[result.name] = entry
            line = json.dumps(entry, ensure_ascii=True) + "\n"
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            file = os.open(result.parent / NAME, flags, 0o666)
            try:
                os.write(file, line.encode())
            finally:
                os.close(file)

    def _entries(self, folder: Path) -> dict[str, Any]:
        if folder not in self._folders:
            self._folders[folder] = _read(folder / NAME)
        return self._folders[folder]


def _read(path: Path) -> dict[str, Any]:
    """The last line of each result; lines that are damaged count for nothing."""
    entries: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST)
    except OSError:
        return entries
    for line in data.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            entry = json.loads(line)
            known = {part: entry[part] for part in ("key", "stamp", "beside")}
            entries[str(entry["name"])] = known
    return entries


def _stamp(path: Path) -> list[int]:
    """Size and time of the last change; of an image that is a folder, of all that is in it."""
    parts = [path, *path.rglob("*")] if path.is_dir() else [path]
    found = [part.stat() for part in parts]
    return [sum(each.st_size for each in found), max(each.st_mtime_ns for each in found)]

"""The training runs of a folder: what they have learned so far, stopping them, and going on.

A run is stopped as training itself offers it, by a file that asks for it (`fit/folder.py`), and
goes on as a process of its own, which outlives the page.
"""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noise2noise.device import AUTO
from noise2noise.fit.folder import LOG, RunFolder
from noise2noise.fit.lock import is_locked
from noise2noise.fit.pictures import Pictures
from noise2noise.web.limits import RefusedError

_MOST_RUNS = 500
_MOST_LOG = 4000  # bytes of the end of a log
_MOST_TEXT = 2**24  # bytes of a history or a configuration
_COLUMNS = ("epoch", "seconds", "learning_rate", "training_loss", "validation_psnr")


@dataclass(frozen=True)
class Runs:
    """The runs below a folder, or that folder itself if it is one.

    Attributes:
        folder: where they are.
        device: what computes those that are resumed.
    """

    folder: Path
    device: str = AUTO

    def names(self) -> list[str]:
        """What they are called: their folders, below `folder`."""
        if _is_run(self.folder):
            return ["."]
        found = sorted(path.parent for path in self.folder.glob("*/config.json"))
        found += sorted(path.parent for path in self.folder.glob("*/*/config.json"))
        kept = [path for path in found if _is_run(path)][:_MOST_RUNS]
        return [path.relative_to(self.folder).as_posix() for path in kept]

    def place(self, name: str) -> Path:
        """Where a run is.

        Raises:
            RefusedError: there is none of that name.
        """
        if name not in self.names():
            raise RefusedError(404, "there is no such run")
        return self.folder / name

    def as_json(self) -> list[dict[str, Any]]:
        """All of them in short."""
        return [self._short(name) for name in self.names()]

    def one(self, name: str) -> dict[str, Any]:
        """One of them with its history and pictures."""
        files = RunFolder(self.place(name))
        return {
            **self._short(name),
            "config": _config(files),
            "history": _history(files),
            "pictures": Pictures(files.pictures).as_json(),
            "log": _end_of(files.path / LOG),
        }

    def picture(self, name: str, file: str) -> Path:
        """A validation picture.

        Raises:
            RefusedError: there is none of that name.
        """
        path = Pictures(RunFolder(self.place(name)).pictures).find(file)
        if path is None:
            raise RefusedError(404, "there is no such picture")
        return path

    def stop(self, name: str) -> None:
        """Ask a run to stop and save.

        Raises:
            RefusedError: nobody trains there.
        """
        files = RunFolder(self.place(name))
        if not is_locked(files.path):
            raise RefusedError(409, f"nobody trains in {name}")
        files.ask_to_stop()

    def resume(self, name: str) -> None:
        """Go on with a run, in a process of its own that writes its messages to a log.

        Raises:
            RefusedError: somebody trains there, or there is nothing to go on from.
        """
        files = RunFolder(self.place(name))
        if is_locked(files.path):
            raise RefusedError(409, f"somebody trains in {name} already")
        if not files.last.is_file():
            raise RefusedError(409, f"{name} holds no last.safetensors to go on from")
        command = [sys.executable, "-m", "noise2noise", "train", "--resume"]
        command += ["--device", self.device]
        with (files.path / LOG).open("wb") as log:
            subprocess.Popen(
                [*command, "--out", str(files.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _short(self, name: str) -> dict[str, Any]:
        files = RunFolder(self.folder / name)
        history, config = _history(files), _config(files)
        values = [row["validation_psnr"] for row in history if row["validation_psnr"] is not None]
        return {
            "name": name,
            "running": is_locked(files.path),
            "epochs": config.get("epochs"),
            "done": len(history),
            "best": max(values, default=None),
            "title": config.get("title") or config.get("corruption") or "",
            "architecture": config.get("architecture", ""),
            "model": files.best.is_file(),
        }


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file() and not folder.name.startswith(".")


def _config(files: RunFolder) -> dict[str, Any]:
    """What was asked for; empty where the file is damaged."""
    try:
        config = json.loads(_text(files.config))
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _history(files: RunFolder) -> list[dict[str, float | None]]:
    """A line for each epoch; what is no number is None."""
    try:
        rows: Iterable[dict[str, str | None]] = csv.DictReader(_text(files.history).splitlines())
        return [{name: _number(row.get(name)) for name in _COLUMNS} for row in rows]
    except (OSError, ValueError, csv.Error):
        return []


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_TEXT).decode("utf-8", "replace")


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MOST_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""

"""What the knocks share: commands in processes that are forked, so that nothing is loaded anew."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from noise2noise.batch import ledger
from noise2noise.cli import main

# What the commands work with is loaded once, for every process that is forked.
for name in ("cli.denoising", "cli.training", "evaluation", "export", "studies.report"):
    importlib.import_module(f"noise2noise.{name}")

Knock = Callable[[Path, int, bool, float], Iterator[str]]
"""Maps a folder of its own, a seed, whether it is to be short and how many times as much is asked
for to lines of figures."""

PATIENCE = 300
"""Seconds that a command has to end."""


class Finding(Exception):  # noqa: N818 (what is looked for)
    """Something isn't as it should be."""


def check(holds: bool, finding: str) -> None:
    """Raises: Finding: it doesn't hold."""
    if not holds:
        raise Finding(finding)


@dataclass
class Command:
    """A command in a process of its own.

    Attributes:
        pid: of the process.
        folder: in which it runs.
        output: the file that standard output and error go to.
    """

    pid: int
    folder: Path
    output: Path

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Its exit status, or the negative number of the signal that ended it."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        self.send(signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise Finding(f"{self.said()!r}: no end after {PATIENCE} s")

    def said(self) -> str:
        return self.output.read_text(errors="replace")


def start(folder: Path, *arguments: object, limits: Callable[[], None] | None = None) -> Command:
    """Start a command in `folder`, after `limits` were set for it."""
    output = folder.parent / f"{folder.name}.output"
    output.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return Command(pid, folder, output)
    status = 70
    try:
        os.setsid()
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream)
        if limits is not None:
            limits()
        sys.argv = ["noise2noise", *map(str, arguments)]
        main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def done(folder: Path, *arguments: object) -> str:
    """Run a command to its end, which must be a good one."""
    command = start(folder, *arguments)
    status = command.wait()
    check(status == 0, f"{' '.join(map(str, arguments))} ended with {status}: {command.said()}")
    return command.said()


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, by the names in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hidden(folder: Path) -> list[str]:
    """Files that nobody is to see, such as those that are half written; not what is kept on
    purpose: the list of what was denoised, and the lock of a run's folder."""
    kept = (ledger.NAME, ".lock")
    return [path.name for path in folder.rglob(".*") if path.is_file() and path.name not in kept]

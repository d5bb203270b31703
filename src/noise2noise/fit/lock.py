"""One process at a time writes a run's folder.

The system holds the lock, not the file: a process that dies, however it dies, leaves none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from noise2noise.errors import UserError

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


NAME = ".lock"


@contextmanager
def locked(folder: Path, doing: str = "training") -> Iterator[None]:
    """Keep everybody else from writing a run in `folder`, which exists.

    Arguments:
        folder: of the run.
        doing: what others are told that is going on there.

    Raises:
        UserError: another process, or another run of this one, writes there.
        OSError: the folder can't be written to.
    """
    path = folder / NAME
    handle = _taken(path, doing)
    try:
        yield
    finally:
        # Removed while it is held: who has opened it meanwhile sees that it is no longer there.
        with suppress(OSError):
            path.unlink()
        os.close(handle)
        with suppress(OSError):
            if sys.platform == "win32":  # where a file that is open can't be removed
                path.unlink()


def refuse_locked(folder: Path) -> None:
    """Say that somebody writes there before work is put into what can't be kept.

    Raises:
        UserError: so it is.
    """
    if (folder / NAME).exists():
        with suppress(OSError), locked(folder):
            pass


def is_locked(folder: Path) -> bool:
    """Whether a process writes a run in `folder`. Nothing is made there to find out."""
    try:
        handle = os.open(folder / NAME, os.O_RDWR)
    except OSError:
        return False
    try:
        _take(handle)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _taken(path: Path, doing: str) -> int:
    """The open file, locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(handle)
        except OSError as error:
            os.close(handle)
            raise UserError(
                f"another process is {doing} in {path.parent}; wait for it, or choose another "
                "folder"
            ) from error
        if _is_still(path, handle):
            return handle
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    """Whether the locked file is the one at `path`, and not one that was just removed."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False

"""Libraries written in C that write what they think of a file to standard error themselves."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator

_ALONE = threading.RLock()
_STANDARD_ERROR = 2


@contextlib.contextmanager
def unheard(*endings: str) -> Iterator[None]:
    """Lines that begin with a file's name and go on with one of these aren't shown.

    Standard error belongs to the whole process: what others write meanwhile is shown afterwards.
    """
    with _ALONE:
        try:
            shown = os.dup(_STANDARD_ERROR)
        except OSError:  # closed: nothing is shown
            yield
            return
        with os.fdopen(shown, "wb", buffering=0) as real, tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), _STANDARD_ERROR)
            try:
                yield
            finally:
                os.dup2(real.fileno(), _STANDARD_ERROR)
                held.seek(0)
                marks = [f": {ending}".encode() for ending in endings]
                kept = [line for line in held if not any(mark in line for mark in marks)]
                with contextlib.suppress(OSError):  # nobody reads it
                    real.write(b"".join(kept))

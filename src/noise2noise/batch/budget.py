"""A memory that several files in flight share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class SharedMemory:
    """So many bytes, of which each file takes what it needs, and waits until there is enough.

    Arguments:
        size: bytes; None for as many as anyone wants.
    """

    def __init__(self, size: int | None) -> None:
        self._size, self._taken = size, 0
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        """Hold so many bytes. Who is alone is never kept waiting, however much it needs."""
        with self._changed:
            self._changed.wait_for(lambda: self._fits(size))
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()

    def _fits(self, size: int) -> bool:
        return self._size is None or self._taken == 0 or self._taken + size <= self._size

"""What the pictures of all pages share: models, turns, tiles that are kept, and open files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from noise2noise.files import Held, Stack, open_stack
from noise2noise.single import Fitted
from noise2noise.web.computing import Cache, Models, Turns
from noise2noise.web.limits import Limits


class Closing(Protocol):
    """What has a file open."""

    def let_go(self) -> bool:
        """Close the file until it is needed again, unless somebody reads it just now. Returns
        whether it is closed."""
        ...


class Desk:
    """The files that are open, of all pages: the last used ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: list[Closing] = []
        self._lock = threading.Lock()

    def used(self, picture: Closing) -> None:
        """Put a picture on top, and let go of those at the bottom that nobody reads just now."""
        with self._lock:
            self._open = [*(each for each in self._open if each is not picture), picture]
            for each in self._open[: -self._most]:
                if each.let_go():
                    self._open.remove(each)

    def removed(self, picture: Closing) -> None:
        """Forget a picture."""
        with self._lock:
            self._open = [each for each in self._open if each is not picture]


@dataclass(frozen=True)
class Room:
    """What pictures share.

    Attributes:
        limits: that they keep to.
        models: that there are.
        turns: of those who compute.
        cache: of tiles.
        desk: of open files.
        fits: of models to pictures.
    """

    limits: Limits
    models: Models
    turns: Turns
    cache: Cache
    desk: Desk
    fits: Fits = field(default_factory=lambda: Fits())

    @classmethod
    def of(cls, limits: Limits, models: Models) -> Room:
        """An empty one."""
        return cls(limits, models, Turns(), Cache(limits.cached_bytes), Desk(limits.open_files))


class Fits:
    """Models that were fitted to pictures: the last used ones."""

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Fitted] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Fitted | None:
        """What is kept under a key."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, fitted: Fitted) -> None:
        """Keep one, and let go of that which wasn't used for longest."""
        with self._lock:
            self._kept[key] = fitted
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


class SharedStack(Stack):
    """An open file that several threads read, one at a time: while one computes, others read."""

    def __init__(self, path: Path) -> None:
        self._stack, self._lock = open_stack(path), threading.Lock()
        super().__init__(self._stack.header, self._stack.name)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        with self._lock:
            # What is read may lie in memory that the next reader's pixels are put into.
            return self._stack.read(plane, rows, columns).copy()

    @property
    def held(self) -> Held:
        return self._stack.held

    def close(self) -> None:
        self._stack.close()

"""Models that are loaded, and whose turn it is to compute.

Networks take all cores, so one computes at a time. What somebody is looking at comes before what is
being saved, and that before what somebody may look at next.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noise2noise.denoiser import Denoiser
from noise2noise.device import AUTO
from noise2noise.errors import UserError
from noise2noise.shipped import shipped_models
from noise2noise.web.ways import Gone


class Turns:
    """A lock with three doors, `first`, `after` and `last`: nobody goes in by one of them while
    somebody waits at one before it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy, self._waiting = False, [0, 0, 0]
        self.first, self.after, self.last = (Door(self, rank) for rank in range(3))

    def take(self, rank: int) -> None:
        """Wait for a turn at the door of this rank, from 0."""
        with self._changed:
            self._waiting[rank] += 1
            try:
                self._changed.wait_for(lambda: not (self._busy or any(self._waiting[:rank])))
            finally:
                self._waiting[rank] -= 1
            self._busy = True

    def give(self) -> None:
        """End a turn."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def let_by(self, rank: int) -> None:
        """In the middle of a long turn: let those have theirs who wait at doors before this one."""
        if any(self._waiting[:rank]):
            self.give()
            self.take(rank)


@dataclass(frozen=True)
class Door:
    """A context manager: a turn is taken when it is entered, and given back at the end.

    Attributes:
        turns: whose door it is.
        rank: those of lower ranks come first.
        gone: whether nobody waits for the result any more.
    """

    turns: Turns
    rank: int
    gone: Callable[[], bool] = lambda: False

    def unless(self, gone: Callable[[], bool]) -> Door:
        """The same door, for who gives up."""
        return replace(self, gone=gone)

    def let_by(self) -> None:
        """As `Turns.let_by`."""
        self.turns.let_by(self.rank)

    def __enter__(self) -> None:
        """Wait for a turn.

        Raises:
            Gone: nobody waits any more.
        """
        self.turns.take(self.rank)
        if self.gone():
            self.turns.give()
            raise Gone

    def __exit__(self, *_: object) -> None:
        self.turns.give()


class Cache:
    """Arrays that are kept, the last used of them, up to so many bytes."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._kept: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> np.ndarray | None:
        """What is kept under a key."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def has(self, key: Hashable) -> bool:
        """Whether something is kept under a key; asking isn't using."""
        return key in self._kept

    def put(self, key: Hashable, value: np.ndarray) -> None:
        """Keep an array, and let go of those that were not used for longest."""
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = value
            self._size += value.nbytes
            while self._size > self._most and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._size -= gone.nbytes


class Models:
    """The models that a page may choose from: the shipped ones, and those that were named when the
    server was started.

    Arguments:
        named: model files or folders of runs.
        runs: a folder of runs, of which each that has a model is offered.
        device: what computes them.
    """

    def __init__(
        self, named: tuple[str, ...] = (), runs: Path | None = None, device: str = AUTO
    ) -> None:
        self._named, self._runs, self._device = named, runs, device
        self._loaded: dict[tuple[str, int], Denoiser] = {}
        self._lock = threading.Lock()

    def load(self, name: str) -> Denoiser:
        """A model that is offered. A run's is read again when it has become better.

        Raises:
            UserError: it isn't offered, or its file is damaged.
        """
        path = self._places().get(name)
        if path is None and name not in shipped_models():
            raise UserError(f"the model {name!r} isn't offered here; choose another")
        best = None if path is None else path / "best.safetensors"
        version = best.stat().st_mtime_ns if best is not None and best.is_file() else 0
        with self._lock:
            found = self._loaded.get((name, version))
            if found is None:
                found = Denoiser.load(name if path is None else path, self._device)
                self._loaded = {key: each for key, each in self._loaded.items() if key[0] != name}
                self._loaded[name, version] = found
            return found

    def as_json(self) -> list[dict[str, Any]]:
        """What is offered, for the page; a model that can't be read is left out."""
        told = []
        for name in [*shipped_models(), *self._places()]:
            with suppress(UserError):
                model = self.load(name)
                told.append({"name": name, "title": model.info.title, "told": model.told})
        return told

    def _places(self) -> dict[str, Path]:
        """Names of models that aren't shipped, and their places."""
        places = [Path(each) for each in self._named]
        if self._runs is not None:
            places += sorted(best.parent for best in self._runs.glob("*/best.safetensors"))
        shipped = shipped_models()
        return {
            (place.name if place.name not in shipped else f"./{place.name}"): place
            for place in places
        }

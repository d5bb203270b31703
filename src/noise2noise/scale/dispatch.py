"""Pieces handed out to workers, a few at a time, tried again elsewhere, and reported.

A worker whose disk is full fails fast, and would draw all pieces: one that failed at a few in a row
gets none any more, as long as there is another.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from noise2noise.batch import StoppedError
from noise2noise.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

ATTEMPTS = 3
"""How often a piece is tried."""

_AHEAD = 2  # pieces for each thread of a worker: one under way, one that waits
_IN_A_ROW = 3
_LOOK = 0.2  # seconds between two looks at whether to stop


@dataclass(frozen=True)
class Failure:
    """A piece that could not be done: its number, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class Tried:
    """What came of a piece: who tried it, its value, and what went wrong or ""."""

    worker: str
    value: Any
    error: str = ""


@dataclass(frozen=True)
class _Piece:
    number: int
    failed_at: tuple[str, ...] = ()


def attempt(do: Callable[[int], Any], number: int) -> Tried:
    """Do a piece in a worker. What goes wrong is told, with who it went wrong for."""
    from distributed import get_worker

    worker = get_worker().address
    try:
        return Tried(worker, do(number))
    except UserError as error:
        return Tried(worker, None, str(error))
    except Exception as error:
        return Tried(worker, None, f"{type(error).__name__}: {' '.join(str(error).split())}")


def spread(
    client: Client,
    do: Callable[[int], Any],
    numbers: Iterable[int],
    stop: threading.Event,
    done: Callable[[int, Any], None],
) -> list[Failure]:
    """Have workers do pieces, and tell `done` of each number and value as they come.

    Arguments:
        client: of the workers.
        do: called with a number in a worker, to which it must be possible to send it.
        numbers: of the pieces.
        stop: set to stop; pieces under way end, and are not waited for.
        done: called here.

    Raises:
        StoppedError: `stop` was set.
        UserError: the scheduler is gone.
    """
    work = _Spread(client, do, deque(_Piece(number) for number in numbers))
    try:
        while work.goes_on():
            if stop.is_set():
                raise StoppedError
            for number, value in work.ended():
                done(number, value)
    finally:
        work.drop()
    return work.failures


class _Spread:
    def __init__(self, client: Client, do: Callable[[int], Any], waiting: deque[_Piece]) -> None:
        self._client, self._do, self._waiting = client, do, waiting
        self._running: dict[Future[Tried], _Piece] = {}
        self._in_a_row: Counter[str] = Counter()
        self.failures: list[Failure] = []

    def goes_on(self) -> bool:
        """Whether anything is left to be done; what can be is handed out."""
        if self._waiting:
            self._hand_out()
        return bool(self._waiting or self._running)

    def _hand_out(self) -> None:
        threads = self._threads()
        good = {each for each in threads if self._in_a_row[each] < _IN_A_ROW} or {*threads}
        room = _AHEAD * max(sum(threads[each] for each in good), 1) - len(self._running)
        for _ in range(min(room, len(self._waiting))):
            piece = self._waiting.popleft()
            chosen = (good - {*piece.failed_at}) or good
            # Whoever is free may have it, but for those that it went wrong with.
            among = None if chosen == {*threads} else sorted(chosen)
            future = self._client.submit(attempt, self._do, piece.number, pure=False, workers=among)
            self._running[future] = piece

    def _threads(self) -> dict[str, int]:
        """The workers, and how many pieces each has under way at a time."""
        self._check()
        try:
            found: Any = self._client.nthreads()
            return dict(found)
        except Exception as error:
            raise self._gone() from error

    def ended(self) -> list[tuple[int, Any]]:
        """Wait a moment; numbers and values of what was done meanwhile."""
        from distributed import TimeoutError, wait

        try:
            with self._client.as_current():
                wait([*self._running], _LOOK, "FIRST_COMPLETED")
        except TimeoutError:
            pass
        except Exception as error:
            raise self._gone() from error
        self._check()
        ended = [future for future in self._running if future.done()]
        return [pair for future in ended for pair in self._take(future)]

    def _take(self, future: Future[Tried]) -> list[tuple[int, Any]]:
        piece = self._running.pop(future)
        tried = self._result(future)
        if not tried.error:
            self._in_a_row[tried.worker] = 0
            return [(piece.number, tried.value)]
        self._in_a_row[tried.worker] += 1
        failed_at = (*piece.failed_at, tried.worker)
        if len(failed_at) < ATTEMPTS:
            self._waiting.appendleft(_Piece(piece.number, failed_at))
        else:
            self.failures.append(Failure(piece.number, tried.error))
        return []

    def _result(self, future: Future[Tried]) -> Tried:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            worker = getattr(error.last_worker, "address", "")
            return Tried(worker, None, "the workers that had it died, of too little memory perhaps")
        except Exception as error:  # such as a worker that lacks the package
            self._check()
            return Tried("", None, f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _check(self) -> None:
        if self._client.status != "running":
            raise self._gone()

    def _gone(self) -> UserError:
        place = self._client.scheduler.address if self._client.scheduler else "its address"
        return UserError(
            f"the scheduler at {place} is gone; what was done is kept: start it again, and run the "
            "same command to go on"
        )

    def drop(self) -> None:
        """Nobody waits for what is under way any more."""
        if self._running and self._client.status == "running":
            with suppress(Exception):
                self._client.cancel([*self._running], force=True)
        self._running.clear()

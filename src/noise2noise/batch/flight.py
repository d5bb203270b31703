"""Several files at once: while one is computed, others are read and written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from contextlib import suppress
from itertools import islice
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_LOOK = 0.2  # seconds between two looks at whether to stop


class StoppedError(Exception):
    """The work was stopped from outside."""


def in_flight(
    jobs: Iterable[Job],
    work: Callable[[Job], Result],
    workers: int,
    stop: threading.Event,
) -> Generator[Result, None, None]:
    """Results of `work` as they come, of so many jobs at a time.

    No job begins after `stop` was set or the caller went away, and those in flight are waited for:
    whatever they write is whole or gone. `work` should look at `stop` from time to time.

    Raises:
        StoppedError: `stop` was set before all was done.
        Exception: what `work` raised, when those in flight have ended.
    """
    waiting, running = iter(jobs), set[Future[Any]]()
    with ThreadPoolExecutor(workers, "denoise") as pool:
        try:
            while not stop.is_set():
                free = workers - len(running)
                running |= {pool.submit(work, job) for job in islice(waiting, free)}
                if not running:
                    return
                ended, running = wait(running, _LOOK, FIRST_COMPLETED)
                for each in ended:
                    yield each.result()
            for each in as_completed(running):
                with suppress(StoppedError):
                    yield each.result()
        except BaseException:
            stop.set()
            raise
    raise StoppedError

"""Processes that draw batches: several cores' worth of noise for a device that would wait for one.

Threads take turns at Python, so beyond two they draw no more. These processes are forked: they have
the images without copying them, and leave batches in memory that is shared.
"""

from __future__ import annotations

import collections
import mmap
import multiprocessing
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import numpy as np

from noise2noise.errors import UserError

Pair = tuple[np.ndarray, np.ndarray]
Make = Callable[[int, int], Pair]
"""The inputs and targets, float32, of a batch, by its epoch and its place in it."""

POSSIBLE = sys.platform == "linux"
"""Elsewhere processes that have computed with a GPU or have threads aren't to be forked."""

_AHEAD = 2  # batches that each process has in hand, besides the one that is looked at


class Drawers:
    """Processes that make batches; a context, at whose end they end.

    Arguments:
        make: what they call. It and all that it refers to is as it was when the context began.
        values: float32 values in a batch at most, of both sides together.
        processes: how many, at least 1.
    """

    def __init__(self, make: Make, values: int, processes: int) -> None:
        self._make, self._bytes, self._count = make, 4 * values, processes
        self._memory: list[mmap.mmap] = []
        self._ends: list[Connection] = []
        self._processes: list[Any] = []
        self._awaited: collections.deque[int] = collections.deque()

    def __enter__(self) -> Drawers:
        context: Any = multiprocessing.get_context("fork")
        for _ in range(self._count):
            memory = mmap.mmap(-1, max(self._bytes, 1) * (_AHEAD + 1))
            end, far = context.Pipe()
            arguments = (far, [*self._ends, end], memory, self._bytes, self._make)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            with warnings.catch_warnings():
                # Of locks that other threads may hold. What runs there is numpy, and takes none.
                warnings.simplefilter("ignore", DeprecationWarning)
                process.start()
            far.close()  # so that its end is noticed
            self._memory.append(memory)
            self._ends.append(end)
            self._processes.append(process)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end, process in zip(self._ends, self._processes, strict=True):
            end.close()
            process.terminate()
        for process in self._processes:
            process.join()

    def batches(self, epoch: int, steps: Iterable[int]) -> Generator[Pair, None, None]:
        """`make` of each step of an epoch, in order. Each is overwritten when as many more were
        asked for as there are processes.

        Raises:
            UserError: a process is lost.
        """
        while self._awaited:  # of an epoch that was broken off
            self._heard()
        steps, asked = [*steps], 0
        for place in range(len(steps)):
            while asked < min(len(steps), place + self._count * _AHEAD + 1):
                slot = asked // self._count % (_AHEAD + 1)
                self._say(asked % self._count, (epoch, steps[asked], slot))
                asked += 1
            answer, process = self._heard()
            if isinstance(answer, Exception):
                raise answer
            slot, *shapes = answer
            yield _views(self._memory[process], slot * self._bytes, shapes)

    def _say(self, process: int, task: tuple[int, int, int]) -> None:
        try:
            self._ends[process].send(task)
        except OSError:
            raise self._lost(process) from None
        self._awaited.append(process)

    def _heard(self) -> tuple[Any, int]:
        """The next answer, and whose it is."""
        process = self._awaited.popleft()
        try:
            return self._ends[process].recv(), process
        except (EOFError, OSError):
            raise self._lost(process) from None

    def _lost(self, process: int) -> UserError:
        self._processes[process].join(1)
        code = self._processes[process].exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return UserError(
            f"a process that draws batches ended {how}, as it does where memory runs out; go on "
            "with --resume and fewer --workers"
        )


def _views(memory: mmap.mmap, start: int, shapes: Iterable[tuple[int, ...]]) -> Any:
    """Arrays that lie one behind the other."""
    views = []
    for shape in shapes:
        count = int(np.prod(shape))
        views.append(np.frombuffer(memory, np.float32, count, start).reshape(shape))
        start += 4 * count
    return tuple(views)


def _serve(
    end: Connection, others: list[Connection], memory: mmap.mmap, size: int, make: Make
) -> None:
    """Make what is asked for until nobody is left to ask."""
    for each in others:  # of the process that asks, which are open here, too
        each.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks hears it, and ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while True:
        try:
            epoch, step, slot = end.recv()
            end.send(_made(make, epoch, step, slot, memory, size))
        except (EOFError, OSError):
            os._exit(0)  # nothing of the other process is to be cleared up here


def _made(make: Make, epoch: int, step: int, slot: int, memory: mmap.mmap, size: int) -> Any:
    """The shapes of what lies in the memory now, or an error."""
    try:
        made = make(epoch, step)
        shapes = [values.shape for values in made]
        for view, values in zip(_views(memory, slot * size, shapes), made, strict=True):
            view[...] = values
        return (slot, *shapes)
    except Exception as error:  # is raised where it was asked for
        return error if _can_be_sent(error) else RuntimeError(f"{type(error).__name__}: {error}")


def _can_be_sent(error: Exception) -> bool:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True

"""One epoch of a source as mini-batches, every one of which follows from the numbers given.

Batches are made with numpy alone. PyTorch's threads go on watching for work for milliseconds after
each of its operations on large tensors, on processors that the kernels' threads could use.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from noise2noise.data import streams
from noise2noise.data.drawing import POSSIBLE, Drawers
from noise2noise.data.source import PairSource
from noise2noise.data.words import at_least

THREADS = 2
"""That prepare batches, where nobody says how many."""

DRAWN_TOGETHER = 4
"""Crops that have their randomness in common: a batch is shared out in pieces of so many."""


def steps_per_epoch(source: PairSource, batch_size: int) -> int:
    """How many mini-batches `batches` makes of one epoch; the last may be smaller."""
    return -(-len(source) // batch_size)


@dataclass(frozen=True)
class Plan:
    """The mini-batches of a source; called with an epoch and a place in it, it draws one.

    The order of an epoch follows from `(seed, epoch)`, each `DRAWN_TOGETHER` crops of a batch from
    `(seed, epoch, the batch's place in the order, theirs in the batch)`. So neither who draws nor
    where one starts changes a bit.

    Attributes:
        source: where the pairs come from.
        batch_size: pairs in a batch, at least 1; the last batch holds what is left.
        seed: what the randomness follows from, 0 or more.
        share: (k, n) makes the k-th of n shares of each batch, which may be empty; those of several
            processes, one after another, are the batch.

    Raises:
        ValueError: a number is out of range.
    """

    source: PairSource
    batch_size: int
    seed: int
    share: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        at_least(1, "batch_size", self.batch_size)
        k, n = self.share
        if not 0 <= k < n:
            raise ValueError(f"share must be one of n, (0, n) to (n - 1, n); got {self.share}")

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return steps_per_epoch(self.source, self.batch_size)

    @property
    def values(self) -> int:
        """Numbers in a batch, of both sides together, at most."""
        sides = 3 if self.source.is_telling else 2
        return self.batch_size * sides * self.source.channels * self.source.crop**2

    def __call__(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The batch at a place of an epoch."""
        chosen = self._order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        pieces, (k, n) = range(0, len(chosen), DRAWN_TOGETHER), self.share
        drawn = [
            self.source.batch(
                chosen[place : place + DRAWN_TOGETHER],
                np.random.default_rng((streams.BATCH, self.seed, epoch, step, place)),
            )
            for place in pieces[len(pieces) * k // n : len(pieces) * (k + 1) // n]
        ]
        if not drawn:
            drawn = [self.source.batch(chosen[:0], np.random.default_rng(0))]
        inputs, targets = (np.concatenate(side) for side in zip(*drawn, strict=True))
        return inputs, targets

    @functools.cached_property
    def _order(self) -> Callable[[int], np.ndarray]:
        def order(epoch: int) -> np.ndarray:
            rng = np.random.default_rng((streams.ORDER, self.seed, epoch))
            return rng.permutation(len(self.source))

        return functools.lru_cache(maxsize=2)(order)


def batches(
    source: PairSource,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    workers: int = THREADS,
    share: tuple[int, int] = (0, 1),
    drawers: Drawers | None = None,
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """One epoch in random order: (inputs, targets), float32 `(N, C, crop, crop)` each.

    `batches(..., start=k)` equals `batches(...)` without its first k, whatever the number of
    workers. Where noise has to be drawn, threads prepare a few batches ahead; they end when the
    iterator is used up or closed, and their errors are raised here.

    Arguments:
        source, batch_size, seed, share: as `Plan`.
        epoch: from 0.
        start: how many batches to skip.
        workers: threads that prepare batches, at least 1.
        drawers: processes that prepare those of the same plan in the place of threads. What they
            made is overwritten when as many more were asked for as there are processes.

    Raises:
        ValueError: a number is out of range.
    """
    plan = Plan(source, batch_size, seed, share)
    at_least(1, "workers", workers)
    if not 0 <= start <= plan.steps:
        raise ValueError(
            f"start must be from 0 to {plan.steps}, the batches of an epoch; got {start}"
        )
    steps = range(start, plan.steps)
    if drawers is not None:
        drawn = drawers.batches(epoch, steps)
    elif source.takes_time:
        drawn = _prefetched(functools.partial(plan, epoch), steps, workers)
    else:
        drawn = (plan(epoch, step) for step in steps)
    return _tensors(drawn)


def _tensors(
    drawn: Generator[tuple[np.ndarray, np.ndarray], None, None],
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    with closing(drawn):
        for inputs, targets in drawn:
            yield torch.from_numpy(inputs), torch.from_numpy(targets)


@contextmanager
def drawing(plan: Plan, processes: int) -> Iterator[Drawers | None]:
    """Processes that draw the batches of a plan, where that takes time and they are to be had."""
    if processes < 2 or not (POSSIBLE and plan.source.takes_time):
        yield None
        return
    with Drawers(plan, plan.values, processes) as drawers:
        yield drawers


Item = TypeVar("Item")


def _prefetched(
    make: Callable[[int], Item], arguments: Iterable[int], workers: int
) -> Generator[Item, None, None]:
    """`make` of each argument, in order, made by threads that stay two items each ahead."""
    ahead: collections.deque[Future[Item]] = collections.deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pairs")
    try:
        for argument in arguments:
            ahead.append(pool.submit(make, argument))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

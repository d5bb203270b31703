"""One epoch of a source as mini-batches, every one of which follows from the numbers given.

Batches are made with numpy alone. PyTorch's threads go on watching for work for milliseconds after
each of its operations on large tensors, on processors that the kernels' threads could use.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from noise2noise.data import streams
from noise2noise.data.source import PairSource
from noise2noise.data.words import at_least

DRAWN_TOGETHER = 4
"""Crops that have their randomness in common: a batch is shared out in pieces of so many."""


def steps_per_epoch(source: PairSource, batch_size: int) -> int:
    """How many mini-batches `batches` makes of one epoch; the last may be smaller."""
    return -(-len(source) // batch_size)


def batches(
    source: PairSource,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    workers: int = 2,
    share: tuple[int, int] = (0, 1),
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """One epoch in random order: (inputs, targets), float32 `(N, C, crop, crop)` each.

    The order follows from `(seed, epoch)`, each `DRAWN_TOGETHER` crops of a batch from
    `(seed, epoch, the batch's place in the order, theirs in the batch)`. So neither the number of
    workers nor where one starts changes a bit: `batches(..., start=k)` equals `batches(...)`
    without its first k, and the shares of several processes, one after another, are the batch.
    Where noise has to be drawn, threads prepare a few batches ahead; they end when the iterator is
    used up or closed, and their errors are raised here.

    Arguments:
        source: where the pairs come from.
        batch_size: pairs in a batch, at least 1; the last batch holds what is left.
        seed, epoch: what the randomness follows from, 0 or more.
        start: how many batches to skip.
        workers: threads that prepare batches, at least 1.
        share: (k, n) makes the k-th of n shares of each batch, which may be empty.

    Raises:
        ValueError: a number is out of range.
    """
    steps = steps_per_epoch(source, at_least(1, "batch_size", batch_size))
    at_least(1, "workers", workers)
    k, n = share
    if not 0 <= k < n:
        raise ValueError(f"share must be one of n, (0, n) to (n - 1, n); got {share}")
    if not 0 <= start <= steps:
        raise ValueError(f"start must be from 0 to {steps}, the batches of an epoch; got {start}")
    order = np.random.default_rng((streams.ORDER, seed, epoch)).permutation(len(source))

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = order[step * batch_size : (step + 1) * batch_size]
        pieces = range(0, len(chosen), DRAWN_TOGETHER)
        drawn = [
            source.batch(
                chosen[place : place + DRAWN_TOGETHER],
                np.random.default_rng((streams.BATCH, seed, epoch, step, place)),
            )
            for place in pieces[len(pieces) * k // n : len(pieces) * (k + 1) // n]
        ]
        if not drawn:
            drawn = [source.batch(chosen[:0], np.random.default_rng(0))]
        inputs, targets = (np.concatenate(side) for side in zip(*drawn, strict=True))
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    if source.takes_time:
        return _prefetched(batch, range(start, steps), workers)
    return (batch(step) for step in range(start, steps))


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

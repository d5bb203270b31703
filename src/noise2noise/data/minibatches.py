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


def steps_per_epoch(source: PairSource, batch_size: int) -> int:
    """How many mini-batches `batches` makes of one epoch; the last may be smaller."""
    return -(-len(source) // batch_size)


def batches(
    source: PairSource, batch_size: int, seed: int, epoch: int, start: int = 0, workers: int = 2
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """One epoch in random order: (inputs, targets), float32 `(N, C, crop, crop)` each.

    The order follows from `(seed, epoch)`, each batch from `(seed, epoch, its place in the order)`.
    So neither the number of workers nor where one starts changes a bit:
    `batches(..., start=k)` equals `batches(...)` without its first k. Where noise has to be drawn,
    threads prepare a few batches ahead; they end when the iterator is used up or closed, and their
    errors are raised here.

    Arguments:
        source: where the pairs come from.
        batch_size: pairs in a batch, at least 1; the last batch holds what is left.
        seed, epoch: what the randomness follows from, 0 or more.
        start: how many batches to skip.
        workers: threads that prepare batches, at least 1.

    Raises:
        ValueError: a number is out of range.
    """
    steps = steps_per_epoch(source, at_least(1, "batch_size", batch_size))
    at_least(1, "workers", workers)
    if not 0 <= start <= steps:
        raise ValueError(f"start must be from 0 to {steps}, the batches of an epoch; got {start}")
    order = np.random.default_rng((streams.ORDER, seed, epoch)).permutation(len(source))

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = order[step * batch_size : (step + 1) * batch_size]
        rng = np.random.default_rng((streams.BATCH, seed, epoch, step))
        inputs, targets = source.batch(chosen, rng)
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

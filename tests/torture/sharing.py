"""Several processes at one folder, many threads at one model, and kernels in pools of all kinds."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from chainrule import ops
from noise2noise import Denoiser
from tests.torture import pictures
from tests.torture.knock import check, done, hidden, start
from tests.torture.victims import Victim, look, room, victims_of


def knock(place: Path, seed: int, short: bool, size: float) -> Iterator[str]:
    pictures.write(place / "photos", 4, 48, seed)
    for processes in (2,) if short else (2, 3):
        for victim in victims_of(place, short=True):
            yield _together(victim, place, processes)
    # Processes are forked first: a child has none of the threads that a pool here would have.
    yield _pooled("fork", seed, 2 if short else 4)
    yield _threaded(seed, 2 if short else 8, 2 if short else max(round(6 * size), 1))
    yield _pooled("threads", seed, 4)
    if not short:
        yield _pooled("spawn", seed, 2)


def _together(victim: Victim, place: Path, processes: int) -> str:
    folder, calm = (room(place, f"{name}{processes}", victim) for name in ("together", "alone"))
    done(calm, *victim.begin)
    commands = []
    for index in range(processes):
        link = place / f"{folder.name}-{index}"  # the output of each has the name of its folder
        link.symlink_to(folder)
        commands.append(start(link, *victim.begin))
    refused = 0
    for command in commands:
        status, said = command.wait(), command.said()
        check(status in (0, 2), f"{victim.name} ended with {status}: {said}")
        check("Traceback" not in said, f"{victim.name} prints a traceback: {said}")
        check(status == 0 or "error: " in said, f"{victim.name} was refused silently: {said}")
        refused += status == 2
    check(refused < processes, f"{victim.name}: all were refused: {commands[0].said()}")
    look(victim, folder / victim.result)
    expected = victim.same(calm / victim.result)
    check(victim.same(folder / victim.result) == expected, f"{victim.name}: mixed results")
    left = hidden(folder / victim.result)
    check(left == [], f"{victim.name} left {left} behind")
    return f"{victim.name}: {processes} at once, {refused} refused, the result is that of one"


def _threaded(seed: int, threads: int, rounds: int) -> str:
    images = [pictures.photograph(40 + 7 * i, 90 - 5 * i, seed + i) for i in range(threads)]
    one = Denoiser.load("fast")
    several = [Denoiser.load("fast") for _ in images]
    expected = [one.denoise(image) for image in images]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            for models in ([one] * threads, several):
                got = list(pool.map(Denoiser.denoise, models, images))
                check(
                    all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True)),
                    "a thread got another result than one after the other",
                )
    return (
        f"{2 * rounds} times {threads} threads, at one Denoiser and at one each: equal to the bit"
    )


def convolved(seed: int) -> bytes:
    """Forward and both gradients of a convolution, as bytes."""
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 16, 33, 31, generator=generator)
    w = torch.rand(8, 16, 3, 3, generator=generator)
    y = ops.conv2d(x, w, None, 1, 1)
    gx = ops.conv2d_input_grad(y, w, (33, 31), 1, 1)
    gw = ops.conv2d_weight_grad(x, y, (3, 3), 1, 1)
    return b"".join(each.numpy().tobytes() for each in (y, gx, gw))


def _pooled(kind: str, seed: int, workers: int) -> str:
    seeds = range(seed, seed + 4 * workers)
    if kind == "threads":
        pool = concurrent.futures.ThreadPoolExecutor(workers)
    else:
        context = multiprocessing.get_context(kind)
        pool = concurrent.futures.ProcessPoolExecutor(workers, context)
    with pool:
        got = list(pool.map(convolved, seeds))
    check(got == [convolved(each) for each in seeds], f"kernels in {kind} computed something else")
    return f"kernels in a pool of {workers} by {kind}: {len(got)} results equal to the bit"

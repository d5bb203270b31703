"""Memory that stays flat, and that grows as the image does and no more."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from chainrule import MSE, Adam, fuse
from noise2noise import Denoiser, build
from noise2noise.fit import step
from tests.torture import pictures
from tests.torture.knock import check, start

FLAT = 48 * 2**20
"""Bytes by which a process may grow that does the same again and again: fragments, caches."""

BYTES_A_PIXEL = 40
"""That a larger photograph of 3 bytes a pixel may take more: itself and its result, a few times."""


def knock(place: Path, seed: int, short: bool, size: float) -> Iterator[str]:
    rng = random.Random(f"{seed} memory")
    yield _images(rng, 24 if short else max(round(300 * size), 30))
    yield _steps(rng, 200 if short else max(round(2000 * size), 200))
    yield from _photographs(place, (1, 3) if short else (1, 10, 50, 100))


def _images(rng: random.Random, count: int) -> str:
    denoiser = Denoiser.load("fast")
    largest = 120 if count < 100 else 400

    def one(side: tuple[int, int]) -> None:
        denoiser.denoise(pictures.photograph(*side))

    one((largest, largest))  # what is kept for the next is there once
    before = _resident()
    for _ in range(count):
        one((rng.randrange(1, largest), rng.randrange(1, largest)))
    grown = _resident() - before
    check(grown < FLAT, f"{count} images left {grown / 2**20:.0f} MiB behind")
    return f"{count} images up to {largest} x {largest}: {grown / 2**20:+.1f} MiB"


def _steps(rng: random.Random, count: int) -> str:
    model, loss = fuse(build("compact", width=8)), MSE()
    optimizer = Adam(model.param(), lr=1e-3)
    batches = [torch.rand(4, 3, 32, 8 * rng.randrange(2, 9)) for _ in range(8)]
    for batch in batches:
        step(model, loss, optimizer, batch, batch)
    before = _resident()
    for index in range(count):
        batch = batches[index % len(batches)]
        step(model, loss, optimizer, batch, batch)
    grown = _resident() - before
    check(grown < FLAT, f"{count} steps left {grown / 2**20:.0f} MiB behind")
    return f"{count} training steps: {grown / 2**20:+.1f} MiB"


def _photographs(place: Path, megapixels: tuple[int, ...]) -> Iterator[str]:
    peaks = []
    for count in megapixels:
        path = place / f"{count}.tif"
        Image.fromarray(pictures.photograph(1000, 1000 * count)).save(path)
        started = time.monotonic()
        command = start(place, "denoise", path, "--model", "fast", "--overwrite")
        _, status, usage = os.wait4(command.pid, 0)
        seconds = time.monotonic() - started
        check(status == 0, f"{count} megapixels: {command.said()}")
        peaks.append(usage.ru_maxrss * 1024)
        yield (
            f"{count} megapixels: {seconds:.1f} s, {seconds / count:.2f} s each; "
            f"peak {peaks[-1] / 2**20:.0f} MiB, {(peaks[-1] - peaks[0]) / 2**20:+.0f} MiB"
        )
        path.unlink()
    grown = (peaks[-1] - peaks[0]) / (1e6 * (megapixels[-1] - megapixels[0]))
    check(grown < BYTES_A_PIXEL, f"a pixel more takes {grown:.0f} bytes more")


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

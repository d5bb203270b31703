"""Timing the contenders in turn, in one process.

Each is repeated until a measurement takes long enough for the clock, rounds begin with another one
each time, and a pause lets the threads of one come to rest before the next begins.
"""

from __future__ import annotations

import gc
import itertools
import math
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule import summary
from noise2noise.benchmark import steps
from noise2noise.benchmark.alone import alone
from noise2noise.benchmark.machine import Machine, this_machine
from noise2noise.benchmark.steps import CONTENDERS, OURS, RECIPES, TASKS, Step
from noise2noise.benchmark.twins import VARIANTS
from noise2noise.data import Track
from noise2noise.errors import UserError

LEAST_SECONDS = 0.02
PAUSE_SECONDS = 0.005

PHOTO = "photo"
"""The name of the large photograph among the networks."""

PHOTO_SIZES = ((1000, 1500), (2000, 3000), (4000, 6000))
"""Height and width in pixels: 1.5, 6 and 24 megapixels."""


class Case(NamedTuple):
    """One network in one task at one batch size."""

    network: str
    task: str
    batch: int


@dataclass(frozen=True)
class Timing:
    """How long one step of a contender takes.

    Attributes:
        milliseconds: median over the rounds.
        spread: interquartile range, in milliseconds.
        peak_share: arithmetic of the direct algorithm in that time, as a share of the machine's
            peak. Above 1 where an algorithm does less arithmetic than that.
    """

    milliseconds: float
    spread: float
    peak_share: float


@dataclass(frozen=True)
class Row:
    """What was measured in one case.

    Attributes:
        network, task, batch: the case.
        multiply_adds: of one step with the direct algorithm.
        timings: by contender.
        failures: why a contender has no timing.
        ratio: our time over the best of PyTorch's.
        memory: peak bytes of a training step, ours and PyTorch's with channels last; empty for
            inference, None where it can't be measured.
    """

    network: str
    task: str
    batch: int
    multiply_adds: int
    timings: dict[str, Timing]
    failures: dict[str, str]
    ratio: float
    memory: dict[str, int | None]


@dataclass(frozen=True)
class PhotoRow:
    """What a photograph of one size takes: ours, and PyTorch's with channels last on the same
    tiles.

    Attributes:
        height, width: in pixels.
        seconds, memory: by contender; memory in bytes beyond the photograph itself.
    """

    height: int
    width: int
    seconds: dict[str, float]
    memory: dict[str, int | None]

    @property
    def megapixels(self) -> float:
        return self.height * self.width / 1e6


@dataclass(frozen=True)
class Result:
    """All that `measure` found."""

    machine: Machine
    rounds: int
    networks: list[Row]
    photos: list[PhotoRow]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure(
    names: Iterable[str],
    batch: int | None,
    rounds: int,
    photo_sizes: Iterable[tuple[int, int]],
    track: Track,
) -> Result:
    """Time every network named, in training and inference, and the photograph if it is named.

    Arguments:
        names: keys of RECIPES, and PHOTO.
        batch: instead of the recipe's batch sizes.
        rounds: measurements of each contender.
        photo_sizes: heights and widths of the photograph.
        track: shows the progress.

    Raises:
        UserError: no such network, or a process of its own failed.
    """
    names = _checked(names)
    cases = [
        Case(name, task, size)
        for name in names
        if name != PHOTO
        for size in ([batch] if batch else RECIPES[name].batches)
        for task in TASKS
    ]
    photos = [*photo_sizes] if PHOTO in names else []
    machine = this_machine()
    work = [*cases, *photos]
    rows, photo_rows = [], []
    for item in track(work, "Measuring", len(work)):
        if isinstance(item, Case):
            rows.append(_measured(item, rounds, machine))
        else:
            photo_rows.append(_measured_photo(*item))
    return Result(machine, rounds, rows, photo_rows)


def _checked(names: Iterable[str]) -> list[str]:
    known = (*RECIPES, PHOTO)
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in known:
            raise UserError(f"can't measure {name!r}; choose from {', '.join(known)}")
    return names


# -- the networks ----------------------------------------------------------------------------------


def _measured(case: Case, rounds: int, machine: Machine) -> Row:
    ready, failures = _warm_contenders(case)
    cost = multiply_adds(case)
    timings = {
        name: Timing(
            milliseconds=1000 * float(np.median(seconds)),
            spread=1000 * float(np.subtract(*np.quantile(seconds, (0.75, 0.25)))),
            peak_share=2 * cost / float(np.median(seconds)) / machine.peak,
        )
        for name, seconds in zip(ready, in_turn([*ready.values()], rounds), strict=True)
    }
    del ready
    best = min(timings[name].milliseconds for name in VARIANTS if name in timings)
    return Row(
        *case,
        multiply_adds=cost,
        timings=timings,
        failures=failures,
        ratio=timings[OURS].milliseconds / best,
        memory=_memory(case) if case.task == "training" else {},
    )


def _warm_contenders(case: Case) -> tuple[dict[str, Step], dict[str, str]]:
    """The contenders' steps after their first two, and why others have none."""
    ready: dict[str, Step] = {}
    failures: dict[str, str] = {}
    for name in CONTENDERS:
        try:
            ready[name] = _warm(name, case)
        except Exception as error:
            # torch.compile fails in as many ways as machines lack a compiler; nothing else may.
            if name != "compile":
                raise
            failures[name] = f"{type(error).__name__}: {_first_line(error)}"
    return ready, failures


def _warm(contender: str, case: Case) -> Step:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.compile's, of itself
        step = steps.step_of(contender, case.network, case.task, case.batch)
        step()
        step()
    return step


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].endswith(":"):  # what it announces is the reason
        return f"{lines[0]} {lines[1]}"
    return lines[0] if lines else "no reason given"


def in_turn(contenders: list[Step], rounds: int) -> list[list[float]]:
    """Seconds that one step of each takes in each round."""
    repeats = [_repeats(step) for step in contenders]
    seconds: list[list[float]] = [[] for _ in contenders]
    order = [*range(len(contenders))]
    gc.collect()
    for turn in range(rounds):
        first = turn % len(order)
        for index in order[first:] + order[:first]:
            time.sleep(PAUSE_SECONDS)
            seconds[index].append(_timed(contenders[index], repeats[index]))
    return seconds


def _repeats(step: Step) -> int:
    once = min(_timed(step, 1) for _ in range(3))
    return max(1, math.ceil(LEAST_SECONDS / once))


def _timed(step: Step, repeats: int) -> float:
    if repeats > 1:
        step()  # the caches belong to the one before
    started = time.perf_counter()
    for _ in itertools.repeat(None, repeats):
        step()
    return (time.perf_counter() - started) / repeats


def multiply_adds(case: Case) -> int:
    """What one step costs by the direct algorithm.

    A forward pass; training adds as much for the gradients of the weights, and as much for those of
    the inputs, but for the first layer's.
    """
    side = RECIPES[case.network].side
    costs = [
        row.multiply_adds
        for row in summary(steps.network(case.network), (case.batch, 3, side, side)).rows
        if row.multiply_adds
    ]
    return sum(costs) if case.task == "inference" else 3 * sum(costs) - costs[0]


def _memory(case: Case) -> dict[str, int | None]:
    return {
        name: alone("training_memory", contender=name, network=case.network, batch=case.batch)
        for name in (OURS, "channels_last")
    }


# -- the photograph --------------------------------------------------------------------------------


def _measured_photo(height: int, width: int) -> PhotoRow:
    found = {
        name: alone("photograph", contender=name, height=height, width=width)
        for name in (OURS, "channels_last")
    }
    return PhotoRow(
        height,
        width,
        seconds={name: each["seconds"] for name, each in found.items()},
        memory={name: each["memory"] for name, each in found.items()},
    )

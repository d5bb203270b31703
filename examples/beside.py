"""What the examples share: a model is trained, and where it is wanted its twin in `torch.nn` too.

Both begin with the same weights and see the same batches. Every example has its own training step;
here are the loop around it, the twin's step, which autograd takes, and what is printed of both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from chainrule import Module

Batch = tuple[Tensor, ...]
Step = Callable[[Batch, float], Tensor]
"""`step(batch, lr)`: one training step; returns the loss before it."""

SHOWN = 15  # rows of the curve


class Curves(NamedTuple):
    """The losses of every step; the twin's are empty without one."""

    ours: list[float]
    theirs: list[float]


def options(description: str, steps: int, arguments: Sequence[str] | None) -> tuple[int, bool]:
    """How many steps, and whether the twin trains too, by the command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=steps, help="of training (%(default)s)")
    parser.add_argument("--twin", action="store_true", help="train its twin in torch.nn beside it")
    chosen = parser.parse_args(arguments)
    if chosen.steps < 1:
        parser.error(f"--steps must be at least 1, got {chosen.steps}")
    return chosen.steps, chosen.twin


def twin_step(
    model: Module,
    build: Callable[[], nn.Module],
    objective: Callable[[nn.Module, Batch], Tensor],
    decay: float,
) -> Step:
    """The step of the twin, from the model's weights on: autograd and PyTorch's AdamW.

    Args:
        model: whose weights the twin begins with; their names are the same.
        build: makes the twin. It draws no random numbers of those that make the batches, so that
            the model learns as it does without one.
        objective: its loss on a batch.
        decay: AdamW's weight decay.
    """
    with torch.random.fork_rng():
        network = build()
    network.load_state_dict(model.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=decay)

    def step(batch: Batch, lr: float) -> Tensor:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        value = objective(network, batch)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def train(
    batches: Iterable[Batch],
    steps: int,
    schedule: Callable[[int], float],
    ours: Step,
    theirs: Step | None = None,
) -> Curves:
    """Takes the steps, in turn where there are two, and prints the curves and a step's time."""
    curves, seconds = Curves([], []), Curves([], [])
    racers = [(ours, curves.ours, seconds.ours)]
    if theirs is not None:
        racers.append((theirs, curves.theirs, seconds.theirs))
    print("   step      loss" + ("  torch.nn" if theirs else ""))
    every = max(1, steps // SHOWN)
    for number, batch in enumerate(batches):
        for step, losses, times in racers:
            begun = time.perf_counter()
            losses.append(float(step(batch, schedule(number))))
            times.append(time.perf_counter() - begun)
        racers.reverse()  # whoever comes second finds the batch in the cache
        if (number + 1) % every == 0:
            means = [statistics.fmean(losses[-every:]) for losses in curves if losses]
            print(f"{number + 1:7}" + "".join(f"{mean:10.4f}" for mean in means), flush=True)
    print(_times(seconds))
    return curves


def _times(seconds: Curves) -> str:
    ours = 1000 * statistics.median(seconds.ours)
    if not seconds.theirs:
        return f"a step: {ours:.2f} ms"
    theirs = 1000 * statistics.median(seconds.theirs)
    return (
        f"a step: {ours:.2f} ms, in torch.nn {theirs:.2f} ms; ours takes {ours / theirs:.2f} of it"
    )

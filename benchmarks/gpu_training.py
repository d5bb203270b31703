"""Trains a recipe within some minutes, and says which side of the work is the slower one.

First the crops a second that each side makes are measured by itself: the host decodes photographs,
cuts crops and draws noise, the device takes steps. Then the run gets as many epochs as there is
time for, and keeps its checkpoint and its best model in a folder as every run does.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import torch

from chainrule import backend, fuse
from noise2noise import networks
from noise2noise.data import PairSource, batches
from noise2noise.data.minibatches import Plan, drawing
from noise2noise.device import batches_on, in_words
from noise2noise.fit import Observer, Steps, Trainer, TrainingConfig, TrainingStopped, configure
from noise2noise.fit.observer import Epoch
from noise2noise.fit.recipe import read_recipe
from noise2noise.fit.sources import open_data
from noise2noise.fit.trainer import LOSSES, optimizer_of, sizes_for

if TYPE_CHECKING:
    from benchmarks.gpu import Clock

_SECONDS = 4  # that each side is measured for
_EPOCH = 15  # seconds, at least
_AFTERWARDS = 0.9  # of the time that is left; validation and files take some, too
_TOY: dict[str, Any] = {
    "sizes": {"width": 2, "depth": 1},
    "architecture": "coldenhoff",
    "target_shots": 1,
    "varied": False,
    "corruption": "gaussian:25",
    "batch_size": 2,
    "crop": 8,
}


class _Watch(Observer):
    """Prints epochs, and stops when the time is over."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_epoch(self, epoch: Epoch, best: bool) -> None:
        psnr, seconds = epoch.validation_psnr, epoch.seconds
        print(f"epoch {epoch.epoch}: {psnr:.2f} dB, {seconds:.1f} s", flush=True)

    def should_stop(self) -> bool:
        return self._clock.left <= 0


def train(asked: argparse.Namespace, device: torch.device, clock: Clock) -> None:
    """Measure both sides, train as long as there is time, and say what came of it."""
    options = {
        **read_recipe(asked.recipe),
        "photos": asked.photos,
        "device": str(device),
        "workers": os.cpu_count() or 1,
        **(_TOY if asked.toy else {}),
        **({} if asked.batch_size is None else {"batch_size": asked.batch_size}),
    }
    config, watch = configure(**options), _Watch(clock)
    started = time.perf_counter()
    data = open_data(config, watch.track)
    print(f"{in_words(device)}, {backend(device=device)} backend; {data[0].describe()}")
    print(f"photographs read in {time.perf_counter() - started:.1f} s")
    seconds = 0.01 if asked.toy else _SECONDS
    host = _host_speed(config, data[0], seconds)
    steps = _device_speed(config, data[0], device, seconds)
    print(f"crops a second: the host's {host:.3g}, the device's {steps:.3g}", flush=True)
    crops = _AFTERWARDS * clock.left * min(host, steps)
    # After an epoch come validation and files, which shall be little beside it.
    passes = 1 if asked.toy else math.ceil(_EPOCH * min(host, steps) / len(data[0]))
    epochs = 1 if asked.toy else math.floor(crops / len(data[0]) / passes)
    if epochs < 1:
        print("there is no time for a whole epoch: the run stops in its first")
    config = config.model_copy(update={"epochs": max(epochs, 1)})
    trainer = Trainer(config, asked.out, watch, data, passes)
    try:
        trainer.fit()
    except TrainingStopped as stop:
        print(stop)
    done = trainer.position
    taken = sum(each.seconds for each in done.history) + done.seconds
    crops = len(trainer.source) * done.epoch + done.pairs
    print(f"crops a second of the run: {crops / max(taken, 1e-9):.3g}, of {crops} crops")
    print(f"checkpoint: {trainer.last}")
    if done.history:
        print(f"best: {done.best_psnr:.2f} dB, {trainer.best}")
    sys.stdout.flush()


def _host_speed(config: TrainingConfig, source: PairSource, seconds: float) -> float:
    """Crops a second that are cut and corrupted, by as many processes as the run has."""
    plan, processes = Plan(source, config.batch_size, config.seed), config.workers or 1
    with drawing(plan, processes) as drawers:
        drawn = batches(source, config.batch_size, config.seed, 0, drawers=drawers)
        next(drawn)  # for which the processes begin
        made, started = 0, time.perf_counter()
        for x, _ in drawn:
            made += len(x)
            if time.perf_counter() - started > seconds:
                break
        drawn.close()
        return made / (time.perf_counter() - started)


def _device_speed(
    config: TrainingConfig, source: PairSource, device: torch.device, seconds: float
) -> float:
    """Crops a second that a network learns from, the same batch again and again."""
    model = fuse(networks.build(config.architecture, **sizes_for(config, source))).to(device)
    steps = Steps(model, LOSSES[config.loss](), optimizer_of(config, model.parameters()))
    drawn = batches_on(device, batches(source, config.batch_size, config.seed, 0))
    x, y = next(drawn)
    drawn.close()
    for _ in range(1 if seconds < 1 else 5):  # kernels are compiled, and passes captured
        steps(x, y)
    taken, started = 0, time.perf_counter()
    while taken == 0 or time.perf_counter() - started < seconds:
        steps(x, y)
        taken += len(x)
    return taken / (time.perf_counter() - started)

"""A training run in a terminal: a progress bar, and a line for every epoch."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from noise2noise.cli.common import messages, track
from noise2noise.cli.stopping import requests_to_stop
from noise2noise.fit import Observer, Trainer
from noise2noise.fit.observer import Epoch, Position

SHOW_SECONDS = 0.1
"""The progress bar changes at most so often: a step may take no longer than drawing it does."""


class Terminal(Observer):
    """Shows a run on standard error."""

    def __init__(self) -> None:
        self.stop_requested = threading.Event()

    def track(self, items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
        return track(items, description, total)

    def on_message(self, text: str) -> None:
        messages.print(text)

    def should_stop(self) -> bool:
        return self.stop_requested.is_set()

    def fit(self, trainer: Trainer) -> None:
        """Train to the end, with a progress bar. The first Ctrl-C asks the trainer to stop.

        Raises:
            DivergedError, TrainingStopped, UserError: as `Trainer.fit`.
            KeyboardInterrupt: Ctrl-C was pressed again.
        """
        self._epochs, self._steps = trainer.epochs, trainer.steps_per_epoch
        self._shown_at = -math.inf
        self._bar = _bar()
        self._task = self._bar.add_task("", total=self._epochs * self._steps, loss="", psnr="")
        with self._bar, requests_to_stop(self.stop_requested):
            trainer.fit()

    def on_step(self, position: Position) -> None:
        now, whole = time.monotonic(), position.step == 0
        if not whole and now - self._shown_at <= SHOW_SECONDS:
            return
        self._shown_at = now
        loss = f"loss {position.loss_sum / position.pairs:.5f}" if position.pairs else ""
        psnr = f"{position.history[-1].validation_psnr:.2f} dB" if position.history else ""
        self._bar.update(
            self._task,
            completed=position.epoch * self._steps + position.step,
            description=f"epoch {min(position.epoch + 1, self._epochs)}/{self._epochs}",
            loss=loss,
            psnr=psnr,
        )

    def on_epoch(self, epoch: Epoch, best: bool) -> None:
        messages.print(
            f"epoch {epoch.epoch}/{self._epochs}  loss {epoch.training_loss:.5f}  "
            f"validation {epoch.validation_psnr:.2f} dB{' (best)' if best else ''}  "
            f"{epoch.seconds:.0f} s"
        )


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[psnr]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=messages,
        disable=not messages.is_terminal,
    )

"""How a run is watched, and stopped, from outside: by a command, a notebook or a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any


@dataclass
class Epoch:
    """One line of the history.

    Attributes:
        epoch: counted from 1.
        step: optimizer steps so far.
        seconds: that this epoch took, over all sittings.
        learning_rate: of its last step.
        training_loss: mean over its pairs.
        validation_psnr: mean over images, in dB; see ValidationSet.reference_is_clean.
        restarts: how often its processes were lost and started again in this epoch.
    """

    epoch: int
    step: int
    seconds: float
    learning_rate: float
    training_loss: float
    validation_psnr: float
    restarts: int = 0


@dataclass
class Position:
    """Where a run stands: what a checkpoint holds besides tensors.

    Attributes:
        epoch, step: whole epochs done, and steps done in the one after them.
        loss_sum, pairs: sum of the losses of that epoch's pairs so far, and their number.
        seconds: spent in that epoch.
        restarts: how often its processes were lost and started again in that epoch.
        best_psnr: of the best epoch, in dB.
        history: a line for every epoch done.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    pairs: int = 0
    seconds: float = 0.0
    restarts: int = 0
    best_psnr: float = -inf
    history: list[Epoch] = field(default_factory=list)


class Observer:
    """Whoever watches a run: inherit, and define what is of interest. This one is silent.

    The methods are called in the thread that trains, so they had better be quick.
    """

    def track(self, items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
        """Yield the items; called around what takes time before training, such as reading files."""
        return items

    def on_step(self, position: Position) -> None:
        """Called before the first step of a sitting, and after every step and epoch."""

    def on_epoch(self, epoch: Epoch, best: bool) -> None:
        """Called when an epoch has been validated and saved; `best` if none was better before."""

    def on_message(self, text: str) -> None:
        """Called with a sentence that people should read."""

    def should_stop(self) -> bool:
        """Asked after every step: True saves the run and ends it with `TrainingStopped`."""
        return False

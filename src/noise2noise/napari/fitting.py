"""Training on layers: no window is needed here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from noise2noise.errors import UserError
from noise2noise.fit import Observer, Trainer, TrainingStopped, configure
from noise2noise.fit.observer import Epoch, Position
from noise2noise.napari.layers import Pixels
from noise2noise.napari.pairs import write_pairs
from noise2noise.napari.work import Stopped, Watch

SCRATCH = "nothing"
"""Chosen in the place of a model to begin with."""


class Lesson(NamedTuple):
    """What is chosen in the widget.

    Attributes:
        folder: of the run; it mustn't hold one.
        start_from: a shipped model, or `SCRATCH`.
        epochs, crop: as in `TrainingConfig`.
    """

    folder: Path
    start_from: str = "grey"
    epochs: int = 10
    crop: int = 64


class Learned(NamedTuple):
    """What came of it.

    Attributes:
        folder: of the run, in which its best model is.
        epochs: those that were finished.
        psnr: of the best one, in dB, on pairs that were held back.
    """

    folder: Path
    epochs: int
    psnr: float


def train(first: Pixels, second: Pixels, lesson: Lesson, watch: Watch) -> Learned:
    """Train a network on pairs of noisy images; stopped, it keeps the best model so far.

    Raises:
        UserError: the folder holds a run, or nothing can be learned from these pixels.
        Stopped: it was asked for before the end of the first epoch; there is no model yet.
        DivergedError: as `Trainer.fit`.
    """
    if lesson.folder.exists() and any(lesson.folder.iterdir()):
        raise UserError(f"{lesson.folder} isn't empty; name another folder for the run")
    with tempfile.TemporaryDirectory(prefix="noise2noise-") as place:
        write_pairs(first, second, lesson.crop, Path(place), watch)
        options: dict[str, Any] = {
            "pairs": (Path(place, "a"), Path(place, "b")),
            "epochs": lesson.epochs,
            "crop": lesson.crop,
            "title": "trained in napari",
        }
        if lesson.start_from == SCRATCH:
            options["architecture"] = "guided"
        else:
            options["start_from"] = lesson.start_from
        seen = _Seen(watch)
        trainer = Trainer(configure(**options), lesson.folder, seen)
        seen.steps = trainer.steps_per_epoch * lesson.epochs
        seen.steps_per_epoch = trainer.steps_per_epoch
        try:
            trainer.fit()
        except TrainingStopped:
            if not trainer.position.history:
                raise Stopped from None
        return Learned(lesson.folder, len(trainer.position.history), trainer.position.best_psnr)


class _Seen(Observer):
    """Tells a `Watch` of a run."""

    steps = steps_per_epoch = 1

    def __init__(self, watch: Watch) -> None:
        self._watch, self._found = watch, ""

    def track(self, items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
        return self._watch.track(items, description, total)

    def on_step(self, position: Position) -> None:
        self._watch.done = (position.epoch * self.steps_per_epoch + position.step) / self.steps
        self._watch.words = f"Training, epoch {position.epoch + 1}{self._found}"

    def on_epoch(self, epoch: Epoch, best: bool) -> None:
        self._found = f"; {epoch.validation_psnr:.2f} dB after {epoch.epoch}"

    def should_stop(self) -> bool:
        return self._watch.stop()

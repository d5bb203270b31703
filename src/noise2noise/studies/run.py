"""A training run at work in its folder, and what it leaves there: the same for every study.

A run is a folder named after its content, so that whoever asks for the same run gets the same one:

    last.safetensors        everything needed to go on, written after every epoch
    best.safetensors        the weights of the epoch with the best validation PSNR
    epoch-10.safetensors    the weights after an epoch that a study wants to look at
    result.json             the curves, once the run is finished

The loop is not `noise2noise.fit.Trainer`: the reports' recipes know no augmentation, the paper's
know clean targets, and both want curves of more than a validation PSNR. What is learned from, and
what is measured after an epoch, is a subclass's: `runs.py` has the reports', `paper_runs.py` the
paper's.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from chainrule import Module, fuse
from chainrule.losses import Loss
from chainrule.optimizers import Optimizer
from chainrule.serialization import replacing, save_tensors
from noise2noise.data import Track
from noise2noise.device import home
from noise2noise.errors import UserError
from noise2noise.fit import Checkpoint, Steps

LAST = "last.safetensors"
"""The checkpoint in a run's folder."""


@dataclass(frozen=True, kw_only=True)
class BaseSpec:
    """What every run is described by: equal specs are one run.

    Attributes:
        architecture, sizes: see `noise2noise.networks`; all sizes, sorted by name.
        batch: pairs in a step; the last one of an epoch may be smaller.
        epochs: after each of them the run is measured and kept.
        seed: of all that is random.
        snapshots: epochs after which the weights are kept.
    """

    architecture: str
    sizes: tuple[tuple[str, int], ...]
    batch: int
    epochs: int
    seed: int = 0
    snapshots: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """The name of the run's folder."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.architecture}-{digest[:10]}"

    @property
    def seen(self) -> int:
        """Pairs that the network sees in all, some of them more than once."""
        raise NotImplementedError


S = TypeVar("S", bound=BaseSpec)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What is known after an epoch.

    Attributes:
        epoch: counted from 1.
        seconds: of training, without what is measured afterwards.
        loss: against the targets learned from, over the epoch's batches as they came.
        validation_mse, validation_psnr: against clean images; PSNR in dB, mean over images.
        training_mse, training_psnr: of the first training pairs, against the noisy targets; None
            where a study doesn't look at them.
    """

    epoch: int
    seconds: float
    loss: float
    validation_mse: float
    validation_psnr: float
    training_mse: float | None = None
    training_psnr: float | None = None


@dataclass(frozen=True)
class Result:
    """What a finished run leaves behind.

    Attributes:
        parameters: learned numbers of the network.
        epochs: the curves; fewer than asked for where the run diverged.
        diverged: the epoch in which the loss was no longer a finite number, or None.
        finished: the day.
        threads: that computed it.
        scores: of the last weights on whole test images, where the study has some: PSNR in dB by
            set of images and by what was measured.
    """

    parameters: int
    epochs: list[Epoch]
    diverged: int | None
    finished: str
    threads: int
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def best(self) -> Epoch:
        """The epoch with the best validation PSNR."""
        return max(self.epochs, key=lambda each: each.validation_psnr)

    @property
    def last(self) -> Epoch:
        return self.epochs[-1]

    def curve(self, name: str) -> list[float]:
        """One attribute of every epoch."""
        return [getattr(each, name) for each in self.epochs]


def result_of(spec: BaseSpec, runs: Path) -> Result | None:
    """What the run left in the folder `runs`, or None if it isn't finished."""
    path = runs / spec.key / "result.json"
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        return Result(**{**stored["result"], "epochs": _epochs(stored["result"]["epochs"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; remove it, and the run goes on: {error}") from error


def _epochs(rows: list[dict[str, Any]]) -> list[Epoch]:
    return [Epoch(**row) for row in rows]


def complete(
    spec: BaseSpec,
    runs: Path,
    begin: Callable[[Path], Run[Any]],
    track: Track,
    say: Callable[[str], None],
) -> Result:
    """The run's result; trains for it unless it is there, from where the run stopped.

    After an interruption the epoch that was cut short is done again, and every number is what it
    would have been without: whatever is drawn follows from the seed and the epoch or the step.

    Arguments:
        spec: what to do.
        runs: the folder that holds the runs' folders.
        begin: makes the run in its folder.
        track, say: where progress and a line for each epoch go.

    Raises:
        UserError: the run's folder can't be written, or a file in it is damaged.
    """
    done = result_of(spec, runs)
    if done is not None:
        return done
    try:
        (runs / spec.key).mkdir(parents=True, exist_ok=True)
        run = begin(runs / spec.key)
        while len(run.epochs) < spec.epochs and run.diverged is None:
            run.train_epoch(track)
            say(run.line())
        return run.finish()
    except OSError as error:
        raise UserError(f"can't write {runs / spec.key}: {error.strerror or error}") from error


class Run(ABC, Generic[S]):
    """A run at work in its folder.

    Arguments:
        spec: what to do.
        folder: where it is kept; a checkpoint in it is gone on from.
        say: where a line goes if the run goes on under other conditions.
        model, optimizer, loss: as the run begins; the model where it is to be computed.
        clip_norm: see `noise2noise.fit.Steps`.

    Attributes:
        epochs: what is done already.
        diverged: the epoch in which the loss was no longer a finite number, or None.
    """

    def __init__(
        self,
        spec: S,
        folder: Path,
        say: Callable[[str], None],
        model: Module,
        optimizer: Optimizer,
        loss: Loss,
        clip_norm: float | None = None,
    ) -> None:
        self.spec, self.folder = spec, folder
        self.model, self.optimizer = model, optimizer
        self.steps = Steps(fuse(model), loss, optimizer, clip_norm)
        self.epochs: list[Epoch] = []
        self.diverged: int | None = None
        if self.last.exists():
            self._resume(say)

    # -- what a study's runs have of their own ----------------------------------------------------

    @abstractmethod
    def chunks(self, epoch: int) -> Sequence[Any]:
        """The epoch's steps, in order: what `batch` makes each batch of."""

    @abstractmethod
    def batch(self, chunk: Any) -> tuple[Tensor, Tensor]:
        """The inputs and targets of a step, which is taken next."""

    @abstractmethod
    def look(self) -> dict[str, float]:
        """What an `Epoch` holds besides its number, seconds and loss."""

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What the files with weights tell of the model."""

    def scores(self) -> dict[str, dict[str, float]]:
        """See `Result`."""
        return {}

    # -- the loop ----------------------------------------------------------------------------------

    @property
    def last(self) -> Path:
        return self.folder / LAST

    def _resume(self, say: Callable[[str], None]) -> None:
        try:
            checkpoint = Checkpoint.read(self.last)
            self.epochs = _epochs(checkpoint.position["epochs"])
            checkpoint.restore(self.model, self.optimizer, checkpoint.optimizer)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.last} is damaged; remove it to begin that run anew: {error}"
            ) from error
        warning = checkpoint.warning(home(self.model))
        if warning:
            say(f"{self.spec.key}: {warning}")

    def train_epoch(self, track: Track) -> None:
        epoch, started, total, count = len(self.epochs) + 1, time.perf_counter(), 0.0, 0
        chunks = self.chunks(epoch)
        title = f"{self.spec.architecture} {epoch}/{self.spec.epochs}"
        for chunk in track(chunks, title, len(chunks)):
            x, y = self.batch(chunk)
            loss = self.steps(x, y)
            if not math.isfinite(loss):
                self.diverged = epoch
                return
            total += loss * len(x)
            count += len(x)
        self._finish_epoch(epoch, time.perf_counter() - started, total / count)

    def _finish_epoch(self, epoch: int, seconds: float, loss: float) -> None:
        done = Epoch(epoch=epoch, seconds=seconds, loss=loss, **self.look())
        if not math.isfinite(done.validation_psnr):
            self.diverged = epoch
            return
        self.epochs.append(done)
        names = [f"epoch-{epoch}"] if epoch in self.spec.snapshots else []
        if done.validation_psnr >= max(each.validation_psnr for each in self.epochs):
            names.append("best")
        for name in names:
            path = self.folder / f"{name}.safetensors"
            save_tensors(path, self.model.state_dict(), self._facts(), overwrite=True)
        # The checkpoint to go on from comes last: whatever stops this halfway is done again.
        position = {"epochs": [asdict(each) for each in self.epochs]}
        state = self.optimizer.state_dict()
        Checkpoint.of(self.model, state, position, self._facts()).write(self.last)

    def _facts(self) -> dict[str, str]:
        return {
            "architecture": self.spec.architecture,
            "sizes": json.dumps(dict(self.spec.sizes)),
            **self.facts(),
            "validation_psnr": f"{self.epochs[-1].validation_psnr:.2f}",
        }

    def line(self) -> str:
        if self.diverged is not None:
            return f"{self.spec.key}: diverged in epoch {self.diverged}"
        last = self.epochs[-1]
        return (
            f"{self.spec.key}: epoch {last.epoch}/{self.spec.epochs}, loss {last.loss:.5f}, "
            f"validation {last.validation_psnr:.2f} dB, {last.seconds:.1f} s"
        )

    def finish(self) -> Result:
        result = Result(
            parameters=sum(value.numel() for value in self.model.parameters()),
            epochs=self.epochs,
            diverged=self.diverged,
            finished=datetime.date.today().isoformat(),
            threads=torch.get_num_threads(),
            scores=self.scores() if self.diverged is None else {},
        )
        stored = {"spec": asdict(self.spec), "result": asdict(result)}
        with replacing(self.folder / "result.json", overwrite=True) as temporary:
            temporary.write_text(json.dumps(stored, indent=1) + "\n")
        return result

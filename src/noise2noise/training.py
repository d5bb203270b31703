"""The Trainer: mini-batches, validation, checkpoints, and a resume that is exact to the bit.

A run is a folder:

    config.json         what was asked for
    last.safetensors    everything needed to go on: weights, optimizer, position, history
    best.safetensors    the weights of the epoch with the best validation PSNR: the model to use
    history.csv         a line an epoch
    curves.png          the same, drawn

Everything random follows from (seed, epoch, position), so a run that was stopped and resumed takes
exactly the steps it would have taken.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import track as rich_track
from torch import Tensor

from chainrule import (
    L1,
    MSE,
    SGD,
    Adam,
    AdamW,
    LogMSE,
    clip_gradients,
    cosine,
    fuse,
    linear_ramp_down,
    schedules,
)
from chainrule.optimizers import Optimizer
from chainrule.schedules import Schedule
from chainrule.serialization import load_tensors, replacing, save_tensors
from noise2noise import figures, networks
from noise2noise.data import (
    CorruptedPhotographs,
    FolderPairs,
    GeneratedImages,
    PairSource,
    TensorPairs,
    Track,
    ValidationSet,
    batches,
    load_pair_file,
    split,
    steps_per_epoch,
    validation_set,
)
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.metrics import psnr
from noise2noise.noise.corruptions import parse

SAVE_SECONDS = 120
"""A checkpoint is written at least so often, in the middle of an epoch too."""

SHOW_SECONDS = 0.1
"""The progress bar changes at most so often: a step may take no longer than drawing it does."""

DRAW_SECONDS = 10
"""The curves are drawn at most so often, and when training ends or is stopped: drawing them takes
longer than some epochs do."""

LOSSES = {"mse": MSE, "log-mse": LogMSE, "l1": L1}
"""By the names that TrainingConfig takes."""

_OPTIMIZER = "optimizer/"

# What a resumed run may have otherwise than before: where its data lie, how long and how fast.
_MAY_CHANGE = {"pairs", "pairs_file", "photos", "validation", "epochs", "workers", "title"}


class TrainingConfig(BaseModel):
    """What to train, on what, and how. Exactly one of the four sources must be given.

    Attributes:
        pairs: two folders of noisy images, matched by name.
        pairs_file: a `.pkl` of two tensors of noisy images.
        photos: a folder of photographs, to which `corruption` adds noise.
        generated: how many pictures to generate, to which `corruption` adds noise.
        corruption: see `noise2noise.noise.corruptions`.
        validation: a `.pkl` of (noisy, clean) tensors; otherwise some of the source's own images
            are held back.
        crop: side of the training crops, in pixels.
        architecture, sizes: see `noise2noise.networks`; the size channels is taken from the
            images, and where it is given, photographs and generated pictures follow it.
        loss: "mse" for noise that averages out; "log-mse" too, where some images are much noisier
            than others; "l1" for text and impulses.
        optimizer, learning_rate, momentum, schedule, clip_norm: as in `chainrule`; momentum is
            SGD's, clip_norm the largest gradient norm let through.
        epochs, batch_size, seed, workers: workers changes speed only.
        start_from: a model to begin with instead of random weights, as `Denoiser.load` takes it;
            of the same architecture and sizes, but a colour model may begin a grey one.
        title: one line that the model file keeps, for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: tuple[Path, Path] | None = None
    pairs_file: Path | None = None
    photos: Path | None = None
    generated: int | None = Field(None, ge=2)
    corruption: str | None = None
    validation: Path | None = None
    crop: int = Field(64, ge=8)
    architecture: str = "compact"
    sizes: dict[str, int] = {}
    loss: Literal["mse", "log-mse", "l1"] = "mse"
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    schedule: Literal["cosine", "ramp-down", "constant"] = "cosine"
    clip_norm: float | None = Field(None, gt=0)
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(16, ge=1)
    seed: int = Field(0, ge=0)
    workers: int = Field(2, ge=1)
    start_from: str | None = None
    title: str | None = None


def configure(**options: object) -> TrainingConfig:
    """A TrainingConfig, with what is wrong in one sentence.

    Raises:
        UserError: an option is unknown, of the wrong type, or out of range.
    """
    try:
        config = TrainingConfig.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, TrainingConfig.model_fields, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"there is no option {name}{hint}") from None
        raise UserError(f"{name}: {first['msg'].lower()}, got {first['input']!r}") from None
    sources = [config.pairs, config.pairs_file, config.photos, config.generated]
    if sum(source is not None for source in sources) != 1:
        raise UserError(
            "give exactly one source: two folders of pairs, a file of pairs, a folder of "
            "photographs, or a number of generated pictures"
        )
    makes_noise = config.photos is not None or config.generated is not None
    if makes_noise != (config.corruption is not None):
        raise UserError(
            "photographs and generated pictures need a corruption, such as gaussian:25"
            if makes_noise
            else f"the pairs are noisy already; leave out the corruption {config.corruption}"
        )
    return config


def open_data(config: TrainingConfig, track: Track) -> tuple[PairSource, ValidationSet]:
    """The source of training pairs, and what to validate on.

    Raises:
        UserError: see `noise2noise.data`; or the crop doesn't suit the architecture, or the
            validation images have other channels than the source's or are too small.
    """
    sizes = networks.sizes_of(config.architecture, config.sizes)
    multiple = networks.ARCHITECTURES[config.architecture].multiple(sizes)
    if config.crop % multiple:
        raise UserError(
            f"crop must be a multiple of {multiple} for {config.architecture}, got {config.crop}"
        )
    if config.validation is None:
        return split(_open_source(config, track))
    noisy, clean = load_pair_file(config.validation)  # first, because it is quickly refused
    side = min(config.crop, *noisy.shape[2:]) // multiple * multiple
    if side == 0:
        raise UserError(
            f"{config.validation}: the images are {noisy.shape[3]} x {noisy.shape[2]}; "
            f"{config.architecture} needs at least {multiple} x {multiple}"
        )
    source = _open_source(config, track)
    if noisy.shape[1] != source.channels:
        raise UserError(
            f"{config.validation}: the images have {noisy.shape[1]} channels, "
            f"but those to train on have {source.channels}"
        )
    return source, validation_set(TensorPairs(noisy, clean, side, target_is_clean=True))


def _open_source(config: TrainingConfig, track: Track) -> PairSource:
    if config.pairs is not None:
        return FolderPairs(*config.pairs, config.crop, track=track)
    if config.pairs_file is not None:
        return TensorPairs(*load_pair_file(config.pairs_file), config.crop)
    corruption, channels = parse(config.corruption or ""), config.sizes.get("channels")
    if config.photos is not None:
        return CorruptedPhotographs(config.photos, corruption, config.crop, channels, track)
    assert config.generated is not None
    return GeneratedImages(
        config.generated, corruption, config.crop, config.seed, channels or 3, track
    )


class DivergedError(RuntimeError):
    """The loss, or a weight, is no longer a finite number; the last good checkpoint is kept."""


class TrainingStopped(Exception):  # noqa: N818 (a request, not an error)
    """Training was stopped by a signal; everything needed to go on has been saved."""


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
    """

    epoch: int
    step: int
    seconds: float
    learning_rate: float
    training_loss: float
    validation_psnr: float


@dataclass
class Position:
    """Where a run stands: what a checkpoint holds besides tensors."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    pairs: int = 0
    seconds: float = 0.0
    best_psnr: float = -math.inf
    history: list[Epoch] = field(default_factory=list)


class Trainer:
    """Trains a network on pairs of noisy images and keeps the run in a folder.

    Arguments:
        config: what to do.
        folder: where the run is kept; created if need be.
        console: where progress goes; `Console(quiet=True)` for silence.

    Raises:
        UserError: the data can't be used.
    """

    def __init__(self, config: TrainingConfig, folder: str | Path, console: Console) -> None:
        self.config, self.folder, self.console = config, Path(folder), console
        self.source, self.validation = open_data(config, _tracked_on(console))
        self.sizes = _sizes_for(config, self.source)
        torch.manual_seed(config.seed)
        self.model = fuse(networks.build(config.architecture, **self.sizes))
        if config.start_from is not None:
            networks.copy_weights(Denoiser.load(config.start_from).model, self.model)
        self.loss = LOSSES[config.loss]()
        self.optimizer = _optimizer(config, self.model.parameters())
        self.steps_per_epoch = steps_per_epoch(self.source, config.batch_size)
        self.schedule = _schedule(config, self.steps_per_epoch * config.epochs)
        self.position = Position()
        self._saved_at = time.monotonic()
        self._shown_at = self._drawn_at = -math.inf

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """The model with the best validation PSNR."""
        return self.folder / "best.safetensors"

    def resume(self) -> None:
        """Take up the run where its last checkpoint stands.

        Raises:
            UserError: there is no checkpoint, it is damaged, or it is of a run with other options
                or data than this one's.
        """
        tensors, metadata = _read_checkpoint(self.last)
        try:
            self._check_same_run(metadata)
            state = json.loads(metadata["position"])
            history = [Epoch(**line) for line in state.pop("history")]
            position = Position(**state, history=history)
            weights = {k: v for k, v in tensors.items() if not k.startswith(_OPTIMIZER)}
            momenta = {
                k.removeprefix(_OPTIMIZER): v for k, v in tensors.items() if k not in weights
            }
            self.model.load_state_dict(weights)
            self.optimizer.load_state_dict(momenta)
        except UserError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.last} is not a checkpoint of a training run") from error
        self.position = position

    def _check_same_run(self, metadata: dict[str, str]) -> None:
        stored = TrainingConfig.model_validate_json(metadata["config"])
        for name, wanted in self.config:
            kept = getattr(stored, name)
            if name not in _MAY_CHANGE and kept != wanted:
                raise UserError(
                    f"the run in {self.folder} has {name} {kept!r}, not {wanted!r}; "
                    "go on with the same, or start a new run in another folder"
                )
        steps = int(metadata["steps_per_epoch"])
        if steps != self.steps_per_epoch:
            raise UserError(
                f"the run in {self.folder} had {steps} steps an epoch, but its data make "
                f"{self.steps_per_epoch} now; put them back as they were, or start a new run"
            )

    def fit(self) -> None:
        """Train to the last epoch.

        Without `resume` a new run begins, and replaces an older one in the folder.

        Raises:
            DivergedError: the loss is not finite; names the step and the learning rate.
            TrainingStopped: a signal (Ctrl-C) came; the run has been saved.
            UserError: the folder can't be written.
        """
        if self.position == Position():
            self._begin()
        self._write_config()
        with _progress(self.console) as progress, _stop_requests() as stop_requested:
            total = self.steps_per_epoch * self.config.epochs
            task = progress.add_task("", total=total, loss="", psnr="")
            self._show(progress, task)
            while self.position.epoch < self.config.epochs:
                self._train_epoch(progress, task, stop_requested)
                self._finish_epoch()
                self._show(progress, task)

    def _begin(self) -> None:
        with _refusal_explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in (self.best, self.folder / "history.csv", self.folder / "curves.png"):
                path.unlink(missing_ok=True)
        self._save()

    # -- one epoch --------------------------------------------------------------------------------

    def _train_epoch(
        self, progress: Progress, task: TaskID, stop_requested: Callable[[], bool]
    ) -> None:
        config, position = self.config, self.position
        started, before = time.monotonic(), position.seconds
        epoch = batches(
            self.source,
            config.batch_size,
            config.seed,
            position.epoch,
            position.step,
            config.workers,
        )
        with closing(epoch):
            for noisy, target in epoch:
                self._step(noisy, target)
                now = time.monotonic()
                position.seconds = before + now - started
                if now - self._shown_at > SHOW_SECONDS:
                    self._show(progress, task)
                if stop_requested():
                    self._save()
                    if position.history:
                        self._draw_curves()
                    raise TrainingStopped(f"stopped in epoch {position.epoch + 1}")
                if now - self._saved_at > SAVE_SECONDS:
                    self._save()

    def _step(self, noisy: Tensor, target: Tensor) -> None:
        position = self.position
        self.optimizer.lr = self.schedule(self._steps_done())
        self.optimizer.zero_grad()
        loss = float(self.loss.forward(self.model.forward(noisy), target))
        if not math.isfinite(loss):
            raise self._divergence("the loss")
        self.model.backward(self.loss.backward(), input_gradient=False)
        if self.config.clip_norm is not None:
            clip_gradients(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        position.step += 1
        position.loss_sum += loss * len(noisy)
        position.pairs += len(noisy)

    def _steps_done(self) -> int:
        return self.position.epoch * self.steps_per_epoch + self.position.step

    def _divergence(self, what: str) -> DivergedError:
        steps = self._steps_done()
        rate = self.schedule(max(steps - 1, 0))
        return DivergedError(
            f"{what} is not a finite number after {steps} steps, with learning rate {rate:g}; "
            f"the last good checkpoint is kept in {self.last}: train again with a smaller "
            "learning rate, or with clipped gradients"
        )

    def _finish_epoch(self) -> None:
        position = self.position
        value = self.validate()
        done = self._steps_done()
        row = Epoch(
            epoch=position.epoch + 1,
            step=done,
            seconds=round(position.seconds, 4),
            learning_rate=self.schedule(done - 1),
            training_loss=position.loss_sum / position.pairs,
            validation_psnr=value,
        )
        improved = value > position.best_psnr
        self.position = Position(
            epoch=row.epoch,
            best_psnr=max(value, position.best_psnr),
            history=[*position.history, row],
        )
        # The checkpoint to go on from comes last: whatever stops this halfway is done again.
        if improved:
            self._save_model()
        self._write_history()
        finished = row.epoch == self.config.epochs
        if finished or time.monotonic() - self._drawn_at > DRAW_SECONDS:
            self._draw_curves()
        self._save()
        self.console.print(
            f"epoch {row.epoch}/{self.config.epochs}  loss {row.training_loss:.5f}  "
            f"validation {value:.2f} dB{' (best)' if improved else ''}  {row.seconds:.0f} s",
            highlight=False,
        )

    def validate(self) -> float:
        """Mean PSNR over the validation images, in dB. Predictions are clipped to [0, 1] where the
        references are clean; noisy references leave that range themselves.
        """
        self.model.eval()
        values = []
        for noisy, reference in self.validation.pairs:
            prediction = self.model.infer(torch.from_numpy(noisy)[None])[0].numpy()
            if self.validation.reference_is_clean:
                prediction = np.clip(prediction, 0, 1)
            if not np.isfinite(prediction).all():
                raise self._divergence("a prediction")
            values.append(psnr(prediction, reference))
        self.model.train()
        return sum(values) / len(values)

    # -- what is kept -----------------------------------------------------------------------------

    def _save(self) -> None:
        momenta = {_OPTIMIZER + name: value for name, value in self.optimizer.state_dict().items()}
        tensors = {**self.model.state_dict(), **momenta}
        self._check_finite(tensors)
        metadata = {
            **self._model_metadata(),
            "config": self.config.model_dump_json(),
            "steps_per_epoch": str(self.steps_per_epoch),
            "position": json.dumps(asdict(self.position)),
        }
        with _refusal_explained(self.last):
            save_tensors(self.last, tensors, metadata, overwrite=True)
        self._saved_at = time.monotonic()

    def _save_model(self) -> None:
        weights = self.model.state_dict()
        self._check_finite(weights)
        with _refusal_explained(self.best):
            save_tensors(self.best, weights, self._model_metadata(), overwrite=True)

    def _check_finite(self, tensors: dict[str, Tensor]) -> None:
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise self._divergence("a weight or its average gradient")

    def _model_metadata(self) -> dict[str, str]:
        return {
            "architecture": self.config.architecture,
            "sizes": json.dumps(self.sizes),
            "title": self.config.title or f"trained on {self.source.describe()}",
            "noise": self.config.corruption or "recorded pairs",
            "validation_psnr": f"{self.position.best_psnr:.2f}",
        }

    def _write_config(self) -> None:
        path = self.folder / "config.json"
        with _refusal_explained(path), replacing(path, overwrite=True) as temporary:
            temporary.write_text(self.config.model_dump_json(indent=2) + "\n")

    def _write_history(self) -> None:
        rows = [asdict(row) for row in self.position.history]
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = self.folder / "history.csv"
        with _refusal_explained(path), replacing(path, overwrite=True) as temporary:
            temporary.write_text(text.getvalue())

    def _draw_curves(self) -> None:
        rows = [asdict(row) for row in self.position.history]
        path = self.folder / "curves.png"
        with _refusal_explained(path):
            figures.save_curves(rows, path, overwrite=True)
        self._drawn_at = time.monotonic()

    def _show(self, progress: Progress, task: TaskID) -> None:
        self._shown_at = time.monotonic()
        position = self.position
        loss = f"loss {position.loss_sum / position.pairs:.5f}" if position.pairs else ""
        value = f"{position.history[-1].validation_psnr:.2f} dB" if position.history else ""
        progress.update(
            task,
            completed=position.epoch * self.steps_per_epoch + position.step,
            description=f"epoch {min(position.epoch + 1, self.config.epochs)}/{self.config.epochs}",
            loss=loss,
            psnr=value,
        )


def _sizes_for(config: TrainingConfig, source: PairSource) -> dict[str, int]:
    asked = config.sizes.get("channels", source.channels)
    if asked != source.channels:
        raise UserError(
            f"the network is to have {asked} channels, but the images have {source.channels}; "
            "leave the size channels out"
        )
    return networks.sizes_of(config.architecture, {**config.sizes, "channels": asked})


def _optimizer(config: TrainingConfig, parameters: list[Tensor]) -> Optimizer:
    if config.optimizer == "sgd":
        return SGD(parameters, config.learning_rate, config.momentum)
    return (Adam if config.optimizer == "adam" else AdamW)(parameters, config.learning_rate)


def _schedule(config: TrainingConfig, steps: int) -> Schedule:
    if config.schedule == "constant":
        return schedules.constant(config.learning_rate)
    if config.schedule == "ramp-down":
        return linear_ramp_down(config.learning_rate, steps)
    return cosine(config.learning_rate, steps)


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        return load_tensors(path)
    except (OSError, ValueError) as error:
        raise UserError(f"can't go on with this run: {error}") from error


def stored_config(folder: str | Path) -> TrainingConfig:
    """The configuration of the run kept in `folder`.

    Raises:
        UserError: there is no run, or its checkpoint is damaged.
    """
    path = Path(folder) / "last.safetensors"
    _, metadata = _read_checkpoint(path)
    try:
        return TrainingConfig.model_validate_json(metadata["config"])
    except (KeyError, ValidationError) as error:
        raise UserError(f"{path} is not a checkpoint of a training run") from error


@contextmanager
def _refusal_explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"can't write {path}: {error.strerror or error}; what was saved before is still there"
        ) from error


@contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM) into a request to stop; the second one interrupts.

    Outside the main thread, where Python takes no signals, nothing is ever requested.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def request(number: int, frame: object) -> None:
        requested.set()
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in previous:
        signal.signal(number, request)
    try:
        yield requested.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[psnr]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
        disable=not console.is_terminal,
    )


def _tracked_on(console: Console) -> Track:
    def track(items: Iterable, description: str, total: int) -> Iterable:
        return rich_track(
            items, description, total, console=console, disable=not console.is_terminal
        )

    return track

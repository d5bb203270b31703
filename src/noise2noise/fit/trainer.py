"""The Trainer: mini-batches, validation, checkpoints, and a resume that is exact to the bit.

Everything random follows from (seed, epoch, position), so a run that was stopped and resumed takes
exactly the steps it would have taken. `folder.py` lists the files of a run.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from chainrule import (
    L1,
    MSE,
    SGD,
    Adam,
    AdamW,
    Average,
    LogMSE,
    cosine,
    fuse,
    linear_ramp_down,
    schedules,
)
from chainrule.optimizers import Optimizer
from chainrule.schedules import Schedule
from noise2noise import networks
from noise2noise.data import PairSource, ValidationSet, batches, steps_per_epoch
from noise2noise.data.drawing import Drawers
from noise2noise.data.minibatches import THREADS, Plan, drawing
from noise2noise.denoiser import Denoiser
from noise2noise.device import batches_on, infer, resolved
from noise2noise.errors import DivergedError, UserError
from noise2noise.fit.checkpoint import Checkpoint
from noise2noise.fit.configuration import MAY_CHANGE, TrainingConfig
from noise2noise.fit.folder import RunFolder
from noise2noise.fit.gaps import WhereKnown, psnr_where_known
from noise2noise.fit.observer import Epoch, Observer, Position
from noise2noise.fit.sources import open_data
from noise2noise.fit.team import Team
from noise2noise.fit.training_step import Steps
from noise2noise.guidance import Guidance

SAVE_SECONDS = 120
"""A checkpoint is written at least so often, in the middle of an epoch too."""

DRAW_SECONDS = 10
"""The curves are drawn at most so often, and when training ends or is stopped: drawing them takes
longer than some epochs do."""

EPOCH_STEPS = 100
"""Small data are gone over several times in an epoch, so that it has so many steps: what comes
after each, validation and files, would take longer than the steps do."""

USUAL_LENGTH, LENGTH_FROM_MODEL = (30, 6000), (10, 1500)
"""Passes over the data, and steps at least: a network takes as many to learn however few images
there are. A model that is begun with knows most already."""

LOSSES = {"mse": MSE, "log-mse": LogMSE, "l1": L1}
"""By the names that TrainingConfig takes."""


class TrainingStopped(Exception):  # noqa: N818 (a request, not an error)
    """Training was stopped from outside; everything needed to go on has been saved."""


class Trainer:
    """Trains a network on pairs of noisy images and keeps the run in a folder.

    Arguments:
        config: what to do.
        folder: where the run is kept; created if need be.
        observer: is told what happens, and may stop it; silent by default.
        data: what `open_data` makes of the configuration, where that was done already.
        passes: how often an epoch goes over the data, where that isn't to follow from their number;
            a run that is gone on with keeps it.

    Attributes:
        device: what computes.
        source, validation: what is learned from, and measured on.
        epochs, passes: how long to train, and how often an epoch goes over the data.
        model, sizes: the network and all its sizes.
        position: where the run stands.

    Raises:
        UserError: the data or the device can't be used.
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: str | Path,
        observer: Observer | None = None,
        data: tuple[PairSource, ValidationSet] | None = None,
        passes: int | None = None,
    ) -> None:
        self.config, self.files = config, RunFolder(folder)
        self.observer = Observer() if observer is None else observer
        self.device = resolved(config.device)
        self.source, self.validation = data or open_data(config, self.observer.track)
        self.sizes = sizes_for(config, self.source)
        with networks.seeded(config.seed):
            self.model = fuse(networks.build(config.architecture, **self.sizes))
        if config.start_from is not None:
            networks.copy_weights(Denoiser.load(config.start_from, "cpu").model, self.model)
        self.model.to(self.device)
        loss = LOSSES[config.loss]()
        self.loss = WhereKnown(loss) if self.source.gaps else loss
        self.team = Team(self.model, config.accumulate, config.shard_optimizer)
        self.optimizer = optimizer_of(config, self.team.stepped)
        self.steps = Steps(self.model, self.loss, self.optimizer, config.clip_norm)
        self.average = None if config.ema is None else Average(self.model, config.ema)
        self._whole = self.source
        self._plan(passes or _passes(config, len(self.source)))
        self.position = Position()
        for note in self.source.notes:
            self.observer.on_message(note)
        self._saved_at = time.monotonic()
        self._drawn_at = -math.inf
        self._pictured: np.ndarray | None = None  # what the last validation made of its first image

    def _plan(self, passes: int) -> None:
        """How long to train, with epochs that go over the data so many times."""
        config = self.config
        self.passes, self.source = passes, self._whole.repeated(passes)
        self.steps_per_epoch = steps_per_epoch(self.source, config.batch_size)
        self.epochs = config.epochs or _epochs(config, self.steps_per_epoch, passes)
        self.schedule = _schedule(config, self.steps_per_epoch * self.epochs)

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.files.path

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.files.last

    @property
    def best(self) -> Path:
        """The model with the best validation PSNR."""
        return self.files.best

    def resume(self, restarted: bool = False) -> None:
        """Take up the run where its last checkpoint stands.

        Arguments:
            restarted: whether this is because a process was lost; the history counts that.

        The observer is told if this process computes otherwise than the one before: the steps to
        come are then as good, but not the same to the bit.

        Raises:
            UserError: there is no checkpoint, it is damaged, or it is of a run with other options
                or data than this one's.
        """
        checkpoint = self.files.read_checkpoint()
        try:
            self._plan(int(checkpoint.facts.get("passes", "1")))
            self._check_same_run(checkpoint)
            state = dict(checkpoint.position)
            history = [Epoch(**line) for line in state.pop("history")]
            position = Position(**state, history=history)
            own = self.team.own_state(checkpoint.optimizer)
            checkpoint.restore(self.model, self.optimizer, own, self.average)
        except UserError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.last} is not a checkpoint of a training run") from error
        begun = position.epoch + (position.step > 0)
        if self.epochs < begun:
            raise UserError(
                f"the run in {self.folder} is in epoch {begun} already, and {self.epochs} are "
                f"asked for; give --epochs {begun} at least, or leave it out"
            )
        position.restarts += restarted
        self.position = position
        warning = checkpoint.warning(self.device)
        if warning:
            self.observer.on_message(warning)

    def _check_same_run(self, checkpoint: Checkpoint) -> None:
        stored = TrainingConfig.model_validate_json(checkpoint.facts["config"])
        for name, wanted in self.config:
            kept = getattr(stored, name)
            if name not in MAY_CHANGE and kept != wanted:
                raise UserError(
                    f"the run in {self.folder} has {name} {kept!r}, not {wanted!r}; "
                    "go on with the same, or start a new run in another folder"
                )
        steps = int(checkpoint.facts["steps_per_epoch"])
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
            TrainingStopped: the observer asked for it; the run has been saved.
            UserError: the folder can't be written, or another process writes there.
        """
        files = self.files.open() if self.team.leads else nullcontext()
        with files, self._precise_enough(), self._drawing() as drawers:
            self._fit(drawers)

    def _drawing(self) -> AbstractContextManager[Drawers | None]:
        """The processes that draw batches, where a GPU computes: it would wait for two threads."""
        if self.device.type == "cpu":
            return nullcontext()
        config = self.config
        plan = Plan(self.source, config.batch_size, config.seed, self.team.share)
        return drawing(plan, config.workers or _cores())

    @contextmanager
    def _precise_enough(self) -> Iterator[None]:
        """On a GPU float32 is multiplied through TF32, unless something else was asked for: noise
        of a thousandth part in a gradient teaches the same in a third of the time."""
        before = torch.get_float32_matmul_precision()
        if self.device.type == "cuda" and before == "highest":
            torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)

    def _fit(self, drawers: Drawers | None) -> None:
        if self.team.leads:
            if self.position == Position():
                self.files.begin()
            told = self.config.model_copy(update={"epochs": self.epochs})
            self.files.write_config(told.model_dump_json(indent=2) + "\n")
        if self.position == Position():
            self._save()
        self.observer.on_step(self.position)
        while self.position.epoch < self.epochs:
            self._train_epoch(drawers)
            self._finish_epoch()
            self.observer.on_step(self.position)

    # -- one epoch --------------------------------------------------------------------------------

    def _train_epoch(self, drawers: Drawers | None) -> None:
        config, position = self.config, self.position
        started, before = time.monotonic(), position.seconds
        epoch = batches(
            self.source,
            config.batch_size,
            config.seed,
            position.epoch,
            position.step,
            config.workers or THREADS,
            self.team.share,
            drawers,
        )
        with closing(epoch):
            for noisy, target in batches_on(self.device, epoch):
                self._step(noisy, target)
                now = time.monotonic()
                position.seconds = before + now - started
                self.observer.on_step(position)
                overdue = self.team.leads and now - self._saved_at > SAVE_SECONDS
                asked = self.team.leads and self.files.is_asked_to_stop()
                wishes = self.team.agree(self.observer.should_stop() or asked, overdue)
                if wishes.stop:
                    self._stop()
                if wishes.save:
                    self._save()

    def _step(self, noisy: Tensor, target: Tensor) -> None:
        position = self.position
        self.optimizer.lr = self.schedule(self._steps_done())
        done = position.step * self.config.batch_size
        batch = min(self.config.batch_size, len(self.source) - done)
        loss = self.team.step(self.steps, noisy, target, batch)
        if not math.isfinite(loss):
            raise self._divergence("the loss")
        if self.average is not None:
            self.average.update()
        position.step += 1
        position.loss_sum += loss * batch
        position.pairs += batch

    def _stop(self) -> None:
        self._save()
        if self.position.history:
            self._draw_curves()
        raise TrainingStopped(f"stopped in epoch {self.position.epoch + 1}")

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
        with self._averaged():
            value = self.validate()
        done = self._steps_done()
        row = Epoch(
            epoch=position.epoch + 1,
            step=done,
            seconds=round(position.seconds, 4),
            learning_rate=self.schedule(done - 1),
            training_loss=position.loss_sum / position.pairs,
            validation_psnr=value,
            restarts=position.restarts,
        )
        improved = value > position.best_psnr
        self.position = Position(
            epoch=row.epoch,
            best_psnr=max(value, position.best_psnr),
            history=[*position.history, row],
        )
        # The checkpoint to go on from comes last: whatever stops this halfway is done again.
        if improved:
            with self._averaged():
                self._save_model()
        if self.team.leads:
            self.files.write_history(self.position.history)
            pair = self.validation.pairs[0]
            if self._pictured is not None:
                self.files.keep_picture(row.epoch, self.epochs, pair, self._pictured)
        finished = row.epoch == self.epochs
        if finished or time.monotonic() - self._drawn_at > DRAW_SECONDS:
            self._draw_curves()
        self._save()
        self.observer.on_epoch(row, improved)

    def _averaged(self) -> AbstractContextManager[None]:
        """The weights that are validated and kept as the run's model."""
        return nullcontext() if self.average is None else self.average.applied()

    def validate(self) -> float:
        """Mean PSNR over the validation images, in dB. Predictions are clipped to [0, 1] where the
        references are clean; noisy references leave that range themselves.
        """
        self.model.eval()
        values: list[float] = []
        guidances = self.validation.guidances or [None] * len(self.validation.pairs)
        told = [*zip(self.validation.pairs, guidances, strict=True)]
        for (noisy, reference), guidance in told[self.team.share[0] :: self.team.share[1]]:
            prediction = self._prediction(noisy, guidance)
            if self.validation.reference_is_clean:
                prediction = np.clip(prediction, 0, 1)
            if not np.isfinite(prediction).all():
                raise self._divergence("a prediction")
            if not values:
                self._pictured = prediction
            values.append(psnr_where_known(prediction, reference))
        self.model.train()
        return self.team.mean(sum(values), len(values))

    def _prediction(self, noisy: np.ndarray, guidance: Guidance | None) -> np.ndarray:
        x = noisy if guidance is None else guidance.input(noisy, 1)
        y = infer(self.model, x[None])[0]
        return y if guidance is None else guidance.result(y)

    # -- what is kept -----------------------------------------------------------------------------

    def _save(self) -> None:
        facts = {
            **self._model_facts(),
            "config": self.config.model_dump_json(),
            "steps_per_epoch": str(self.steps_per_epoch),
            "passes": str(self.passes),
        }
        self._saved_at = time.monotonic()
        state = self.team.whole_state(self.optimizer)
        checkpoint = Checkpoint.of(self.model, state, asdict(self.position), facts, self.average)
        self._check_finite(checkpoint.tensors())
        if self.team.leads:
            self.files.write_checkpoint(checkpoint)

    def _save_model(self) -> None:
        weights = self.model.state_dict()
        self._check_finite(weights)
        if self.team.leads:
            self.files.write_model(weights, self._model_facts())

    def _draw_curves(self) -> None:
        if self.team.leads:
            self.files.draw_curves(self.position.history)
        self._drawn_at = time.monotonic()

    def _check_finite(self, tensors: dict[str, Tensor]) -> None:
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise self._divergence("a weight or its average gradient")

    def _recorded_facts(self) -> dict[str, str]:
        """What the model is to know of the images that it learned from."""
        if self.source.values is None:
            return {}
        facts = {"values": json.dumps(self.source.values)}
        noise = self.source.recorded_noise()
        return facts if noise is None else {**facts, "profile": noise.to_json()}

    def _model_facts(self) -> dict[str, str]:
        return {
            **self._recorded_facts(),
            "architecture": self.config.architecture,
            "sizes": json.dumps(self.sizes),
            "title": self.config.title or f"trained on {self.source.describe()}",
            "noise": self.config.corruption or "recorded pairs",
            "validation_psnr": f"{self.position.best_psnr:.2f}",
        }


def _cores() -> int:
    """The processor's, shared out among the processes that train on this machine."""
    return max((os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)


def _passes(config: TrainingConfig, crops: int) -> int:
    """How often an epoch goes over so many crops."""
    return 1 if config.epochs is not None else -(-EPOCH_STEPS * config.batch_size // crops)


def _epochs(config: TrainingConfig, steps: int, passes: int) -> int:
    """How many epochs of so many steps are enough, where nobody says."""
    rounds, least = USUAL_LENGTH if config.start_from is None else LENGTH_FROM_MODEL
    return max(-(-rounds // passes), -(-least // steps))


def sizes_for(config: TrainingConfig, source: PairSource) -> dict[str, int]:
    """All sizes of the network that is to learn from a source.

    Raises:
        UserError: another number of channels is asked for than the images have.
    """
    asked = config.sizes.get("channels", source.channels)
    if asked != source.channels:
        raise UserError(
            f"the network is to have {asked} channels, but the images have {source.channels}; "
            "leave the size channels out"
        )
    return networks.sizes_of(config.architecture, {**config.sizes, "channels": asked})


def optimizer_of(config: TrainingConfig, parameters: list[Tensor]) -> Optimizer:
    """What steps these parameters."""
    if config.optimizer == "sgd":
        return SGD(parameters, config.learning_rate, config.momentum)
    return (Adam if config.optimizer == "adam" else AdamW)(parameters, config.learning_rate)


def _schedule(config: TrainingConfig, steps: int) -> Schedule:
    falling = _falling(config, steps)
    return schedules.warmup(falling, config.warmup) if config.warmup else falling


def _falling(config: TrainingConfig, steps: int) -> Schedule:
    if config.schedule == "constant":
        return schedules.constant(config.learning_rate)
    if config.schedule == "ramp-down":
        return linear_ramp_down(config.learning_rate, steps)
    return cosine(config.learning_rate, steps)


def stored_config(folder: str | Path) -> TrainingConfig:
    """The configuration of the run kept in `folder`.

    Raises:
        UserError: there is no run, or its checkpoint is damaged.
    """
    files = RunFolder(folder)
    checkpoint = files.read_checkpoint()
    try:
        return TrainingConfig.model_validate_json(checkpoint.facts["config"])
    except (KeyError, ValidationError) as error:
        raise UserError(f"{files.last} is not a checkpoint of a training run") from error

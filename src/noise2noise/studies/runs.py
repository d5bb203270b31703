"""Training runs: what one is (`Spec`), doing it (`train`), and what it leaves behind (`Result`).

A run is a folder named after its content, so that whoever asks for the same run gets the same one:

    last.safetensors        everything needed to go on, written after every epoch
    best.safetensors        the weights of the epoch with the best validation PSNR
    epoch-10.safetensors    the weights after an epoch that a study wants to look at
    result.json             the curves, once the run is finished

The loop is not `noise2noise.fit.Trainer`: the reports' recipes know no augmentation, their
curves need more than a validation PSNR, and their networks are so small that making each pair by
itself would take longer than the network's step. Here a batch is one indexing of all the pairs.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from chainrule import MSE, SGD, Adam, Module, fuse
from chainrule.initializers import initialize
from chainrule.optimizers import Optimizer
from chainrule.serialization import replacing, save_tensors
from noise2noise import networks
from noise2noise.data import Track
from noise2noise.device import CPU, home
from noise2noise.errors import UserError
from noise2noise.fit import Checkpoint, Steps
from noise2noise.metrics import mean_psnr

PAIRS = 50_000
"""Pairs that the course gave its students to train on."""

SAMPLE = 500
"""So many training pairs are looked at after each epoch, for the training curves."""

_BATCH_OF_INFERENCE = 100


@dataclass(frozen=True)
class Spec:
    """One training run, wholly described: equal specs are one run.

    Attributes:
        architecture, sizes: see `noise2noise.networks`; all sizes, sorted by name.
        optimizer, lr, momentum: "sgd" or "adam"; momentum is SGD's. The learning rate is constant.
        batch, epochs: as everywhere; the last batch of an epoch may be smaller.
        pairs: the first so many of the pairs are learned from.
        weight_init: see `chainrule.initializers`.
        seed: of the weights and the order of the pairs.
        snapshots: epochs after which the weights are kept.
    """

    architecture: str
    sizes: tuple[tuple[str, int], ...]
    optimizer: Literal["sgd", "adam"]
    lr: float
    momentum: float
    batch: int
    epochs: int
    pairs: int
    weight_init: str = "normal"
    seed: int = 0
    snapshots: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """The name of the run's folder."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.architecture}-{digest[:10]}"

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-self.pairs // self.batch)


def recipe(
    architecture: str,
    optimizer: Literal["sgd", "adam"],
    lr: float,
    batch: int,
    epochs: int,
    momentum: float = 0.0,
    pairs: int = PAIRS,
    snapshots: tuple[int, ...] = (),
    sizes: Mapping[str, int] | None = None,
) -> Spec:
    """A Spec with the architecture's default sizes filled in."""
    complete = networks.sizes_of(architecture, sizes or {})
    return Spec(
        architecture=architecture,
        sizes=tuple(sorted(complete.items())),
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        batch=batch,
        epochs=epochs,
        pairs=pairs,
        snapshots=snapshots,
    )


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch.

    Attributes:
        epoch: counted from 1.
        seconds: of training, without what is measured afterwards.
        loss: mean squared error against the noisy targets, over the epoch's batches as they came.
        training_mse, training_psnr: of the first `SAMPLE` pairs, against the noisy targets.
        validation_mse, validation_psnr: against clean images; PSNR in dB, mean over images.
    """

    epoch: int
    seconds: float
    loss: float
    training_mse: float
    training_psnr: float
    validation_mse: float
    validation_psnr: float


@dataclass(frozen=True)
class Result:
    """What a finished run leaves behind.

    Attributes:
        parameters: learned numbers of the network.
        epochs: the curves; fewer than asked for where the run diverged.
        diverged: the epoch in which the loss was no longer a finite number, or None.
        finished: the day.
        threads: that computed it.
    """

    parameters: int
    epochs: list[Epoch]
    diverged: int | None
    finished: str
    threads: int

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


@dataclass(frozen=True)
class Images:
    """What runs learn from and are measured on: uint8 `(N, 3, 32, 32)`.

    Attributes:
        first, second: the two sides of the noisy pairs; the first is the input.
        noisy, clean: the validation images.
    """

    first: Tensor
    second: Tensor
    noisy: Tensor
    clean: Tensor


def result_of(spec: Spec, runs: Path) -> Result | None:
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


def train(
    spec: Spec,
    images: Images,
    runs: Path,
    track: Track,
    say: Callable[[str], None],
    device: torch.device = CPU,
) -> Result:
    """The run's result; trains for it unless it is there, from where the run stopped.

    After an interruption the epoch that was cut short is done again, and every number is what it
    would have been without: the order of the pairs follows from (seed, epoch).

    Arguments:
        spec: what to do.
        images: at least `spec.pairs` pairs.
        runs: the folder that holds the runs' folders.
        track, say: where progress and a line for each epoch go.
        device: what computes.

    Raises:
        UserError: the run's folder can't be written, or a file in it is damaged.
    """
    done = result_of(spec, runs)
    if done is not None:
        return done
    try:
        (runs / spec.key).mkdir(parents=True, exist_ok=True)
        run = _Run(spec, images, runs / spec.key, say, device)
        while len(run.epochs) < spec.epochs and run.diverged is None:
            run.train_epoch(track)
            say(run.line())
        return run.finish()
    except OSError as error:
        raise UserError(f"can't write {runs / spec.key}: {error.strerror or error}") from error


def new_network(spec: Spec) -> Module:
    """The spec's network as its run begins."""
    with networks.seeded(spec.seed):
        model = networks.build(spec.architecture, **dict(spec.sizes))
        if spec.weight_init != "normal":  # which is what layers begin with
            for name, value in model.state_dict().items():
                if name.endswith("weight"):
                    initialize(value, spec.weight_init)
                if name.endswith("bias"):
                    value.zero_()
    return model


def new_optimizer(spec: Spec, model: Module) -> Optimizer:
    """The spec's optimizer for its network."""
    if spec.optimizer == "adam":
        return Adam(model.parameters(), spec.lr)
    return SGD(model.parameters(), spec.lr, spec.momentum)


class _Run:
    """A run at work in its folder."""

    def __init__(
        self,
        spec: Spec,
        images: Images,
        folder: Path,
        say: Callable[[str], None],
        device: torch.device,
    ) -> None:
        self.spec, self.folder, self.images, self.device = spec, folder, images, device
        sides = (images.first[: spec.pairs], images.second[: spec.pairs])
        self.first, self.second = (side.to(device) for side in sides)  # bytes: all of them fit
        self.model = new_network(spec).to(device)
        self.optimizer = new_optimizer(spec, self.model)
        self.steps = Steps(fuse(self.model), MSE(), self.optimizer)
        self.epochs: list[Epoch] = []
        self.diverged: int | None = None
        if self.last.exists():
            self._resume(say)

    @property
    def last(self) -> Path:
        return self.folder / "last.safetensors"

    def _resume(self, say: Callable[[str], None]) -> None:
        try:
            checkpoint = Checkpoint.read(self.last)
            self.epochs = _epochs(checkpoint.position["epochs"])
            checkpoint.restore(self.model, self.optimizer, checkpoint.optimizer)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.last} is damaged; remove it to begin that run anew: {error}"
            ) from error
        warning = checkpoint.warning(self.device)
        if warning:
            say(f"{self.spec.key}: {warning}")

    def train_epoch(self, track: Track) -> None:
        epoch, started, total = len(self.epochs) + 1, time.perf_counter(), 0.0
        order = np.random.default_rng((self.spec.seed, epoch)).permutation(self.spec.pairs)
        chunks = torch.from_numpy(order).to(self.device).split(self.spec.batch)
        title = f"{self.spec.architecture} {epoch}/{self.spec.epochs}"
        for chosen in track(chunks, title, len(chunks)):
            x, y = unit(self.first[chosen]), unit(self.second[chosen])
            loss = self.steps(x, y)
            if not math.isfinite(loss):
                self.diverged = epoch
                return
            total += loss * len(chosen)
        self._finish_epoch(epoch, time.perf_counter() - started, total / self.spec.pairs)

    def _finish_epoch(self, epoch: int, seconds: float, loss: float) -> None:
        training = measure(self.model, self.first[:SAMPLE], self.second[:SAMPLE])
        validation = measure(self.model, self.images.noisy, self.images.clean)
        if not math.isfinite(validation[0]):
            self.diverged = epoch
            return
        self.epochs.append(Epoch(epoch, seconds, loss, *training, *validation))
        names = [f"epoch-{epoch}"] if epoch in self.spec.snapshots else []
        if validation[1] >= max(each.validation_psnr for each in self.epochs):
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
            "title": f"{self.spec.architecture}, trained by its report's recipe",
            "noise": "subpixel:6",
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
        )
        stored = {"spec": asdict(self.spec), "result": asdict(result)}
        with replacing(self.folder / "result.json", overwrite=True) as temporary:
            temporary.write_text(json.dumps(stored, indent=1) + "\n")
        return result


def unit(images: Tensor) -> Tensor:
    """uint8 to float32 in [0, 1]."""
    return images.float().div_(255)


def predict(model: Module, images: Tensor) -> Tensor:
    """The network's predictions for uint8 images: float32 in [0, 1], on the CPU."""
    model, device, chunks = fuse(model), home(model), images.split(_BATCH_OF_INFERENCE)
    made = [model.infer(unit(chunk.to(device))).cpu() for chunk in chunks]
    return torch.cat(made).clamp_(0, 1)


def measure(model: Module, inputs: Tensor, references: Tensor) -> tuple[float, float]:
    """(mean squared error, PSNR in dB as mean over images) of the predictions for `inputs`.

    NaN for both where a prediction is not finite.
    """
    prediction, wanted = predict(model, inputs), unit(references.cpu())
    if not prediction.isfinite().all():
        return math.nan, math.nan
    error = float((prediction.double() - wanted).square().mean())
    return error, mean_psnr(prediction, wanted)

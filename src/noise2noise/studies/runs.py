"""The runs of the reports' recipes: what one is (`Spec`), and doing it (`train`).

Their networks are so small that making each pair by itself would take longer than the network's
step. Here a batch is one indexing of all the pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from chainrule import MSE, SGD, Adam, Module, fuse
from chainrule.initializers import initialize
from chainrule.optimizers import Optimizer
from noise2noise import networks
from noise2noise.data import Track
from noise2noise.device import CPU, home
from noise2noise.metrics import mean_psnr
from noise2noise.studies.run import BaseSpec, Result, Run, complete

PAIRS = 50_000
"""Pairs that the course gave its students to train on."""

SAMPLE = 500
"""So many training pairs are looked at after each epoch, for the training curves."""

_BATCH_OF_INFERENCE = 100


@dataclass(frozen=True, kw_only=True)
class Spec(BaseSpec):
    """One run of a report's recipe, wholly described.

    Attributes:
        optimizer, lr, momentum: "sgd" or "adam"; momentum is SGD's. The learning rate is constant.
        pairs: the first so many of the pairs are learned from.
        weight_init: see `chainrule.initializers`.
    """

    optimizer: Literal["sgd", "adam"]
    lr: float
    momentum: float
    pairs: int
    weight_init: str = "normal"

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch."""
        return -(-self.pairs // self.batch)

    @property
    def seen(self) -> int:
        return self.pairs * self.epochs


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
    filled = networks.sizes_of(architecture, sizes or {})
    return Spec(
        architecture=architecture,
        sizes=tuple(sorted(filled.items())),
        optimizer=optimizer,
        lr=lr,
        momentum=momentum,
        batch=batch,
        epochs=epochs,
        pairs=pairs,
        snapshots=snapshots,
    )


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


def train(
    spec: Spec,
    images: Images,
    runs: Path,
    track: Track,
    say: Callable[[str], None],
    device: torch.device = CPU,
) -> Result:
    """The run's result; trains for it unless it is there: see `complete`.

    Arguments:
        spec: what to do.
        images: at least `spec.pairs` pairs.
        runs: the folder that holds the runs' folders.
        track, say: where progress and a line for each epoch go.
        device: what computes.

    Raises:
        UserError: the run's folder can't be written, or a file in it is damaged.
    """
    return complete(spec, runs, lambda folder: _Run(spec, images, folder, say, device), track, say)


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


class _Run(Run[Spec]):
    """A run at work; the order of the pairs follows from (seed, epoch)."""

    def __init__(
        self,
        spec: Spec,
        images: Images,
        folder: Path,
        say: Callable[[str], None],
        device: torch.device,
    ) -> None:
        self.images, model = images, new_network(spec).to(device)
        sides = (images.first[: spec.pairs], images.second[: spec.pairs])
        self.first, self.second = (side.to(device) for side in sides)  # bytes: all of them fit
        super().__init__(spec, folder, say, model, new_optimizer(spec, model), MSE())

    def chunks(self, epoch: int) -> tuple[Tensor, ...]:
        order = np.random.default_rng((self.spec.seed, epoch)).permutation(self.spec.pairs)
        return torch.from_numpy(order).to(self.first.device).split(self.spec.batch)

    def batch(self, chunk: Tensor) -> tuple[Tensor, Tensor]:
        return unit(self.first[chunk]), unit(self.second[chunk])

    def look(self) -> dict[str, float]:
        training = measure(self.model, self.first[:SAMPLE], self.second[:SAMPLE])
        validation = measure(self.model, self.images.noisy, self.images.clean)
        names = ("training_mse", "training_psnr", "validation_mse", "validation_psnr")
        return dict(zip(names, (*training, *validation), strict=True))

    def facts(self) -> dict[str, str]:
        title = f"{self.spec.architecture}, trained by its report's recipe"
        return {"title": title, "noise": "subpixel:6"}


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

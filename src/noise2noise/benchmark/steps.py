"""What is measured: recipes, and one training step or inference pass of each contender."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import torch
from torch import Tensor

from chainrule import MSE, SGD, Adam, CaptureError, Module, capture, fuse, use_backend
from noise2noise import networks
from noise2noise.benchmark import twins
from noise2noise.benchmark.twins import Step
from noise2noise.device import CPU
from noise2noise.fit import Steps, step

OURS = "chainrule"
REFERENCE = "reference"
CONTENDERS = (OURS, REFERENCE, *twins.VARIANTS)
"""Ours as it comes, our reference backend, and PyTorch three times: `twins.VARIANTS`."""

TASKS = ("training", "inference")

LEARNING_RATE = 1e-6
"""In place of the recipe's. A step costs the same; but hundreds of true steps on one batch of
random numbers kill activations, and the denormal numbers that dying ones go through cost a hundred
times as much as others: no training on images does that."""

OPTIMIZERS = {"sgd": SGD, "adam": Adam}


class Recipe(NamedTuple):
    """How a network is trained: batch sizes, side of the images, the optimizer; and its sizes where
    they aren't the usual ones."""

    batches: tuple[int, ...]
    side: int
    optimizer: str
    options: dict[str, float]
    sizes: dict[str, int] = {}  # noqa: RUF012 (of a tuple, which nobody changes)


RECIPES = {
    "zhao": Recipe((16, 128), 32, "sgd", {"lr": 0.01, "momentum": 0.9}),
    "hilsberg": Recipe((50, 128), 32, "sgd", {"lr": 2.0}),
    "coldenhoff": Recipe((16, 128), 32, "sgd", {"lr": 0.5, "momentum": 0.9}),
    "mery": Recipe((8, 128), 32, "sgd", {"lr": 0.1}),
    "mery-skip": Recipe((8, 128), 32, "adam", {"lr": 1e-3}),
    "unet": Recipe((4, 16), 64, "adam", {"lr": 1e-3}),
}
"""The five networks as their reports train them, and at batch 128. The U-Net with the batch of its
paper (Lehtinen et al. 2018), and as `noise2noise train` has it by default: 16 crops of 64 x 64."""


def network(name: str) -> Module:
    """The network `name` with the same random weights at every call."""
    with networks.seeded(0):
        return networks.build(name, **RECIPES[name].sizes)


def images(name: str, batch: int) -> tuple[Tensor, Tensor]:
    """Noisy inputs and targets for it: each (batch, 3, side, side), uniform in [0, 1]."""
    shape = (batch, 3, RECIPES[name].side, RECIPES[name].side)
    random = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=random), torch.rand(shape, generator=random)


def step_of(
    contender: str,
    name: str,
    task: str,
    batch: int,
    device: torch.device = CPU,
    dtype: torch.dtype = torch.float32,
) -> Step:
    """What `contender` does once in `task` with the network `name`; nothing is run yet."""
    model, recipe = network(name).to(device, dtype), RECIPES[name]
    x, y = (image.to(device, dtype) for image in images(name, batch))
    recipe = recipe._replace(options={**recipe.options, "lr": LEARNING_RATE})
    if contender in twins.VARIANTS and task == "inference":
        return twins.inference(model, x, contender)
    if contender in twins.VARIANTS:
        return twins.training_step(model, x, y, recipe.optimizer, recipe.options, contender)
    if contender == REFERENCE:
        return _by_the_reference(_our_step(model, x, y, recipe, task))
    return _our_step(fuse(model), x, y, recipe, task, captured=True)


def _our_step(
    model: Module,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    task: str,
    captured: bool = False,
) -> Step:
    if task == "inference":
        return _inference(model, x)
    loss, descent = MSE(), OPTIMIZERS[recipe.optimizer](model.param(), **recipe.options)
    if not captured:
        return lambda: step(model, loss, descent, x, y)
    steps = Steps(model, loss, descent)  # as the Trainer has it
    return lambda: steps(x, y)


def _inference(model: Module, x: Tensor) -> Step:
    model.eval()
    if x.device.type == "cuda":  # where launching kernels one by one takes longer than they do
        with contextlib.suppress(CaptureError):
            captured = capture(model.infer, x)
            return lambda: captured(*captured.inputs)
    return lambda: model.infer(x)


def _by_the_reference(quick: Step) -> Step:
    def slow_step() -> object:
        with use_backend("reference"):
            return quick()

    return slow_step

"""One training step, the same for the Trainer, the studies, the course's models and benchmarks."""

from __future__ import annotations

import math

from torch import Tensor

from chainrule import Module, clip_gradients
from chainrule.losses import Loss
from chainrule.optimizers import Optimizer


def step(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    x: Tensor,
    y: Tensor,
    clip_norm: float | None = None,
) -> float:
    """Forward, backward and update: move the weights so that `model(x)` comes nearer to `y`.

    A loss that is not finite changes no weight: the caller, who knows what to say, finds the model
    and the optimizer as they were.

    Args:
        model: as `chainrule.fuse` returns it, to be quick.
        loss: of (prediction, target).
        optimizer: over the model's parameters.
        x, y: inputs and targets, (N, C, H, W).
        clip_norm: the largest joint norm of the gradients; larger ones are scaled down to it.

    Returns:
        The loss before the update.
    """
    optimizer.zero_grad()
    value = float(loss.forward(model.forward(x), y))
    if not math.isfinite(value):
        return value
    model.backward(loss.backward(), input_gradient=False)
    if clip_norm is not None:
        clip_gradients(optimizer.parameters, clip_norm)
    optimizer.step()
    return value

"""One training step, the same for the Trainer, the studies, the course's models and benchmarks."""

from __future__ import annotations

import contextlib
import math

from torch import Tensor

from chainrule import Captured, CaptureError, Module, capture, clip_gradients
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
    if math.isfinite(value):
        model.backward(loss.backward(), input_gradient=False)
        _update(optimizer, clip_norm)
    return value


class Steps:
    """`step` for batch after batch, to the bit: passes of a shape that comes again and again are
    captured, which saves what Python takes between the kernels. See `chainrule.capture`.

    Args:
        model, loss, optimizer, clip_norm: as of `step`, and attributes.
    """

    def __init__(
        self, model: Module, loss: Loss, optimizer: Optimizer, clip_norm: float | None = None
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.clip_norm = clip_norm
        self._captured: Captured | None = None
        self._hopeless = False
        self._last: tuple[object, ...] = ()
        self._in_a_row = 0

    def __call__(self, x: Tensor, y: Tensor) -> float:
        """One step; returns the loss before it."""
        value = self._captured_passes(x, y)
        if value is None:
            return step(self.model, self.loss, self.optimizer, x, y, self.clip_norm)
        if math.isfinite(value):
            _update(self.optimizer, self.clip_norm)
        return value

    def _captured_passes(self, x: Tensor, y: Tensor) -> float | None:
        """The loss, with its gradients; None if these passes aren't captured and won't be yet."""
        if self._captured is not None:
            with contextlib.suppress(CaptureError):  # of other shapes, or a parameter was replaced
                return float(self._captured(x, y))
        kind = (x.shape, x.dtype, y.shape, y.dtype)
        # The smaller batch at an epoch's end changes nothing.
        self._in_a_row = self._in_a_row + 1 if kind == self._last else 1
        self._last = kind
        if self._in_a_row < _IN_A_ROW or self._hopeless:
            return None
        self._captured = None  # its memory goes first
        try:
            self._captured = capture(self._passes, x, y)
        except CaptureError:
            self._hopeless = True
            return None
        return float(self._captured.outputs)

    def _passes(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        value = self.loss.forward(self.model.forward(x), y)
        self.model.backward(self.loss.backward(), input_gradient=False)
        return value


_IN_A_ROW = 3


def _update(optimizer: Optimizer, clip_norm: float | None) -> None:
    if clip_norm is not None:
        clip_gradients(optimizer.parameters, clip_norm)
    optimizer.step()

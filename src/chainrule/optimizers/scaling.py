"""Losses multiplied before the backward pass, for gradients in float16."""

from __future__ import annotations

import math

import torch

from chainrule.optimizers.clipping import clip_gradients
from chainrule.optimizers.optimizer import Optimizer


class LossScaler:
    """Keeps gradients in the range of float16: they are computed `scale` times as large.

    Below 6e-8 float16 has nothing, above 65,504 infinity. The scale is halved whenever a gradient
    wasn't finite, a step that is then left out, and doubled after `patience` good steps in a row
    (P. Micikevicius et al., "Mixed Precision Training", ICLR 2018). bfloat16 needs none of this.

    Args:
        scale: at first.
        patience: steps.

    Attributes:
        scale: what losses are to be multiplied with: `loss.backward(scaler.scale)`.

    Raises:
        ValueError: a scale that is not above 0, or a patience below 1.

    Example:
        >>> layer, loss, scaler = chainrule.Linear(3, 2), chainrule.MSE(), chainrule.LossScaler()
        >>> optimizer = chainrule.SGD(layer.parameters(), lr=0.1)
        >>> with chainrule.autocast(torch.float16):
        ...     value = loss.forward(layer.forward(torch.rand(4, 3)), torch.rand(4, 2))
        >>> gx = layer.backward(loss.backward(scaler.scale))
        >>> scaler.step(optimizer)
        True
    """

    def __init__(self, scale: float = 2.0**16, patience: int = 2000) -> None:
        if not (scale > 0 and math.isfinite(scale)):
            raise ValueError(f"the scale must be a finite number above 0, got {scale}")
        if patience < 1:
            raise ValueError(f"the patience must be at least 1 step, got {patience}")
        self.scale, self._patience, self._good = float(scale), patience, 0

    @torch.no_grad()
    def step(self, optimizer: Optimizer, clip_norm: float | None = None) -> bool:
        """Divide the gradients by the scale, in place, and step, if all of them are finite.

        Args:
            optimizer: of the parameters.
            clip_norm: the largest joint norm of the gradients; see `clip_gradients`.

        Returns:
            Whether it stepped.
        """
        gradients = [value.grad for value in optimizer.parameters if value.grad is not None]
        for gradient in gradients:
            gradient /= self.scale
        if not all(bool(gradient.isfinite().all()) for gradient in gradients):
            self.scale, self._good = self.scale / 2, 0
            return False
        if clip_norm is not None:
            clip_gradients(optimizer.parameters, clip_norm)
        optimizer.step()
        self._good += 1
        if self._good == self._patience:
            self.scale, self._good = self.scale * 2, 0
        return True

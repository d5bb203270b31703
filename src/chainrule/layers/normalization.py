"""Batch normalization. Its gradient is derived in docs/gradients.md#batch-normalization."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from chainrule import ops
from chainrule.layers.arguments import check_positive
from chainrule.module import Module, Tape, parameter


class BatchNorm2d(Module):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, channel by channel.

    In training, mean and variance are the batch's own, over N, H and W, and running averages of
    them are kept; in evaluation the running averages take their place. Ioffe and Szegedy 2015.

    Args:
        num_features: C, the channels.
        eps: added to the variance.
        momentum: weight of the newest batch in the running averages; None averages over all
            batches.
        affine: whether there are a weight and a bias.
        track_running_stats: false always uses the batch's own statistics.

    Shapes:
        x (N, C, H, W) to y of the same shape.

    Attributes:
        weight, bias: (C,), or None.
        running_mean, running_var: (C,), or None; the variance is the unbiased one, as in PyTorch.
        num_batches_tracked: int64 scalar, or None.

    Raises:
        ValueError: another number of channels; training on a single value per channel.
    """

    buffers: ClassVar[tuple[str, ...]] = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        check_positive("BatchNorm2d", num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = parameter(torch.ones(num_features)) if affine else None
        self.bias = parameter(torch.zeros(num_features)) if affine else None
        self.running_mean = torch.zeros(num_features) if track_running_stats else None
        self.running_var = torch.ones(num_features) if track_running_stats else None
        self.num_batches_tracked = torch.tensor(0) if track_running_stats else None

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        mean, var, from_batch = self._statistics(x)
        scale = (var + self.eps).rsqrt()
        xhat = ops.normalize(x, mean, scale)
        tape.push(self, xhat, scale, from_batch)
        if self.weight is None or self.bias is None:
            return xhat
        return ops.affine(xhat, self.weight, self.bias)

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        xhat, scale, from_batch = tape.take(self)
        if self.weight is not None and self.bias is not None:
            gy, gweight, gbias = ops.affine_grad(gy, xhat, self.weight)
            tape.add(self.weight, gweight)
            tape.add(self.bias, gbias)
        if from_batch:
            return ops.normalize_grad(gy, xhat, scale)
        return ops.normalize_fixed_grad(gy, scale)  # running averages don't depend on x

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor, bool]:
        """Mean, biased variance, and whether they are those of the batch itself."""
        if self.running_mean is None or self.running_var is None:
            return *ops.channel_statistics(x, self.num_features), True
        if not self.training:
            return self.running_mean, self.running_var, False
        mean, var = ops.channel_statistics(x, self.num_features, self.running_mean)
        count = x.numel() // self.num_features
        newest = self._weight_of_newest()
        self.running_mean.lerp_(mean, newest)
        self.running_var.lerp_(var * (count / (count - 1)), newest)
        return mean, var, True

    def _weight_of_newest(self) -> float | Tensor:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        if self.momentum is not None:
            return self.momentum
        assert self.running_mean is not None
        return self.num_batches_tracked.to(self.running_mean.dtype).reciprocal()

    def arguments(self) -> str:
        affine = "" if self.weight is not None else ", affine=False"
        tracking = "" if self.running_mean is not None else ", track_running_stats=False"
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}{affine}{tracking}"

"""Losses of the differences between prediction and target. Gradients: docs/gradients.md#losses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from chainrule import ops
from chainrule.backends.replay import refuse
from chainrule.losses.loss import Loss
from chainrule.module import Tape


class Difference(Loss):
    """What most of them share: a function of each difference, then the reduction.

    Attributes:
        errors, error_grad: the pair of ops: prediction, target, the `settings`, and to the gradient
            what it is multiplied by.
    """

    errors: Callable[..., Tensor]
    error_grad: Callable[..., Tensor]

    def settings(self) -> tuple[Any, ...]:
        return ()

    def total(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The sum of the errors."""
        return type(self).errors(prediction, target, *self.settings()).sum()

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        if self.reduction == "none":
            value = type(self).errors(prediction, target, *self.settings())
        else:
            value = self.total(prediction, target)
        tape.push(self, prediction, target, self.settings())
        return value / prediction.numel() if self.reduction == "mean" else value

    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        prediction, target, settings = tape.take(self)
        scale = self.scale(gradient, prediction.numel())
        return type(self).error_grad(prediction, target, *settings, scale)


class MSE(Difference):
    """Mean (or sum) of squared errors: L = 1/M sum (prediction - target)^2, M elements in all.

    dL/dprediction = 2/M (prediction - target): docs/gradients.md#losses. Shapes must be the same.
    Also named `MSELoss`. For zero-mean noise in the target its minimum is where it is without
    noise: the reason that Noise2Noise works.
    """

    errors = staticmethod(ops.squared_errors)
    error_grad = staticmethod(ops.squared_error_grad)

    def total(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.squared_error(prediction, target)


class L1(Difference):
    """Mean (or sum) of absolute errors: L = 1/M sum |prediction - target|, M elements in all.

    dL/dprediction = 1/M sign(prediction - target): docs/gradients.md#losses. Its minimum is the
    median of the targets: right for noise that hits few pixels hard, as text or impulses do. Also
    named `L1Loss`.
    """

    errors = staticmethod(ops.absolute_errors)
    error_grad = staticmethod(ops.absolute_error_grad)

    def total(self, prediction: Tensor, target: Tensor) -> Tensor:
        return ops.absolute_error(prediction, target)


class Huber(Difference):
    """Squared where the error is small, absolute where it is large. Huber 1964.

    L = 1/M sum h(d), d = prediction - target: h(d) = d^2 / 2 where |d| <= delta, else
    delta (|d| - delta / 2). Its slope is d, and no steeper than delta. Also named `HuberLoss`.

    Args:
        reduction: see `Loss`.
        delta: where the one passes into the other, in the units of the values; above 0.

    Raises:
        ValueError: another reduction, or a delta that is not above 0.
    """

    errors = staticmethod(ops.huber_errors)
    error_grad = staticmethod(ops.huber_error_grad)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = _above_zero("Huber", "delta", delta)

    def settings(self) -> tuple[float]:
        return (self.delta,)

    def arguments(self) -> str:
        return f"{super().arguments()}, delta={self.delta:g}"


class Charbonnier(Difference):
    """A smooth absolute error: L = 1/M sum sqrt((prediction - target)^2 + eps^2).

    Charbonnier et al. 1994; in image restoration since Lai et al. 2017. Its slope goes through zero
    steadily where that of `L1` jumps, so that small errors are still told apart.

    Args:
        reduction: see `Loss`.
        eps: about where the slope turns, in the units of the values; above 0.

    Raises:
        ValueError: another reduction, or an eps that is not above 0.
    """

    errors = staticmethod(ops.charbonnier_errors)
    error_grad = staticmethod(ops.charbonnier_error_grad)

    def __init__(self, reduction: str = "mean", eps: float = 1e-3) -> None:
        super().__init__(reduction)
        self.eps = _above_zero("Charbonnier", "eps", eps)

    def settings(self) -> tuple[float]:
        return (self.eps,)

    def arguments(self) -> str:
        return f"{super().arguments()}, eps={self.eps:g}"


class L0(Difference):
    """A stand-in for the number of errors: L = 1/M sum (|prediction - target| + eps)^gamma.

    With gamma 2 it is the squared error, with 1 the absolute one; near 0 each value counts as wrong
    or right, however wrong, so that its minimum is the mode of the targets: right where more pixels
    are replaced by something random than are left. It has no slope to speak of far from the mode
    then, which is why gamma begins at 2 and is lowered while training goes on (Lehtinen et al.
    2018, section 3.3):

        gamma = linear_ramp_down(2, steps, start=0)     # 2 to 0 in a straight line
        loss.gamma = gamma(step)                        # before step number `step`

    dL/dprediction = gamma/M (|d| + eps)^(gamma - 1) sign(d), d = prediction - target, and 0 where
    d is 0: docs/gradients.md#losses. For gamma below 1 that is as large as eps^(gamma - 1) gamma/M,
    so clip gradients, or step by an optimizer that scales them, as Adam does. `chainrule.capture`
    refuses it, since a recorded call would keep the gamma that it was recorded with.

    Args:
        reduction: see `Loss`.
        gamma: the power, 0 or more; an attribute that may be set anew at any time between passes.
        eps: keeps the slope finite, in the units of the values; above 0.

    Raises:
        ValueError: another reduction, a gamma that is below 0 or not finite, or an eps that is not
            above 0.
    """

    errors = staticmethod(ops.power_errors)
    error_grad = staticmethod(ops.power_error_grad)

    def __init__(self, reduction: str = "mean", gamma: float = 2.0, eps: float = 1e-8) -> None:
        super().__init__(reduction)
        self.gamma = gamma
        self.eps = _above_zero("L0", "eps", eps)

    @property
    def gamma(self) -> float:
        return self._gamma

    @gamma.setter
    def gamma(self, value: float) -> None:
        if not 0 <= value < math.inf:
            raise ValueError(f"L0: gamma must be at least 0 and finite, got {value!r}")
        self._gamma = value

    def settings(self) -> tuple[float, float]:
        return self.gamma, self.eps

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        refuse("L0's gamma changes from step to step, and a recorded call would keep it as it was")
        return super().run(prediction, target, tape)

    def arguments(self) -> str:
        return f"{super().arguments()}, gamma={self.gamma:g}, eps={self.eps:g}"


class LogMSE(Loss):
    """Mean (or sum) over images of the logarithm of their mean squared error.

    L = 1/N sum_n log(m_n + floor), m_n = 1/M sum (prediction - target)^2 over the M elements of
    image n; the first dimension counts images. dL/dprediction = 2 (prediction - target) /
    (N M (m_n + floor)): docs/gradients.md#losses. It weighs images as their mean PSNR does, where
    with MSE a few noisy images outweigh the many others; and since the noise of an image's target
    is most of m_n, it trusts targets the more, the less noise they have.

    Args:
        reduction: "mean" over images, "sum", or "none".
        floor: what is added to each m_n, so that no image counts without limit; above 0, in the
            units of the squared values.

    Raises:
        ValueError: another reduction, or a floor that is not above 0.
    """

    def __init__(self, reduction: str = "mean", floor: float = 1e-4) -> None:
        super().__init__(reduction)
        self.floor = _above_zero("LogMSE", "floor", floor)

    @ops.in_float32
    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        ops.check_target("LogMSE", prediction, target)
        if prediction.ndim == 0:
            raise ValueError("LogMSE: expected images along the first dimension, got a scalar")
        size = prediction.numel() // max(len(prediction), 1)
        each = ops.image_errors(prediction, target) / size + self.floor
        tape.push(self, prediction, target, each)
        return self.reduced(each.log(), len(each))

    @ops.in_float32
    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        prediction, target, each = tape.take(self)
        factors = 2 * self.scale(gradient, len(each)) * len(each) / (prediction.numel() * each)
        return ops.image_error_grad(prediction, target, factors)

    def arguments(self) -> str:
        return f"{super().arguments()}, floor={self.floor:g}"


MSELoss = MSE
L1Loss = L1
HuberLoss = Huber


def _above_zero(loss: str, name: str, value: float) -> float:
    if not value > 0:
        raise ValueError(f"{loss}: {name} must be above 0, got {value!r}")
    return value

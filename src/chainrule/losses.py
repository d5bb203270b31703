"""Losses: a scalar from prediction and target, and its gradient with respect to the prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape
from chainrule.tape import Listener


class Loss(Module):
    """What the losses share: `forward(prediction, target)`, `backward(gradient=1)`, `pullback`.

    Args:
        reduction: "mean" over all elements, or "sum".

    Raises:
        ValueError: another reduction.
    """

    constants: ClassVar[tuple[int, ...]] = (1,)  # the target

    error: Callable[[Tensor, Tensor], Tensor]
    error_grad: Callable[[Tensor, Tensor, float | Tensor], Tensor]

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(
                f'{type(self).__name__}: reduction must be "mean" or "sum", got {reduction!r}'
            )
        self.reduction = reduction

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        total = type(self).error(prediction, target)
        tape.push(self, prediction, target)
        return total / prediction.numel() if self.reduction == "mean" else total

    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        prediction, target = tape.take(self)
        scale = gradient / prediction.numel() if self.reduction == "mean" else gradient
        return type(self).error_grad(prediction, target, scale)

    def backward(
        self,
        gradient: float | Tensor = 1.0,
        input_gradient: bool = True,
        listener: Listener | None = None,
    ) -> Any:
        """dL/dprediction of the last `forward`, times `gradient` (a number or a scalar tensor)."""
        return super().backward(gradient, input_gradient, listener)

    def arguments(self) -> str:
        return f"reduction={self.reduction!r}"


class MSE(Loss):
    """Mean (or sum) of squared errors: L = 1/M sum (prediction - target)^2, M elements in all.

    dL/dprediction = 2/M (prediction - target): docs/gradients.md#losses. Shapes must be the same.
    Also named `MSELoss`. For zero-mean noise in the target its minimum is where it is without
    noise: the reason that Noise2Noise works.
    """

    error = staticmethod(ops.squared_error)
    error_grad = staticmethod(ops.squared_error_grad)


class L1(Loss):
    """Mean (or sum) of absolute errors: L = 1/M sum |prediction - target|, M elements in all.

    dL/dprediction = 1/M sign(prediction - target): docs/gradients.md#losses. Its minimum is the
    median of the targets: right for noise that hits few pixels hard, as text or impulses do.
    """

    error = staticmethod(ops.absolute_error)
    error_grad = staticmethod(ops.absolute_error_grad)


class LogMSE(Loss):
    """Mean (or sum) over images of the logarithm of their mean squared error.

    L = 1/N sum_n log(m_n + floor), m_n = 1/M sum (prediction - target)^2 over the M elements of
    image n; the first dimension counts images. dL/dprediction = 2 (prediction - target) /
    (N M (m_n + floor)): docs/gradients.md#losses. It weighs images as their mean PSNR does, where
    with MSE a few noisy images outweigh the many others; and since the noise of an image's target
    is most of m_n, it trusts targets the more, the less noise they have.

    Args:
        reduction: "mean" over images, or "sum".
        floor: what is added to each m_n, so that no image counts without limit; above 0, in the
            units of the squared values.

    Raises:
        ValueError: another reduction, or a floor that is not above 0.
    """

    def __init__(self, reduction: str = "mean", floor: float = 1e-4) -> None:
        super().__init__(reduction)
        if not floor > 0:
            raise ValueError(f"LogMSE: floor must be above 0, got {floor!r}")
        self.floor = floor

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        ops.check_target("LogMSE", prediction, target)
        if prediction.ndim == 0:
            raise ValueError("LogMSE: expected images along the first dimension, got a scalar")
        error = prediction - target
        each = error.square().reshape(len(error), -1).mean(1) + self.floor
        tape.push(self, error, each)
        total = each.log().sum()
        return total / len(each) if self.reduction == "mean" else total

    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        error, each = tape.take(self)
        elements = error.numel() / (1 if self.reduction == "mean" else len(each))
        scale = 2 * gradient / (elements * each)
        return error * scale.reshape(-1, *[1] * (error.ndim - 1))

    def arguments(self) -> str:
        return f"{super().arguments()}, floor={self.floor:g}"


MSELoss = MSE

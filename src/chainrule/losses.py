"""Losses: a scalar from prediction and target, and its gradient with respect to the prediction."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape


class Loss(Module):
    """What the losses share: `forward(prediction, target)`, `backward(gradient=1)`, `pullback`.

    Args:
        reduction: "mean" over all elements, or "sum".

    Raises:
        ValueError: another reduction.
    """

    error: Callable[[Tensor, Tensor], Tensor]
    error_grad: Callable[[Tensor, Tensor, float | Tensor], Tensor]

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ValueError(
                f'{type(self).__name__}: reduction must be "mean" or "sum", got {reduction!r}'
            )
        self.reduction = reduction

    def run(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, prediction: Tensor, target: Tensor, tape: Tape
    ) -> Tensor:
        total = type(self).error(prediction, target)
        tape.push(self, prediction, target)
        return total / prediction.numel() if self.reduction == "mean" else total

    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:  # type: ignore[override]
        prediction, target = tape.take(self)
        scale = gradient / prediction.numel() if self.reduction == "mean" else gradient
        return type(self).error_grad(prediction, target, scale)

    def backward(
        self, gradient: float | Tensor = 1.0, input_gradient: bool = True
    ) -> Tensor | None:
        """dL/dprediction of the last `forward`, times `gradient` (a number or a scalar tensor)."""
        return super().backward(gradient, input_gradient)

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


MSELoss = MSE

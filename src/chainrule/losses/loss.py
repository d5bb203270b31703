"""What the losses share: a value from prediction and target, and its gradient with respect to the
prediction. Gradients: docs/gradients.md#losses.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from chainrule.module import Module
from chainrule.tape import Listener


class Loss(Module):
    """`forward(prediction, target)`, `backward(gradient=1)`, `pullback`; a subclass has `run` and
    `back`.

    Args:
        reduction: "mean" over all values, "sum", or "none", which returns each value, and takes
            their gradients, of the same shape.

    Raises:
        ValueError: another reduction.
    """

    constants: ClassVar[tuple[int, ...]] = (1,)  # the target

    def __init__(self, reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f'{type(self).__name__}: reduction must be "mean", "sum" or "none", '
                f"got {reduction!r}"
            )
        self.reduction = reduction

    def reduced(self, values: Tensor, count: float | Tensor) -> Tensor:
        """The values as `reduction` says; their mean is their sum by `count`."""
        if self.reduction == "none":
            return values
        return values.sum() / count if self.reduction == "mean" else values.sum()

    def scale(self, gradient: float | Tensor, count: float | Tensor) -> float | Tensor:
        """dL/d(each value) of `reduced`, from dL/d(what it returned)."""
        return gradient / count if self.reduction == "mean" else gradient

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

"""What losses are made of, and their gradients with respect to the prediction."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_target


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum (prediction - target)^2, a scalar tensor.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("MSE", prediction, target)
    return on(prediction).squared_error(prediction, target)


def squared_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """scale times dL/dprediction of `squared_error`, which is 2 (prediction - target)."""
    check_target("MSE", prediction, target)
    return on(prediction).squared_error_grad(prediction, target, scale)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum |prediction - target|, a scalar tensor.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("L1", prediction, target)
    return on(prediction).absolute_error(prediction, target)


def absolute_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor = 1.0) -> Tensor:
    """scale times dL/dprediction of `absolute_error`, which is sign(prediction - target)."""
    check_target("L1", prediction, target)
    return on(prediction).absolute_error_grad(prediction, target, scale)

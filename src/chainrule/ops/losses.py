"""What losses are made of, and their gradients with respect to the prediction.

Every gradient is multiplied by `scale`: a number, a scalar tensor, or one of a shape that
broadcasts to the values of the loss, with a factor for each.
"""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_alike, check_target, shape

Scale = float | Tensor


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum (prediction - target)^2, a scalar tensor.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("MSE", prediction, target)
    return on(prediction).squared_error(prediction, target)


def squared_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """(prediction - target)^2, each.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("MSE", prediction, target)
    return on(prediction).squared_errors(prediction, target)


def squared_error_grad(prediction: Tensor, target: Tensor, scale: Scale = 1.0) -> Tensor:
    """scale times dL/dprediction of `squared_error`, which is 2 (prediction - target)."""
    check_target("MSE", prediction, target)
    return on(prediction).squared_error_grad(prediction, target, scale)


def image_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """sum (prediction - target)^2 over each of the N images along the first dimension, (N,).

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("LogMSE", prediction, target)
    return on(prediction).image_errors(prediction, target)


def image_error_grad(prediction: Tensor, target: Tensor, factors: Tensor) -> Tensor:
    """factors_n (prediction - target): with factors of 2, dL/dprediction of `image_errors`.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ, or there isn't a factor for each.
    """
    check_target("LogMSE", prediction, target)
    if factors.shape != prediction.shape[:1]:
        raise ValueError(
            f"LogMSE: expected a factor for each of {len(prediction)} images, got factors of shape "
            f"{shape(factors)}"
        )
    check_alike("LogMSE", prediction, "prediction", factors=factors)
    return on(prediction).image_error_grad(prediction, target, factors)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum |prediction - target|, a scalar tensor.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("L1", prediction, target)
    return on(prediction).absolute_error(prediction, target)


def absolute_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """|prediction - target|, each.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("L1", prediction, target)
    return on(prediction).absolute_errors(prediction, target)


def absolute_error_grad(prediction: Tensor, target: Tensor, scale: Scale = 1.0) -> Tensor:
    """scale times dL/dprediction of `absolute_error`, which is sign(prediction - target)."""
    check_target("L1", prediction, target)
    return on(prediction).absolute_error_grad(prediction, target, scale)


def huber_errors(prediction: Tensor, target: Tensor, delta: float) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), each d = prediction - target.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("Huber", prediction, target)
    return on(prediction).huber_errors(prediction, target, delta)


def huber_error_grad(
    prediction: Tensor, target: Tensor, delta: float, scale: Scale = 1.0
) -> Tensor:
    """scale times dL/dprediction of `huber_errors`: d, kept within -delta and delta."""
    check_target("Huber", prediction, target)
    return on(prediction).huber_error_grad(prediction, target, delta, scale)


def charbonnier_errors(prediction: Tensor, target: Tensor, eps: float) -> Tensor:
    """sqrt(d^2 + eps^2), each d = prediction - target.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("Charbonnier", prediction, target)
    return on(prediction).charbonnier_errors(prediction, target, eps)


def charbonnier_error_grad(
    prediction: Tensor, target: Tensor, eps: float, scale: Scale = 1.0
) -> Tensor:
    """scale times dL/dprediction of `charbonnier_errors`: d / sqrt(d^2 + eps^2)."""
    check_target("Charbonnier", prediction, target)
    return on(prediction).charbonnier_error_grad(prediction, target, eps, scale)


def power_errors(prediction: Tensor, target: Tensor, gamma: float, eps: float) -> Tensor:
    """(|d| + eps)^gamma, each d = prediction - target.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    check_target("L0", prediction, target)
    return on(prediction).power_errors(prediction, target, gamma, eps)


def power_error_grad(
    prediction: Tensor, target: Tensor, gamma: float, eps: float, scale: Scale = 1.0
) -> Tensor:
    """scale times dL/dprediction of `power_errors`: gamma (|d| + eps)^(gamma - 1) sign(d)."""
    check_target("L0", prediction, target)
    return on(prediction).power_error_grad(prediction, target, gamma, eps, scale)

"""What losses are made of, and their gradients."""

from torch import Tensor


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum (prediction - target)^2, a scalar."""
    return (prediction - target).square().sum()


def squared_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    """2 scale (prediction - target)."""
    return (prediction - target).mul_(2 * scale)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    """sum |prediction - target|, a scalar."""
    return (prediction - target).abs().sum()


def absolute_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    """scale sign(prediction - target), 0 where they are equal."""
    return (prediction - target).sign_().mul_(scale)

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


def image_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """sum (prediction - target)^2 over each image, (N,)."""
    return (prediction - target).square_().reshape(len(prediction), -1).sum(1)


def image_error_grad(prediction: Tensor, target: Tensor, factors: Tensor) -> Tensor:
    """factors_n (prediction - target)."""
    return (prediction - target).mul_(factors.reshape(-1, *[1] * (prediction.ndim - 1)))


def squared_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """(prediction - target)^2."""
    return (prediction - target).square_()


def absolute_errors(prediction: Tensor, target: Tensor) -> Tensor:
    """|prediction - target|."""
    return (prediction - target).abs_()


def huber_errors(prediction: Tensor, target: Tensor, delta: float) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)."""
    size = (prediction - target).abs_()
    near = size.clamp(max=delta)
    return near * (size - 0.5 * near)


def huber_error_grad(
    prediction: Tensor, target: Tensor, delta: float, scale: float | Tensor
) -> Tensor:
    """scale d, d kept within -delta and delta."""
    return (prediction - target).clamp_(-delta, delta).mul_(scale)


def charbonnier_errors(prediction: Tensor, target: Tensor, eps: float) -> Tensor:
    """sqrt(d^2 + eps^2)."""
    return (prediction - target).square_().add_(eps * eps).sqrt_()


def charbonnier_error_grad(
    prediction: Tensor, target: Tensor, eps: float, scale: float | Tensor
) -> Tensor:
    """scale d / sqrt(d^2 + eps^2)."""
    difference = prediction - target
    length = (difference.square() + eps * eps).sqrt_()
    return difference.div_(length).mul_(scale)


def power_errors(prediction: Tensor, target: Tensor, gamma: float, eps: float) -> Tensor:
    """(|d| + eps)^gamma."""
    return (prediction - target).abs_().add_(eps).pow_(gamma)


def power_error_grad(
    prediction: Tensor, target: Tensor, gamma: float, eps: float, scale: float | Tensor
) -> Tensor:
    """scale gamma (|d| + eps)^(gamma - 1) sign(d), 0 where d is 0."""
    difference = prediction - target
    slope = difference.abs().add_(eps).pow_(gamma - 1).mul_(gamma)
    return difference.sign_().mul_(slope).mul_(scale)

"""Gradients and optimizers, in place."""

from torch import Tensor


def accumulate(total: Tensor, gradient: Tensor) -> None:
    """total += gradient."""
    total.add_(gradient)


def zero(values: Tensor) -> None:
    """values = 0."""
    values.zero_()


def sgd_step(
    value: Tensor,
    gradient: Tensor,
    velocity: Tensor | None,
    first: bool,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """p = p - lr v, where g = gradient + weight_decay p and v = momentum v + (1 - dampening) g."""
    if weight_decay:
        gradient = gradient.add(value, alpha=weight_decay)
    if velocity is not None:
        if first:
            velocity.copy_(gradient)
        else:
            velocity.mul_(momentum).add_(gradient, alpha=1 - dampening)
        gradient = gradient.add(velocity, alpha=momentum) if nesterov else velocity
    value.add_(gradient, alpha=-lr)


def adam_step(
    value: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    keep: float,
    steps: int,
) -> None:
    """p = keep p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), m and v running averages."""
    if weight_decay:
        gradient = gradient.add(value, alpha=weight_decay)
    mean.lerp_(gradient, 1 - betas[0])
    square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
    divisor = (square.sqrt() / (1 - betas[1] ** steps) ** 0.5).add_(eps)
    if keep != 1:
        value.mul_(keep)
    value.addcdiv_(mean, divisor, value=-lr / (1 - betas[0] ** steps))

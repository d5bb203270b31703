"""Gradients and optimizers, in place; lists hold something for each parameter."""

import math

from torch import Tensor


def accumulate(total: Tensor, gradient: Tensor) -> None:
    """total += gradient."""
    total.add_(gradient)


def copy(target: Tensor, source: Tensor) -> None:
    """target = source."""
    target.copy_(source)


def zero(values: list[Tensor]) -> None:
    """values = 0."""
    for value in values:
        value.zero_()


def clip(gradients: list[Tensor], limit: float) -> float:
    """All gradients times min(1, limit / (norm + 1e-6)), unless the norm isn't finite; the norm."""
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    factor = limit / (norm + 1e-6)
    if math.isfinite(norm) and factor < 1:
        for gradient in gradients:
            gradient.mul_(factor)
    return norm


def sgd_step(
    values: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor],
    first: list[bool],
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """p = p - lr v, where g = gradient + weight_decay p and v = momentum v + (1 - dampening) g."""
    for i, (value, gradient) in enumerate(zip(values, gradients, strict=True)):
        if weight_decay:
            gradient = gradient.add(value, alpha=weight_decay)
        if velocities:
            velocity = velocities[i]
            if first[i]:
                velocity.copy_(gradient)
            else:
                velocity.mul_(momentum).add_(gradient, alpha=1 - dampening)
            gradient = gradient.add(velocity, alpha=momentum) if nesterov else velocity
        value.add_(gradient, alpha=-lr)


def adam_step(
    values: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    keep: float,
    steps: int,
) -> None:
    """p = keep p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), m and v running averages."""
    for value, gradient, mean, square in zip(values, gradients, means, squares, strict=True):
        if weight_decay:
            gradient = gradient.add(value, alpha=weight_decay)
        mean.lerp_(gradient, 1 - betas[0])
        square.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        divisor = (square.sqrt() / (1 - betas[1] ** steps) ** 0.5).add_(eps)
        if keep != 1:
            value.mul_(keep)
        value.addcdiv_(mean, divisor, value=-lr / (1 - betas[0] ** steps))


def rmsprop_step(
    values: list[Tensor],
    gradients: list[Tensor],
    squares: list[Tensor],
    means: list[Tensor],
    velocities: list[Tensor],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """p = p - lr g / (sqrt(s - m^2) + eps), s and m running averages of g^2 and g."""
    for i, (value, gradient, square) in enumerate(zip(values, gradients, squares, strict=True)):
        if weight_decay:
            gradient = gradient.add(value, alpha=weight_decay)
        square.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
        spread = square
        if means:
            means[i].lerp_(gradient, 1 - alpha)
            spread = square.addcmul(means[i], means[i], value=-1)
        divisor = spread.sqrt().add_(eps)
        if velocities:
            velocities[i].mul_(momentum).addcdiv_(gradient, divisor)
            value.add_(velocities[i], alpha=-lr)
        else:
            value.addcdiv_(gradient, divisor, value=-lr)


def lion_step(
    values: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    lr: float,
    betas: tuple[float, float],
    keep: float,
) -> None:
    """p = keep p - lr sign(b1 m + (1 - b1) g), then m = b2 m + (1 - b2) g."""
    for value, gradient, mean in zip(values, gradients, means, strict=True):
        direction = mean.lerp(gradient, 1 - betas[0]).sign_()
        value.mul_(keep).add_(direction, alpha=-lr)
        mean.lerp_(gradient, 1 - betas[1])


def muon_step(
    values: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor],
    ratios: list[float],
    lr: float,
    momentum: float,
    nesterov: bool,
    keep: float,
    coefficients: tuple[float, float, float],
    eps: float,
    rounds: int,
) -> None:
    """p = keep p - lr ratio orthogonal(u), u the momentum, or Nesterov's."""
    for value, gradient, velocity, ratio in zip(values, gradients, velocities, ratios, strict=True):
        velocity.lerp_(gradient, 1 - momentum)
        update = gradient.lerp(velocity, momentum) if nesterov else velocity
        step = _orthogonal(update, coefficients, eps, rounds)
        value.mul_(keep).add_(step, alpha=-lr * ratio)


def _orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], eps: float, rounds: int
) -> Tensor:
    """U V^T of U S V^T, about: X = a X + (b A + c A^2) X, A = X X^T, takes each s to a s + b s^3 +
    c s^5 and leaves U and V as they are."""
    a, b, c = coefficients
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.t()  # so that A is the smaller of the two products
    x = x / x.norm().clamp(min=eps)
    for _ in range(rounds):
        gram = x @ x.t()
        x = x.addmm(gram.addmm(gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.t()

"""Gradients and optimizers, in place.

A backend may write through a pointer, so what was written is marked here as written: passes that
wait for their gradient watch for that.
"""

from __future__ import annotations

from torch import Tensor
from torch.autograd.graph import increment_version

from chainrule.backends import on
from chainrule.ops.checks import check_alike, check_step, shape


def accumulate(total: Tensor, gradient: Tensor) -> None:
    """total += gradient, of one shape.

    Raises:
        ValueError: the shapes differ.
    """
    if total.shape != gradient.shape:
        raise ValueError(
            f"a parameter of shape {shape(total)} can't have a gradient of shape {shape(gradient)}"
        )
    check_alike("accumulate", total, "sum", gradient=gradient)
    on(total).accumulate(total, gradient)
    increment_version(total)


def zero(values: Tensor) -> None:
    """values = 0."""
    on(values).zero(values)
    increment_version(values)


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
    """The step of `chainrule.SGD`; velocity is None without momentum, and set anew if `first`.

    Raises:
        ValueError: the gradient has another shape than the parameter.
    """
    check_step("SGD", value, gradient=gradient, velocity=velocity)
    settings = (lr, momentum, dampening, weight_decay, nesterov)
    on(value).sgd_step(value, gradient, velocity, first, *settings)
    increment_version(value)


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
    """The step number `steps`, from 1, of `chainrule.Adam`; keep < 1 lets the parameter shrink.

    Raises:
        ValueError: the gradient has another shape than the parameter.
    """
    check_step("Adam", value, gradient=gradient, mean=mean, square=square)
    settings = (lr, betas, eps, weight_decay, keep, steps)
    on(value).adam_step(value, gradient, mean, square, *settings)
    increment_version(value)


def rmsprop_step(
    value: Tensor,
    gradient: Tensor,
    square: Tensor,
    mean: Tensor | None,
    velocity: Tensor | None,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """The step of `chainrule.RMSprop`; mean is None unless centred, velocity without momentum.

    Raises:
        ValueError: the gradient has another shape than the parameter.
    """
    check_step("RMSprop", value, gradient=gradient, square=square, mean=mean, velocity=velocity)
    settings = (lr, alpha, eps, weight_decay, momentum)
    on(value).rmsprop_step(value, gradient, square, mean, velocity, *settings)
    increment_version(value)


def lion_step(
    value: Tensor,
    gradient: Tensor,
    mean: Tensor,
    lr: float,
    betas: tuple[float, float],
    keep: float,
) -> None:
    """The step of `chainrule.Lion`; keep < 1 lets the parameter shrink.

    Raises:
        ValueError: the gradient has another shape than the parameter.
    """
    check_step("Lion", value, gradient=gradient, mean=mean)
    on(value).lion_step(value, gradient, mean, lr, betas, keep)
    increment_version(value)


def muon_step(
    value: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    lr: float,
    momentum: float,
    nesterov: bool,
    keep: float,
    coefficients: tuple[float, float, float],
    eps: float,
    rounds: int,
) -> None:
    """The step of `chainrule.Muon` for a matrix; keep < 1 lets the parameter shrink.

    Raises:
        ValueError: the parameter is no matrix, or the gradient has another shape.
    """
    if value.dim() != 2:
        raise ValueError(f"Muon: expected a parameter of two dimensions, got {shape(value)}")
    check_step("Muon", value, gradient=gradient, velocity=velocity)
    settings = (lr, momentum, nesterov, keep, coefficients, eps, rounds)
    on(value).muon_step(value, gradient, velocity, *settings)
    increment_version(value)

"""Gradients and optimizers, in place; what concerns all parameters, in one call for all.

A backend may write through a pointer, so what was written is marked here as written: passes that
wait for their gradient watch for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import Any

from torch import Tensor
from torch.autograd.graph import increment_version

from chainrule.backends import on
from chainrule.backends.table import REFERENCE
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


def copy(target: Tensor, source: Tensor) -> None:
    """target = source, of one shape.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices differ.
    """
    if target.shape != source.shape:
        raise ValueError(f"copy: the target has shape {shape(target)}, the source {shape(source)}")
    check_alike("copy", target, "target", source=source)
    on(target).copy(target, source)
    increment_version(target)


def zero(values: list[Tensor]) -> None:
    """values = 0, all of them."""
    _step("zero", (values,), ())


def clip(gradients: list[Tensor], limit: float) -> float:
    """gradients *= min(1, limit / (norm + 1e-6)), norm the Euclidean norm of all together, which is
    returned; nothing is done where it isn't finite."""
    if not gradients:
        return 0.0
    backends = {*map(on, gradients)}
    chosen = backends.pop() if len(backends) == 1 else REFERENCE.ops
    norm = chosen.clip(gradients, limit)
    increment_version(gradients)
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
    """The step of `chainrule.SGD`; without momentum no velocities, set anew where `first`.

    Raises:
        ValueError: a gradient has another shape than its parameter.
    """
    check_step("SGD", values, gradient=gradients, velocity=velocities)
    settings = (lr, momentum, dampening, weight_decay, nesterov)
    _step("sgd_step", (values, gradients, velocities, first), settings)


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
    """The step number `steps`, from 1, of `chainrule.Adam`; keep < 1 lets the parameters shrink.

    Raises:
        ValueError: a gradient has another shape than its parameter.
    """
    check_step("Adam", values, gradient=gradients, mean=means, square=squares)
    settings = (lr, betas, eps, weight_decay, keep, steps)
    _step("adam_step", (values, gradients, means, squares), settings)


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
    """The step of `chainrule.RMSprop`; no means unless centred, no velocities without momentum.

    Raises:
        ValueError: a gradient has another shape than its parameter.
    """
    others = {"gradient": gradients, "square": squares, "mean": means, "velocity": velocities}
    check_step("RMSprop", values, **others)
    _step("rmsprop_step", (values, *others.values()), (lr, alpha, eps, weight_decay, momentum))


def lion_step(
    values: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    lr: float,
    betas: tuple[float, float],
    keep: float,
) -> None:
    """The step of `chainrule.Lion`; keep < 1 lets the parameters shrink.

    Raises:
        ValueError: a gradient has another shape than its parameter.
    """
    check_step("Lion", values, gradient=gradients, mean=means)
    _step("lion_step", (values, gradients, means), (lr, betas, keep))


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
    """The step of `chainrule.Muon` for matrices, each `lr * ratio` long; keep < 1 shrinks them.

    Raises:
        ValueError: a parameter is no matrix, or a gradient has another shape.
    """
    for value in values:
        if value.dim() != 2:
            raise ValueError(f"Muon: expected a parameter of two dimensions, got {shape(value)}")
    check_step("Muon", values, gradient=gradients, velocity=velocities)
    settings = (lr, momentum, nesterov, keep, coefficients, eps, rounds)
    _step("muon_step", (values, gradients, velocities, ratios), settings)


def _step(name: str, lists: tuple[list[Any], ...], settings: tuple[Any, ...]) -> None:
    """The op `name` of each backend, with the parameters that it computes with; they come first."""
    for backend, chosen in _shared_out(lists):
        getattr(backend, name)(*chosen, *settings)
    increment_version(lists[0])


def _shared_out(lists: tuple[list[Any], ...]) -> Iterable[tuple[Any, Sequence[list[Any]]]]:
    """Each backend that computes with some of the tensors of the first list, and its part of all
    lists, which may be empty instead."""
    backends = [*map(on, lists[0])]
    if len({*backends}) == 1:
        return [(backends[0], lists)]
    return [
        (backend, [[*compress(items, [each is backend for each in backends])] for items in lists])
        for backend in dict.fromkeys(backends)
    ]

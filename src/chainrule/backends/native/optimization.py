"""Gradients that are added up, and the optimizers' steps.

Not PyTorch's own either: its threads go on watching for work for milliseconds after each of its
parallel operations, on processors that the kernels' threads could use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

import chainrule._native as kernels
from chainrule.backends import reference
from chainrule.backends.native.memory import alike, dense, identity
from chainrule.backends.settings import threads


def accumulate(total: Tensor, gradient: Tensor) -> None:
    if not alike(total, gradient):
        return reference.accumulate(total, gradient)
    address = total.data_ptr()
    kernels.add(address, gradient.data_ptr(), address, total.numel(), threads())
    return None


def copy(target: Tensor, source: Tensor) -> None:
    if not alike(target, source):
        return reference.copy(target, source)
    addresses = (source.data_ptr(), target.data_ptr())
    kernels.activate(*addresses, target.numel(), identity(), threads())
    return None


def zero(values: list[Tensor]) -> None:
    if not all(map(dense, values)):
        return _one_by_one(zero, reference.zero, (values,), ())
    kernels.zero(addresses(values), [value.numel() for value in values], threads())
    return None


def clip(gradients: list[Tensor], limit: float) -> float:
    if not all(map(dense, gradients)):
        return reference.clip(gradients, limit)
    counts = [gradient.numel() for gradient in gradients]
    return kernels.clip(addresses(gradients), counts, limit, threads())


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
    if not _all_alike(values, gradients, velocities):
        lists, settings = (
            (values, gradients, velocities, first),
            (lr, momentum, dampening, weight_decay, nesterov),
        )
        return _one_by_one(sgd_step, reference.sgd_step, lists, settings)
    kernels.sgd(
        addresses(values),
        addresses(gradients),
        addresses(velocities),
        first,
        [value.numel() for value in values],
        kernels.Sgd(
            rate=lr,
            momentum=momentum,
            fresh=1 - dampening,
            decay=weight_decay,
            nesterov=nesterov,
        ),
        threads(),
    )
    return None


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
    if not _all_alike(values, gradients, means, squares):
        lists, settings = (
            (values, gradients, means, squares),
            (lr, betas, eps, weight_decay, keep, steps),
        )
        return _one_by_one(adam_step, reference.adam_step, lists, settings)
    kernels.adam(
        addresses(values),
        addresses(gradients),
        addresses(means),
        addresses(squares),
        [value.numel() for value in values],
        kernels.Adam(
            rate=lr / (1 - betas[0] ** steps),
            beta2=betas[1],
            fresh1=1 - betas[0],
            fresh2=1 - betas[1],
            epsilon=eps,
            scale=(1 - betas[1] ** steps) ** -0.5,
            decay=weight_decay,
            keep=keep,
        ),
        threads(),
    )
    return None


def addresses(tensors: list[Tensor]) -> list[int]:
    return [x.data_ptr() for x in tensors]


def _all_alike(values: list[Tensor], *others: list[Tensor]) -> bool:
    """Whether each value and its others fill their memory in the same order."""
    if not all(map(dense, values)):
        return False
    for tensors in others:
        for value, other in zip(values, tensors):  # noqa: B905 (or none: no velocities)
            if other.stride() != value.stride() or other.is_neg():
                return False
    return True


def _one_by_one(
    ours: Callable[..., None],
    theirs: Callable[..., None],
    lists: tuple[list[Any], ...],
    settings: tuple[Any, ...],
) -> None:
    """`ours` for each value by itself, so that only those go to `theirs` that must."""
    if len(lists[0]) == 1:
        return theirs(*lists, *settings)
    for place in range(len(lists[0])):
        ours(*(each[place : place + 1] for each in lists), *settings)
    return None

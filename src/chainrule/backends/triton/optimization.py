"""Gradients and optimizers: one launch for all parameters, which are found by their addresses."""

# Triton compiles what it calls a constexpr from plain numbers and strings.
# pyright: reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.backends import reference
from chainrule.backends.triton.launch import FLAT, flat
from chainrule.backends.triton.pointwise import add_into


@triton.jit
def _mine(which, first, counts, SIZE: tl.constexpr):
    """Which tensor this program has a part of, the places of that part, and which exist."""
    tensor = tl.load(which + tl.program_id(0))
    at = tl.load(first + tl.program_id(0)) + tl.arange(0, SIZE)
    return tensor, at, at < tl.load(counts + tensor)


@triton.jit
def _zero(values, which, first, counts, TYPE: tl.constexpr, SIZE: tl.constexpr):
    tensor, at, inside = _mine(which, first, counts, SIZE)
    value = tl.load(values + tensor).to(tl.pointer_type(TYPE))
    tl.store(value + at, tl.zeros((SIZE,), TYPE), mask=inside)


@triton.jit
def _sgd(
    values, gradients, velocities, fresh, which, first, counts,
    rate, momentum, keep, decay,
    MOMENTUM: tl.constexpr, NESTEROV: tl.constexpr, TYPE: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    tensor, at, inside = _mine(which, first, counts, SIZE)
    value = tl.load(values + tensor).to(tl.pointer_type(TYPE)) + at
    gradient = tl.load(gradients + tensor).to(tl.pointer_type(TYPE)) + at
    p = tl.load(value, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gradient, mask=inside, other=0.0).to(tl.float32) + decay * p
    if MOMENTUM:
        velocity = tl.load(velocities + tensor).to(tl.pointer_type(TYPE)) + at
        v = tl.load(velocity, mask=inside, other=0.0).to(tl.float32)
        v = tl.where(tl.load(fresh + tensor) != 0, g, momentum * v + keep * g)
        tl.store(velocity, v.to(TYPE), mask=inside)
        if NESTEROV:
            g = g + momentum * v
        else:
            g = v
    tl.store(value, (p - rate * g).to(TYPE), mask=inside)


@triton.jit
def _adam(
    values, gradients, means, squares, which, first, counts,
    rate, beta1, beta2, epsilon, scale, decay, keep,
    TYPE: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    tensor, at, inside = _mine(which, first, counts, SIZE)
    value = tl.load(values + tensor).to(tl.pointer_type(TYPE)) + at
    gradient = tl.load(gradients + tensor).to(tl.pointer_type(TYPE)) + at
    mean = tl.load(means + tensor).to(tl.pointer_type(TYPE)) + at
    square = tl.load(squares + tensor).to(tl.pointer_type(TYPE)) + at
    p = tl.load(value, mask=inside, other=0.0).to(tl.float32)
    g = tl.load(gradient, mask=inside, other=0.0).to(tl.float32) + decay * p
    m = tl.load(mean, mask=inside, other=0.0).to(tl.float32)
    s = tl.load(square, mask=inside, other=0.0).to(tl.float32)
    m = beta1 * m + (1 - beta1) * g
    s = beta2 * s + (1 - beta2) * g * g
    tl.store(mean, m.to(TYPE), mask=inside)
    tl.store(square, s.to(TYPE), mask=inside)
    p = keep * p - rate * m / (tl.sqrt(s) * scale + epsilon)
    tl.store(value, p.to(TYPE), mask=inside)


_TYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def accumulate(total: Tensor, gradient: Tensor) -> None:
    if not (flat(total) and total.stride() == gradient.stride()):
        return reference.accumulate(total, gradient)
    add_into(total, total, gradient)
    return None


def zero(values: list[Tensor]) -> None:
    for group in _groups(reference.zero, (values,), ()):
        (chosen,) = group
        _zero[_grid(chosen)](_addresses(chosen), *_parts(chosen), _type(chosen), FLAT)


def clip(gradients: list[Tensor], limit: float) -> float:
    # A few launches for all of them, and one number to wait for.
    norms = torch._foreach_norm(gradients, 2, dtype=torch.float64)  # pyright: ignore
    norm = float(torch.stack(norms).square().sum().sqrt())
    factor = limit / (norm + 1e-6)
    if math.isfinite(norm) and factor < 1:
        torch._foreach_mul_(gradients, factor)  # pyright: ignore
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
    settings = (lr, momentum, dampening, weight_decay, nesterov)
    lists = (values, gradients, velocities, first)
    for chosen, grads, speeds, fresh in _groups(reference.sgd_step, lists, settings):
        device = chosen[0].device
        _sgd[_grid(chosen)](
            _addresses(chosen), _addresses(grads), _addresses(speeds or chosen),
            _flags(tuple(fresh) or (False,), str(device)), *_parts(chosen),
            lr, momentum, 1 - dampening, weight_decay, bool(speeds), nesterov, _type(chosen), FLAT,
        )  # fmt: skip


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
    settings = (lr, betas, eps, weight_decay, keep, steps)
    lists = (values, gradients, means, squares)
    for chosen, grads, first, second in _groups(reference.adam_step, lists, settings):
        _adam[_grid(chosen)](
            _addresses(chosen), _addresses(grads), _addresses(first), _addresses(second),
            *_parts(chosen), lr / (1 - betas[0] ** steps), *betas, eps,
            (1 - betas[1] ** steps) ** -0.5, weight_decay, keep, _type(chosen), FLAT,
        )  # fmt: skip


def _groups(
    theirs: Callable[..., None], lists: tuple[list[Any], ...], settings: tuple[Any, ...]
) -> list[tuple[list[Any], ...]]:
    """The lists, parted by dtype; what isn't in memory of one order goes to the reference."""
    groups: dict[torch.dtype, tuple[list[Any], ...]] = {}
    for place, value in enumerate(lists[0]):
        one = tuple(each[place : place + 1] for each in lists)
        tensors = [each[0] for each in one if each and isinstance(each[0], Tensor)]
        if not flat(value) or any(
            x.stride() != value.stride() or x.dtype != value.dtype for x in tensors
        ):
            theirs(*one, *settings)
            continue
        kept = groups.setdefault(value.dtype, tuple([] for _ in lists))
        for items, item in zip(kept, one, strict=True):
            items += item
    return [*groups.values()]


def _addresses(tensors: list[Tensor]) -> Tensor:
    return _table(tuple(x.data_ptr() for x in tensors), str(tensors[0].device))


# Kept, because a call that is recorded as a CUDA graph may copy nothing to the device.


@lru_cache(maxsize=256)
def _table(addresses: tuple[int, ...], device: str) -> Tensor:
    return torch.tensor(addresses, dtype=torch.int64, device=device)


@lru_cache(maxsize=64)
def _flags(values: tuple[bool, ...], device: str) -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=device)


def _type(tensors: list[Tensor]) -> Any:
    return _TYPES[tensors[0].dtype]


def _parts(tensors: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    return _parts_of(tuple(x.numel() for x in tensors), str(tensors[0].device))


def _grid(tensors: list[Tensor]) -> tuple[int]:
    return (len(_parts(tensors)[0]),)


@lru_cache(maxsize=64)
def _parts_of(counts: tuple[int, ...], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of each program the tensor and its first element, and how many elements each tensor has."""
    which = [place for place, count in enumerate(counts) for _ in range(0, count, FLAT)]
    first = [start for count in counts for start in range(0, count, FLAT)]
    return (
        torch.tensor(which, dtype=torch.int32, device=device),
        torch.tensor(first, dtype=torch.int64, device=device),
        torch.tensor(counts, dtype=torch.int64, device=device),
    )

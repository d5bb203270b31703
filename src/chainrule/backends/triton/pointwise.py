"""Activations, sums, squared and absolute errors: one pass over memory each."""

# Triton compiles what it calls a constexpr from plain numbers and strings.
# pyright: reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.backends import reference
from chainrule.backends.block import Epilogue
from chainrule.backends.triton.launch import FLAT, activated, deactivated, flat, grid


@triton.jit
def _activate(x, y, count, slope, KIND: tl.constexpr, SIZE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = at < count
    z = tl.load(x + at, mask=inside).to(tl.float32)
    tl.store(y + at, activated(z, KIND, slope).to(y.dtype.element_ty), mask=inside)


@triton.jit
def _deactivate(gy, y, gx, count, slope, KIND: tl.constexpr, SIZE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = at < count
    g = tl.load(gy + at, mask=inside).to(tl.float32)
    after = tl.load(y + at, mask=inside).to(tl.float32)
    tl.store(gx + at, deactivated(g, after, KIND, slope).to(gx.dtype.element_ty), mask=inside)


@triton.jit
def _add(a, b, total, count, SIZE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = at < count
    tl.store(total + at, tl.load(a + at, mask=inside) + tl.load(b + at, mask=inside), mask=inside)


@triton.jit
def _errors(a, b, sums, count, SQUARE: tl.constexpr, SIZE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = at < count
    d = tl.load(a + at, mask=inside, other=0.0).to(tl.float32)
    d -= tl.load(b + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(sums + tl.program_id(0), tl.sum(d * d if SQUARE else tl.abs(d), 0))


@triton.jit
def _errors_grad(a, b, scale, out, count, SQUARE: tl.constexpr, SIZE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = at < count
    d = tl.load(a + at, mask=inside).to(tl.float32) - tl.load(b + at, mask=inside).to(tl.float32)
    if SQUARE:
        d = 2 * d
    else:
        d = tl.where(d > 0, 1.0, tl.where(d < 0, -1.0, d))
    tl.store(out + at, (tl.load(scale) * d).to(out.dtype.element_ty), mask=inside)


def activation(x: Tensor, epilogue: Epilogue) -> Tensor:
    if not flat(x):
        return reference.activation(x, epilogue)
    y = torch.empty_like(x)
    count = x.numel()
    _activate[grid(count)](x, y, count, epilogue.slope, epilogue.activation, FLAT)
    return y


def activation_grad(gy: Tensor, y: Tensor, epilogue: Epilogue) -> Tensor:
    if not (flat(gy) and gy.stride() == y.stride()):
        return reference.activation_grad(gy, y, epilogue)
    gx = torch.empty_like(gy)
    count = gy.numel()
    _deactivate[grid(count)](gy, y, gx, count, epilogue.slope, epilogue.activation, FLAT)
    return gx


def add(a: Tensor, b: Tensor) -> Tensor:
    if not (flat(a) and a.stride() == b.stride() and a.dtype == b.dtype):
        return reference.add(a, b)
    return add_into(torch.empty_like(a), a, b)


def add_into(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """total = a + b, three tensors that fill their memory in one order."""
    _add[grid(a.numel())](a, b, total, a.numel(), FLAT)
    return total


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    if not _alike(prediction, target):
        return reference.squared_error(prediction, target)
    return _sum_of_errors(prediction, target, square=True)


def squared_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    if not _alike(prediction, target) or (isinstance(scale, Tensor) and scale.dim()):
        return reference.squared_error_grad(prediction, target, scale)
    return _gradient_of_errors(prediction, target, scale, square=True)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    if not _alike(prediction, target):
        return reference.absolute_error(prediction, target)
    return _sum_of_errors(prediction, target, square=False)


def absolute_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    if not _alike(prediction, target) or (isinstance(scale, Tensor) and scale.dim()):
        return reference.absolute_error_grad(prediction, target, scale)
    return _gradient_of_errors(prediction, target, scale, square=False)


def _sum_of_errors(prediction: Tensor, target: Tensor, square: bool) -> Tensor:
    count = prediction.numel()
    sums = torch.empty(grid(count), dtype=torch.float32, device=prediction.device)
    _errors[grid(count)](prediction, target, sums, count, square, FLAT)
    return sums.sum().to(prediction.dtype)


def _gradient_of_errors(
    prediction: Tensor, target: Tensor, scale: float | Tensor, square: bool
) -> Tensor:
    gradient = torch.empty_like(prediction)
    if isinstance(scale, Tensor):
        factor = scale.to(prediction.device, torch.float32)
    else:  # not `tensor`, which copies, and so can't be recorded as a CUDA graph
        factor = torch.full((), scale, dtype=torch.float32, device=prediction.device)
    count = prediction.numel()
    _errors_grad[grid(count)](prediction, target, factor, gradient, count, square, FLAT)
    return gradient


def _alike(a: Tensor, b: Tensor) -> bool:
    return flat(a) and a.stride() == b.stride()

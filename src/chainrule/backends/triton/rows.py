"""Normalization of single samples: a program takes a row, whose values lie one behind the other.

    xhat = (x - mean) s,    s = 1 / sqrt(mean((x - mean)^2) + eps)
    dL/dx = s (g - mean(g) - xhat mean(g xhat))

and without the means of x and g for `rms_normalize`. What lies otherwise is the reference's.
"""

# Triton compiles what it calls a constexpr from plain numbers and strings.
# pyright: reportArgumentType=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from chainrule.backends import reference
from chainrule.backends.triton.launch import FLAT


@triton.jit
def _normalize(x, y, scales, count, eps, CENTRED: tl.constexpr, SIZE: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * count
    mean = 0.0
    if CENTRED:
        total = tl.zeros((SIZE,), tl.float32)
        for first in range(0, count, SIZE):
            at = first + tl.arange(0, SIZE)
            total += tl.load(x + start + at, mask=at < count, other=0.0).to(tl.float32)
        mean = tl.sum(total, 0) / count
    squares = tl.zeros((SIZE,), tl.float32)
    for first in range(0, count, SIZE):
        at = first + tl.arange(0, SIZE)
        d = tl.load(x + start + at, mask=at < count, other=0.0).to(tl.float32) - mean
        squares += tl.where(at < count, d * d, 0.0)
    scale = 1 / tl.sqrt(tl.sum(squares, 0) / count + eps)
    tl.store(scales + tl.program_id(0), scale.to(scales.dtype.element_ty))
    for first in range(0, count, SIZE):
        at = first + tl.arange(0, SIZE)
        d = tl.load(x + start + at, mask=at < count, other=0.0).to(tl.float32) - mean
        tl.store(y + start + at, (d * scale).to(y.dtype.element_ty), mask=at < count)


@triton.jit
def _normalize_grad(g, y, scales, gx, count, CENTRED: tl.constexpr, SIZE: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * count
    total = tl.zeros((SIZE,), tl.float32)
    products = tl.zeros((SIZE,), tl.float32)
    for first in range(0, count, SIZE):
        at = first + tl.arange(0, SIZE)
        gradient = tl.load(g + start + at, mask=at < count, other=0.0).to(tl.float32)
        total += gradient
        products += gradient * tl.load(y + start + at, mask=at < count, other=0.0).to(tl.float32)
    mean = tl.sum(total, 0) / count if CENTRED else 0.0
    slope = tl.sum(products, 0) / count
    scale = tl.load(scales + tl.program_id(0)).to(tl.float32)
    for first in range(0, count, SIZE):
        at = first + tl.arange(0, SIZE)
        gradient = tl.load(g + start + at, mask=at < count, other=0.0).to(tl.float32)
        after = tl.load(y + start + at, mask=at < count, other=0.0).to(tl.float32)
        result = scale * (gradient - mean - after * slope)
        tl.store(gx + start + at, result.to(gx.dtype.element_ty), mask=at < count)


def standardize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    if not _are_rows(dims, x):
        return reference.standardize(x, dims, eps)
    return _normalized(x, dims, eps, centred=True)


def rms_normalize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    if not _are_rows(dims, x):
        return reference.rms_normalize(x, dims, eps)
    return _normalized(x, dims, eps, centred=False)


def standardize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    if not _are_rows(dims, gxhat, xhat, scale):
        return reference.standardize_grad(gxhat, xhat, scale, dims)
    return _gradient(gxhat, xhat, scale, dims, centred=True)


def rms_normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    if not _are_rows(dims, gxhat, xhat, scale):
        return reference.rms_normalize_grad(gxhat, xhat, scale, dims)
    return _gradient(gxhat, xhat, scale, dims, centred=False)


def _normalized(
    x: Tensor, dims: tuple[int, ...], eps: float, centred: bool
) -> tuple[Tensor, Tensor]:
    length = _length(x, dims)
    shape = [1 if dim - x.dim() in _negative(x, dims) else s for dim, s in enumerate(x.shape)]
    y, scale = torch.empty_like(x), x.new_empty(shape)
    _normalize[(x.numel() // length,)](x, y, scale, length, eps, centred, FLAT)
    return y, scale


def _gradient(
    gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...], centred: bool
) -> Tensor:
    length, gx = _length(gxhat, dims), torch.empty_like(gxhat)
    _normalize_grad[(gxhat.numel() // length,)](gxhat, xhat, scale, gx, length, centred, FLAT)
    return gx


def _negative(x: Tensor, dims: tuple[int, ...]) -> set[int]:
    """The dimensions, counted from behind."""
    return {dim if dim < 0 else dim - x.dim() for dim in dims}


def _length(x: Tensor, dims: tuple[int, ...]) -> int:
    return math.prod(x.shape[dim] for dim in dims)


def _are_rows(dims: tuple[int, ...], *tensors: Tensor) -> bool:
    """Whether the dimensions are the last ones, of tensors in the usual order."""
    last = _negative(tensors[0], dims) == {*range(-len(dims), 0)}
    return last and all(x.is_contiguous() for x in tensors)

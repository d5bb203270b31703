"""Attention, and the parts of one product that it reads and writes: docs/kernels.md#attention."""

from __future__ import annotations

import torch
from torch import Tensor

import chainrule._native as kernels
from chainrule.backends import reference
from chainrule.backends.native.memory import fresh, solid
from chainrule.backends.settings import threads


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    padding: Tensor | None,
    mask: Tensor | None,
    causal: bool,
    keep: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor]:
    settings = (heads, padding, mask, causal, keep, scale)
    if not q.numel():
        return reference.attention(q, k, v, *settings)
    q, k, v = _spread(q), _spread(k), _spread(v)
    y, logs = fresh(q, *q.shape), fresh(q, q.shape[0], heads, q.shape[1])
    job, _masks = _job(q, k, v, *settings)
    kernels.attention(job, y.data_ptr(), logs.data_ptr())
    return y, logs


def attention_grad(
    gy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    logs: Tensor,
    heads: int,
    padding: Tensor | None,
    mask: Tensor | None,
    causal: bool,
    keep: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    settings = (heads, padding, mask, causal, keep, scale)
    if not q.numel():
        return reference.attention_grad(gy, q, k, v, y, logs, *settings)
    gy, q, k, v, y, logs = _spread(gy), _spread(q), _spread(k), _spread(v), solid(y), solid(logs)
    size = q.shape[2]
    if q.shape == k.shape:  # side by side, for the one product that made all three
        joined = fresh(q, *q.shape[:2], 3 * size)
        gq, gk, gv = joined.chunk(3, -1)
        pitch = 3 * size
    else:
        gq, gk, gv = (fresh(x, *x.shape) for x in (q, k, v))
        pitch = size
    job, _masks = _job(q, k, v, *settings)
    kernels.attention_gradient(
        job,
        *_places(gy),
        y.data_ptr(),
        logs.data_ptr(),
        gq.data_ptr(),
        gk.data_ptr(),
        gv.data_ptr(),
        pitch,
    )
    return gq, gk, gv


def split_grad(parts: list[Tensor]) -> Tensor:
    """The parts as they lie, where they lie side by side already."""
    first = parts[0]
    size = first.shape[-1]
    shape = (*first.shape[:-1], size * len(parts))
    steps = tuple(_steps(shape))
    storage, start = first.untyped_storage().data_ptr(), first.storage_offset()
    for place, part in enumerate(parts):
        beside = part.storage_offset() == start + place * size and part.stride() == steps
        if not beside or part.untyped_storage().data_ptr() != storage or part.is_neg():
            return reference.split_grad(parts)
    return first.as_strided(shape, steps)


def _steps(shape: tuple[int, ...]) -> list[int]:
    """Strides of dense memory."""
    steps = [1]
    for size in reversed(shape[1:]):
        steps.insert(0, steps[0] * size)
    return steps


def _spread(x: Tensor) -> Tensor:
    """x (N, L, E), each vector without gaps."""
    return x if x.stride(2) == 1 and not x.is_neg() else solid(x)


def _places(x: Tensor) -> tuple[int, int, int]:
    return x.data_ptr(), x.stride(0), x.stride(1)


def _job(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    padding: Tensor | None,
    mask: Tensor | None,
    causal: bool,
    keep: Tensor | None,
    scale: float,
) -> tuple[kernels.Attention, tuple[Tensor | None, ...]]:
    """As the kernels take it, and the masks, which must stay alive as long."""
    padding, mask, keep = (None if x is None else solid(x) for x in (padding, mask, keep))
    hidden = mask if mask is not None and mask.dtype == torch.bool else None
    added = mask if hidden is None else None
    sizes = (q.shape[0], heads, q.shape[1], k.shape[1], q.shape[2] // heads)
    job = kernels.Attention(
        sizes,
        _places(q),
        _places(k),
        _places(v),
        _address(padding),
        _address(hidden),
        _address(added),
        mask is not None and mask.dim() == 3,
        causal,
        _address(keep),
        scale,
        threads(),
    )
    return job, (padding, mask, keep)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()

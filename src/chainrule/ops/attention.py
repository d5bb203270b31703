"""Attention of queries to keys, and its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_alike, check_float, check_gradient, shape

NAME = "MultiHeadAttention"


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    padding: Tensor | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
    keep: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(d) + mask) v of each of the heads, side by side.

    Args:
        q, k, v: (N, L, E), (N, S, E), (N, S, E); head h has the values h*d to (h+1)*d - 1, d = E /
            heads.
        padding: (N, S), true for keys that nobody may look at.
        mask: (L, S) or (N * heads, L, S); true where a query may not look, or floats to add.
        causal: query i may look at keys 0 to i only.
        keep: (N, heads, L, S), which weights are kept; these are multiplied by `scale`.

    Returns:
        (N, L, E), zeros for a query that may look at nothing; and the logarithm of the sum of each
        query's exponentials, (N, heads, L), for the gradient.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    for what, x in (("query", q), ("key", k), ("value", v)):
        check_float(NAME, what, x)
    if q.dim() != 3 or k.shape != v.shape or k.shape[::2] != q.shape[::2] or not k.numel():
        raise ValueError(
            f"{NAME}: expected queries (N, L, {q.shape[-1]}) and keys and values "
            f"(N, S, {q.shape[-1]}), got {shape(q)}, {shape(k)} and {shape(v)}"
        )
    check_alike(NAME, q, "query", key=k, value=v)
    _check_masks(q, k, heads, padding, mask)
    return on(q).attention(q, k, v, heads, padding, mask, causal, keep, scale)


def attention_grad(
    gy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    logs: Tensor,
    heads: int,
    padding: Tensor | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
    keep: Tensor | None = None,
    scale: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dq, dL/dk and dL/dv of `attention`, from gy = dL/dy and what it returned."""
    check_gradient(NAME, gy, tuple(y.shape))
    settings = (heads, padding, mask, causal, keep, scale)
    return on(gy).attention_grad(gy, q, k, v, y, logs, *settings)


def _check_masks(
    q: Tensor, k: Tensor, heads: int, padding: Tensor | None, mask: Tensor | None
) -> None:
    (n, length, _), sources = q.shape, k.shape[1]
    if padding is not None and (padding.dtype != torch.bool or padding.shape != (n, sources)):
        raise ValueError(
            f"{NAME}: expected a key_padding_mask of torch.bool and shape {(n, sources)}, got "
            f"{padding.dtype} and {shape(padding)}"
        )
    if mask is None:
        return
    if mask.shape not in ((length, sources), (n * heads, length, sources)):
        raise ValueError(
            f"{NAME}: expected an attn_mask of shape {(length, sources)} or "
            f"{(n * heads, length, sources)}, got {shape(mask)}"
        )
    if mask.dtype not in (torch.bool, q.dtype):
        raise TypeError(
            f"{NAME}: expected an attn_mask of torch.bool or {q.dtype}, got {mask.dtype}"
        )

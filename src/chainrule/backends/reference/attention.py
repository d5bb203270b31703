"""Attention, without ever holding all weights at once: docs/gradients.md#attention."""

import math
from collections.abc import Iterator

from torch import Tensor

BLOCK_BYTES = 1 << 22
"""Of the weights of one block of queries: about what a processor's cache holds."""
LEAST_ROWS = 16
NEGLIGIBLE = -80.0
"""The logarithm of a weight that no sum of floats notices beside one of 1."""
CAUSAL_ROWS = 64
"""No more of them where queries see earlier keys only, so that later ones are hardly computed."""


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
    """softmax(q k^T / sqrt(d)) v of every head, (N, L, E); and log sum exp of its scores (N, H, L).

    With `keep`, weights that are not kept are 0, and the others multiplied by `scale`.
    """
    queries, keys, values = _scaled(q, heads), _by_head(k, heads), _by_head(v, heads)
    y = queries.new_empty(queries.shape)
    logs = queries.new_empty(queries.shape[:3])
    for rows, stop in _blocks(queries, keys, causal):
        scores = _scores(queries, keys, rows, stop, padding, mask, causal)
        top = scores.amax(-1, keepdim=True)
        top = top.masked_fill_(top == -float("inf"), 0)  # a query that sees nothing
        weights = _powers(scores.sub_(top))
        total = weights.sum(-1, keepdim=True)
        total.masked_fill_(total == 0, 1)
        logs[:, :, rows] = (top + total.log()).squeeze(-1)
        if keep is not None:
            weights.mul_(keep[:, :, rows, :stop]).mul_(scale)
        y[:, :, rows] = (weights @ values[:, :, :stop]).div_(total)
    return _joined(y), logs


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
    """dL/dq, dL/dk and dL/dv; the weights are made again, block by block, from the scores.

    With P the weights and gP = gy v^T: gv = P^T gy, gs = P (gP - sum gy y) and
    gq = gs k, gk = gs^T q.
    """
    queries, keys, values = _scaled(q, heads), _by_head(k, heads), _by_head(v, heads)
    upstream = _by_head(gy, heads)
    mean = (upstream * _by_head(y, heads)).sum(-1, keepdim=True)
    gq = queries.new_empty(queries.shape)
    gk, gv = keys.new_zeros(keys.shape), values.new_zeros(values.shape)
    for rows, stop in _blocks(queries, keys, causal):
        scores = _scores(queries, keys, rows, stop, padding, mask, causal)
        weights = _powers(scores.sub_(logs[:, :, rows].unsqueeze(-1)))
        gweights = upstream[:, :, rows] @ values[:, :, :stop].transpose(2, 3)
        kept = weights
        if keep is not None:
            part = keep[:, :, rows, :stop]
            kept = (weights * part).mul_(scale)
            gweights.mul_(part).mul_(scale)
        gv[:, :, :stop] += kept.transpose(2, 3) @ upstream[:, :, rows]
        gscores = gweights.sub_(mean[:, :, rows]).mul_(weights)
        gq[:, :, rows] = gscores @ keys[:, :, :stop]
        gk[:, :, :stop] += gscores.transpose(2, 3) @ queries[:, :, rows]
    return _joined(gq.mul_(_factor(queries))), _joined(gk), _joined(gv)


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(N, L, E) -> (N, H, L, d), without gaps."""
    parts = (heads, x.shape[2] // heads)  # said in full, since there may be no queries
    return x.reshape(*x.shape[:2], *parts).transpose(1, 2).contiguous()


def _joined(x: Tensor) -> Tensor:
    """(N, H, L, d) -> (N, L, E)."""
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], x.shape[1] * x.shape[3])


def _factor(queries: Tensor) -> float:
    return queries.shape[-1] ** -0.5


def _scaled(q: Tensor, heads: int) -> Tensor:
    """The queries by head, divided by sqrt(d)."""
    return _by_head(q, heads) * (q.shape[2] // heads) ** -0.5


def _blocks(queries: Tensor, keys: Tensor, causal: bool) -> Iterator[tuple[slice, int]]:
    """Some queries, and before which key they stop looking."""
    n, heads, length, _ = queries.shape
    row = n * heads * keys.shape[2] * queries.element_size()
    step = max(LEAST_ROWS, BLOCK_BYTES // row)
    step = min(step, CAUSAL_ROWS) if causal else step
    for start in range(0, length, step):
        end = min(start + step, length)
        yield slice(start, end), min(end, keys.shape[2]) if causal else keys.shape[2]


def _scores(
    queries: Tensor,
    keys: Tensor,
    rows: slice,
    stop: int,
    padding: Tensor | None,
    mask: Tensor | None,
    causal: bool,
) -> Tensor:
    """q k^T of some queries with the keys before `stop`, -inf where they may not look."""
    scores = queries[:, :, rows] @ keys[:, :, :stop].transpose(2, 3)
    if mask is not None:
        part = mask[..., rows, :stop]
        if part.dim() == 3:
            part = part.reshape(scores.shape)
        scores = _masked(scores, part) if not part.is_floating_point() else scores.add_(part)
    if padding is not None:
        scores = _masked(scores, padding[:, None, None, :stop])
    if causal:  # of the keys before the block's own, all may be seen
        own = scores[..., rows.start :]
        own.add_(own.new_full(own.shape[-2:], -float("inf")).triu_(1))
    return scores


def _powers(x: Tensor) -> Tensor:
    """exp(x), with 0 for what is negligible beside the largest, exp(0); x is used up.

    An exponential that underflows, as that of -inf does, takes a processor many times as long.
    """
    return x.clamp_(min=NEGLIGIBLE).exp_().hardshrink(2 * math.exp(NEGLIGIBLE))


def _masked(scores: Tensor, hidden: Tensor) -> Tensor:
    return scores.masked_fill_(hidden, -float("inf"))

"""The steps of recurrent layers, one after the other; `chainrule.layers.recurrent` checks."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on


def lstm(
    gates: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps of an LSTM layer.

    Args:
        gates: (T, N, 4 H), the inputs' part of the sums, of the gates i, f, g and o.
        h, c: (N, H), the state before the first step.
        weight, bias: (4 H, H) and (4 H,), of the state's part.

    Returns:
        h and c after each step, (T, N, H), and the gates' values, (T, N, 4 H).
    """
    return on(gates).lstm(gates, h, c, weight, bias)


def lstm_grad(
    gy: Tensor,
    gh: Tensor | None,
    gc: Tensor | None,
    cells: Tensor,
    gates: Tensor,
    c: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dgates, dL/dh and dL/dc of `lstm`.

    Args:
        gy: dL/d(h after each step); gh, gc: dL/d(h and c after the last), besides.
        cells, gates: what `lstm` returned; c, weight: what it was given.
    """
    return on(gy).lstm_grad(gy, gh, gc, cells, gates, c, weight)


def gru(
    gates: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """All steps of a GRU layer.

    Args:
        gates: (T, N, 3 H), the inputs' part of the sums, of r, z and n.
        h: (N, H), the state before the first step.
        weight, bias: (3 H, H) and (3 H,), of the state's part.

    Returns:
        h after each step, (T, N, H), the gates' values, (T, N, 3 H), and n's part of weight h +
        bias, (T, N, H).
    """
    return on(gates).gru(gates, h, weight, bias)


def gru_grad(
    gy: Tensor,
    gh: Tensor | None,
    states: Tensor,
    gates: Tensor,
    inner: Tensor,
    h: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dgates, dL/d(weight h + bias), both (T, N, 3 H), and dL/dh of `gru`.

    Args:
        gy: dL/d(h after each step); gh: dL/d(h after the last), besides.
        states, gates, inner: what `gru` returned; h, weight: what it was given.
    """
    return on(gy).gru_grad(gy, gh, states, gates, inner, h, weight)

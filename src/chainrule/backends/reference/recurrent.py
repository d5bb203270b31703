"""Recurrent cells, step by step: docs/gradients.md#recurrence.

The inputs' part of all steps' sums comes ready, (T, N, G * H), as one product of matrices; only the
state's part has to wait for the step before.
"""

from torch import Tensor


def lstm(
    gates: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """i, f, o = sigma(..), g = tanh(..) of gates + weight h + bias; c = f c + i g; h = o tanh(c).

    Of all steps: h and c, (T, N, H), and (i, f, g, o), (T, N, 4 H).
    """
    gates = gates.clone() if bias is None else gates + bias
    size, weight_t = h.shape[1], weight.t()
    states, cells = (gates.new_empty(*gates.shape[:2], size) for _ in range(2))
    for step, (sums, state, cell) in enumerate(zip(gates, states, cells, strict=True)):
        sums.addmm_(h, weight_t)
        sums[:, : 2 * size].sigmoid_()
        sums[:, 2 * size : 3 * size].tanh_()
        sums[:, 3 * size :].sigmoid_()
        i, f, g, o = sums.chunk(4, 1)
        cell.copy_(f * c).addcmul_(i, g)
        state.copy_(cell.tanh()).mul_(o)
        h, c = states[step], cell
    return states, cells, gates


def lstm_grad(
    gy: Tensor,
    gh: Tensor | None,
    gc: Tensor | None,
    cells: Tensor,
    gates: Tensor,
    c: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dgates of all steps, and dL/dh and dL/dc of the state before the first."""
    ggates = gates.new_empty(gates.shape)
    gh = gy.new_zeros(gy.shape[1:]) if gh is None else gh
    gc = gy.new_zeros(gy.shape[1:]) if gc is None else gc
    for step in reversed(range(len(gates))):
        i, f, g, o = gates[step].chunk(4, 1)
        gi, gf, gg, go = ggates[step].chunk(4, 1)
        before = cells[step - 1] if step else c
        curved = cells[step].tanh()
        gh = gh + gy[step]
        gc = gc + gh * o * (1 - curved * curved)
        gi.copy_(gc * g * i * (1 - i))
        gf.copy_(gc * before * f * (1 - f))
        gg.copy_(gc * i * (1 - g * g))
        go.copy_(gh * curved * o * (1 - o))
        gc = gc * f
        gh = ggates[step] @ weight
    return ggates, gh, gc


def gru(
    gates: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """a = weight h + bias; r, z = sigma(gates + a); n = tanh(gates + r a); h = (1 - z) n + z h.

    Of all steps: h, (T, N, H), (r, z, n), (T, N, 3 H), and n's part of a, (T, N, H).
    """
    size, weight_t, gates = h.shape[1], weight.t(), gates.clone()
    states, inner = (gates.new_empty(*gates.shape[:2], size) for _ in range(2))
    for step, sums in enumerate(gates):
        a = h @ weight_t if bias is None else bias.addmm(h, weight_t)
        inner[step] = a[:, 2 * size :]
        sums[:, : 2 * size].add_(a[:, : 2 * size]).sigmoid_()
        r, z, n = sums.chunk(3, 1)
        n.addcmul_(r, inner[step]).tanh_()
        states[step] = n.lerp(h, z)
        h = states[step]
    return states, gates, inner


def gru_grad(
    gy: Tensor,
    gh: Tensor | None,
    states: Tensor,
    gates: Tensor,
    inner: Tensor,
    h: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dgates and dL/da of all steps, and dL/dh of the state before the first."""
    size, ggates = h.shape[1], gates.new_empty(gates.shape)
    ga = gates.new_empty(gates.shape)
    gh = gy.new_zeros(gy.shape[1:]) if gh is None else gh
    for step in reversed(range(len(gates))):
        r, z, n = gates[step].chunk(3, 1)
        gr, gz, gn = ggates[step].chunk(3, 1)
        before = states[step - 1] if step else h
        gh = gh + gy[step]
        gn.copy_(gh * (1 - z) * (1 - n * n))
        gz.copy_(gh * (before - n) * z * (1 - z))
        gr.copy_(gn * inner[step] * r * (1 - r))
        ga[step] = ggates[step]
        ga[step, :, 2 * size :] *= r
        gh = (gh * z).addmm_(ga[step], weight)
    return ggates, ga, gh

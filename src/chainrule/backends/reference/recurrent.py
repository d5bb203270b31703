"""Recurrent cells, step by step: docs/gradients.md#recurrence.

The inputs' part of all steps' sums comes ready, (T, N, G * H), as one product of matrices. What
remains of a step waits for the one before, so it is kept short: everything else is done for all
steps at once, before or after.
"""

from torch import Tensor, cat


def lstm(
    gates: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """i, f, o = sigma(..), g = tanh(..) of gates + weight h + bias; c = f c + i g; h = o tanh(c).

    Of all steps: h and c, (T, N, H), and (i, f, g, o), (T, N, 4 H).
    """
    gates = gates.clone() if bias is None else gates + bias
    i, f, g, o = (part.unbind() for part in gates.chunk(4, 2))
    both = gates[:, :, : 2 * h.shape[1]].unbind()  # i and f
    states: list[Tensor] = []
    cells: list[Tensor] = []
    weight_t = weight.t()
    for step, sums in enumerate(gates.unbind()):
        sums.addmm_(h, weight_t)
        both[step].sigmoid_()
        g[step].tanh_()
        o[step].sigmoid_()
        c = (f[step] * c).addcmul_(i[step], g[step])
        h = c.tanh().mul_(o[step])
        cells.append(c)
        states.append(h)
    return _together(states), _together(cells), gates


def lstm_grad(
    gy: Tensor,
    gh: Tensor | None,
    gc: Tensor | None,
    cells: Tensor,
    gates: Tensor,
    c: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dgates of all steps, and dL/dh and dL/dc of the state before the first.

    Of the gates i, f and g it is dL/dc times a slope that is known beforehand, of o dL/dh.
    """
    i, f, g, o = gates.chunk(4, 2)
    before, curved = cat((c[None], cells[:-1])), cells.tanh()
    slopes = (g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), curved * o * (1 - o))
    ggates = cat(slopes, 2)
    by_cell = ggates.reshape(*gy.shape[:2], 4, -1)[:, :, :3].unbind()
    by_state = ggates.chunk(4, 2)[3].unbind()
    through = (o * (1 - curved * curved)).unbind()  # dh/dc
    gh = gy.new_zeros(gy.shape[1:]) if gh is None else gh
    gc = gy.new_zeros(gy.shape[1:]) if gc is None else gc
    for step in reversed(range(len(gates))):
        gh = gh + gy[step]
        gc = gc.addcmul(gh, through[step])
        by_cell[step].mul_(gc.unsqueeze(1))
        by_state[step].mul_(gh)
        gc.mul_(f[step])
        gh = ggates[step] @ weight
    return ggates, gh, gc


def gru(
    gates: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """a = weight h + bias; r, z = sigma(gates + a); n = tanh(gates + r a); h = (1 - z) n + z h.

    Of all steps: h, (T, N, H), (r, z, n), (T, N, 3 H), and n's part of a, (T, N, H).
    """
    gates, size, weight_t = gates.clone(), h.shape[1], weight.t()
    r, z, n = (part.unbind() for part in gates.chunk(3, 2))
    both = gates[:, :, : 2 * size].unbind()  # r and z
    states: list[Tensor] = []
    inner: list[Tensor] = []
    for step in range(len(gates)):
        a = h @ weight_t if bias is None else bias.addmm(h, weight_t)
        inner.append(a[:, 2 * size :])
        both[step].add_(a[:, : 2 * size]).sigmoid_()
        n[step].addcmul_(r[step], inner[step]).tanh_()
        h = n[step].lerp(h, z[step])
        states.append(h)
    return _together(states), gates, _together(inner)


def gru_grad(
    gy: Tensor,
    gh: Tensor | None,
    states: Tensor,
    gates: Tensor,
    inner: Tensor,
    h: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dgates and dL/da of all steps, and dL/dh of the state before the first.

    All three gates' are dL/dh times a slope that is known beforehand.
    """
    r, z, n = gates.chunk(3, 2)
    before, slope = cat((h[None], states[:-1])), (1 - z) * (1 - n * n)
    ga = cat((slope * inner * r * (1 - r), (before - n) * z * (1 - z), slope * r), 2)
    parts = ga.reshape(*gy.shape[:2], 3, -1).unbind()
    total = gy.clone()
    gh = gy.new_zeros(gy.shape[1:]) if gh is None else gh
    for step in reversed(range(len(gates))):
        gh = total[step].add_(gh)
        parts[step].mul_(gh.unsqueeze(1))
        gh = (gh * z[step]).addmm_(ga[step], weight)
    gn = slope.mul_(total)
    return cat((ga[:, :, : 2 * h.shape[1]], gn), 2), ga, gh


def _together(steps: list[Tensor]) -> Tensor:
    """(N, H) of each step -> (T, N, H)."""
    return cat(steps).reshape(len(steps), *steps[0].shape)

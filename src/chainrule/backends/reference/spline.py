"""Piecewise linear functions: docs/gradients.md#splines."""

from torch import Tensor


def piecewise_linear(x: Tensor, values: Tensor, ends: Tensor) -> Tensor:
    """y = v_i + (v_{i+1} - v_i) f, the place of x being i + f; the outer pieces go on for ever."""
    place, share = _places(x, values, ends)
    below = values[place]
    return below + (values[place + 1] - below) * share


def piecewise_linear_grads(
    gy: Tensor, x: Tensor, values: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    """dL/dx = gy (v_{i+1} - v_i) / step, and dL/dv, to which each x gives gy (1 - f) at i and
    gy f at i + 1; summed in float64, since all of an image may lie in one piece."""
    place, share = _places(x, values, ends)
    count = len(values)
    per_step = (count - 1) / (ends[1] - ends[0])
    gx = gy * ((values[place + 1] - values[place]) * per_step)
    above = (gy * share).double().reshape(-1)
    below = gy.double().reshape(-1) - above
    first = place.reshape(-1)
    gv = first.bincount(below, count) + (first + 1).bincount(above, count)
    return gx, gv.to(values.dtype)


def piecewise_linear_inverse(y: Tensor, values: Tensor, ends: Tensor) -> Tensor:
    """x = e_i + step (y - v_i) / (v_{i+1} - v_i), i the piece whose values y lies between."""
    count = len(values)
    step = (ends[1] - ends[0]) / (count - 1)
    # By the bounds between pieces alone: what lies beyond the ends belongs to the outer two.
    place = y.new_zeros(y.shape).long()
    for bound in values[1:-1]:
        place += y >= bound
    below = values[place]
    return ends[0] + step * (place + (y - below) / (values[place + 1] - below))


def piecewise_linear_inverse_grads(
    gx: Tensor, x: Tensor, values: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    """dL/dy = gx / slope, and dL/dv: what `piecewise_linear_grads` says of -dL/dy at x."""
    place, _ = _places(x, values, ends)
    slope = (values[place + 1] - values[place]) * ((len(values) - 1) / (ends[1] - ends[0]))
    gy = gx / slope
    return gy, piecewise_linear_grads(-gy, x, values, ends)[1]


def _places(x: Tensor, values: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """The piece that each x lies in, and how far into it: 0 to 1, but in the outer two."""
    pieces = len(values) - 1
    place = (x - ends[0]) * (pieces / (ends[1] - ends[0]))
    first = place.floor().clamp(0, pieces - 1)
    return first.long(), place - first

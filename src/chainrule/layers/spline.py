"""Functions of one value that are learned: piecewise linear ones, applied to every value alike.

Gradients: docs/gradients.md#splines.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape, parameter


class PiecewiseLinear(Module):
    """y = the function through K points at x, elementwise: straight between them, and beyond.

    Args:
        knots: K, at least 2.
        low, high: the first and the last knot; the others lie evenly between.

    Shapes:
        any to the same.

    Attributes:
        weight: (K,), the values at the knots; at first the knots themselves, so that y = x.
        ends: (2,), low and high; a buffer.

    Raises:
        ValueError: too few knots, or low isn't below high.
    """

    buffers: ClassVar[tuple[str, ...]] = ("ends",)

    def __init__(self, knots: int, low: float = 0.0, high: float = 1.0) -> None:
        name = type(self).__name__
        if knots < 2:
            raise ValueError(f"{name}: at least 2 knots are needed, got {knots}")
        if not low < high:
            raise ValueError(f"{name}: low must be below high, got {low} and {high}")
        self.knots = knots
        self.ends = torch.tensor([float(low), float(high)])
        self._begin()

    def _begin(self) -> None:
        low, high = self.ends
        self.weight = parameter(low + (high - low) * torch.arange(self.knots) / (self.knots - 1))

    def values(self) -> Tensor:
        """At the knots, (K,)."""
        return self.weight

    def add_to(self, gvalues: Tensor, tape: Tape) -> None:
        """Hand the tape the gradients of what the values are made of."""
        tape.add(self.weight, gvalues)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        values = self.values()
        y = ops.piecewise_linear(x, values, self.ends)
        tape.push(self, x, values)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        x, values = tape.take(self)
        gx, gvalues = ops.piecewise_linear_grads(gy, x, values, self.ends)
        self.add_to(gvalues, tape)
        return gx

    def arguments(self) -> str:
        return str(self.knots)


class MonotoneSpline(PiecewiseLinear):
    """A piecewise linear function that grows everywhere: v_k = bias + step (e^w_1 + ... + e^w_k),
    so that e^w are the slopes of its pieces.

    Args, shapes: as `PiecewiseLinear`.

    Attributes:
        weight: (K - 1,), logarithms of the slopes, at first 0, so that y = x.
        bias: (1,), the value at the first knot.
        ends: (2,), low and high; a buffer.
    """

    def _begin(self) -> None:
        self.weight = parameter(torch.zeros(self.knots - 1))
        self.bias = parameter(self.ends[:1].clone())

    def values(self) -> Tensor:
        rises = self._step() * self.weight.exp()
        return torch.cat([self.bias, self.bias + rises.cumsum(0)])

    def add_to(self, gvalues: Tensor, tape: Tape) -> None:
        # A slope lifts all values behind it, so it gets the sum of their gradients.
        behind = gvalues.flip(0).cumsum(0).flip(0)
        tape.add(self.weight, behind[1:] * self._step() * self.weight.exp())
        tape.add(self.bias, behind[:1])

    def _step(self) -> Tensor:
        return (self.ends[1] - self.ends[0]) / (self.knots - 1)


class Inverse(Module):
    """x at which a `MonotoneSpline` is y: elementwise, with the spline's own parameters.

    A spline and its inverse around a network are a transformation that is taken back, whatever the
    spline has learned.

    Args:
        spline: also used elsewhere; its gradients from both places are summed.
    """

    def __init__(self, spline: MonotoneSpline) -> None:
        self.spline = spline

    def run(self, y: Tensor, tape: Tape) -> Tensor:
        values = self.spline.values()
        x = ops.piecewise_linear_inverse(y, values, self.spline.ends)
        tape.push(self, x, values)
        return x

    def back(self, gx: Tensor, tape: Tape) -> Tensor:
        x, values = tape.take(self)
        gy, gvalues = ops.piecewise_linear_inverse_grads(gx, x, values, self.spline.ends)
        self.spline.add_to(gvalues, tape)
        return gy


class PositiveSpline(PiecewiseLinear):
    """A piecewise linear function whose values at the knots are e^weight, above 0.

    Beyond the ends its argument is taken for the nearest end, since a line would cross zero.

    Args, shapes: as `PiecewiseLinear`.

    Attributes:
        weight: (K,), logarithms of the values, at first 0, so that y = 1.
        ends: (2,), low and high; a buffer.
    """

    def _begin(self) -> None:
        self.weight = parameter(torch.zeros(self.knots))

    def values(self) -> Tensor:
        return self.weight.exp()

    def add_to(self, gvalues: Tensor, tape: Tape) -> None:
        tape.add(self.weight, gvalues * self.weight.exp())

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        inside = x.clamp(self.ends[0], self.ends[1])
        y = super().run(inside, tape)
        tape.push(self, x)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (x,) = tape.take(self)
        gx = super().back(gy, tape)
        return gx * ((x >= self.ends[0]) & (x <= self.ends[1]))

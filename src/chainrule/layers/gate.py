"""Products of two values, which a network gates with. Gradients: docs/gradients.md#gates."""

from __future__ import annotations

from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape


class Multiply(Module):
    """y = a * b, elementwise; a dimension of size 1 is repeated to the other's size.

    With `chainrule.Graph` it makes gates: squeeze-and-excitation (Hu et al. 2018), which weighs
    channels by what the whole image holds, and NAFNet's (Chen et al. 2022), which multiplies one
    half of the channels by the other.

    Shapes:
        a and b, of as many dimensions, whose sizes are the same or 1.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.

    Example:
        >>> squeeze = Sequential(AdaptiveAvgPool2d(1), Conv2d(8, 8, 1), Sigmoid())
        >>> attention = chainrule.Graph(
        ...     "x", {"weights": (squeeze, "x"), "y": (Multiply(), "x", "weights")}
        ... )
        >>> attention(torch.zeros(2, 8, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    def run(self, a: Tensor, b: Tensor, tape: Tape) -> Tensor:
        y = ops.multiply(a, b)
        tape.push(self, a, b)
        return y

    def back(self, gy: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        a, b = tape.take(self)
        return ops.multiply_grads(gy, a, b)

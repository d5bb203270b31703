"""Activations: elementwise, without parameters. Each keeps its output, which the next layer keeps
too.

Gradients: docs/gradients.md#activations.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape


class Identity(Module):
    """y = x: a place holder that computes nothing."""

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return x

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        return gy


class Activation(Module):
    """y = f(x), elementwise, f an entry of `chainrule.backends.block.ACTIVATIONS`.

    Attributes:
        function: the entry's name.
    """

    function: ClassVar[str]

    @property
    def epilogue(self) -> ops.Epilogue:
        """f as a convolution takes it, to apply it where it stores its result."""
        return ops.Epilogue(self.function)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.activation(x, self.epilogue)
        tape.push(self, y)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (y,) = tape.take(self)
        return ops.activation_grad(gy, y, self.epilogue)


class ReLU(Activation):
    """y = max(x, 0), any shape. dL/dx = dL/dy where x > 0, else 0."""

    function = "relu"


class LeakyReLU(Activation):
    """y = x where x > 0, else negative_slope * x, any shape.

    Args:
        negative_slope: at least 0, so that y tells the sign of x and x needs not be kept.

    Raises:
        ValueError: a negative slope below 0.
    """

    function = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        if not negative_slope >= 0:
            raise ValueError(f"LeakyReLU: negative_slope must be at least 0, got {negative_slope}")
        self.negative_slope = negative_slope

    @property
    def epilogue(self) -> ops.Epilogue:
        return ops.Epilogue(self.function, self.negative_slope)

    def arguments(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)), any shape, y in (0, 1). dL/dx = dL/dy * y * (1 - y)."""

    function = "sigmoid"


class Tanh(Activation):
    """y = tanh(x), any shape, y in (-1, 1). dL/dx = dL/dy * (1 - y^2)."""

    function = "tanh"

"""Activations, without parameters. Those whose output tells the slope keep the output, which the
next layer keeps too; the others their input.

Gradients: docs/gradients.md#activations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from chainrule import ops
from chainrule.layers.arguments import check_probability
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


class Curve(Module):
    """y = f(x), elementwise, whose gradient is written in x: what y tells isn't enough.

    Attributes:
        function, gradient: the pair of ops; both take `settings` last.
    """

    function: Callable[..., Tensor]
    gradient: Callable[..., Tensor]

    def settings(self) -> tuple[Any, ...]:
        return ()

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = type(self).function(x, *self.settings())
        tape.push(self, x)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (x,) = tape.take(self)
        return type(self).gradient(gy, x, *self.settings())


class GELU(Curve):
    """y = x Phi(x), any shape; Phi is the normal distribution. Hendrycks and Gimpel 2016.

    Args:
        approximate: "none", or "tanh" for Phi(x) = (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2.

    Raises:
        ValueError: another approximation.
    """

    function = staticmethod(ops.gelu)
    gradient = staticmethod(ops.gelu_grad)

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f'GELU: approximate must be "none" or "tanh", got {approximate!r}')
        self.approximate = approximate

    def settings(self) -> tuple[str]:
        return (self.approximate,)

    def arguments(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Curve):
    """y = x / (1 + exp(-x)), any shape; also known as Swish. Elfwing et al. 2017."""

    function = staticmethod(ops.silu)
    gradient = staticmethod(ops.silu_grad)


class ELU(Curve):
    """y = x where x > 0, else alpha * (exp(x) - 1), any shape. Clevert et al. 2016."""

    function = staticmethod(ops.elu)
    gradient = staticmethod(ops.elu_grad)

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def settings(self) -> tuple[float]:
        return (self.alpha,)

    def arguments(self) -> str:
        return f"alpha={self.alpha}"


class Softplus(Curve):
    """y = log(1 + exp(beta * x)) / beta, any shape: a smooth ReLU.

    Args:
        beta: above 0; the larger, the closer to ReLU.
        threshold: where beta * x is above it, y = x.

    Raises:
        ValueError: a beta that is not above 0.
    """

    function = staticmethod(ops.softplus)
    gradient = staticmethod(ops.softplus_grad)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        if not beta > 0:
            raise ValueError(f"Softplus: beta must be above 0, got {beta}")
        self.beta, self.threshold = beta, threshold

    def settings(self) -> tuple[float, float]:
        return self.beta, self.threshold

    def arguments(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """y = exp(x) / sum exp(x), the sum along `dim`: values in (0, 1) whose sum is 1.

    Args:
        dim: the dimension of the sum; below 0 it counts from the end.

    Raises:
        ValueError: the input has no such dimension.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.softmax(x, self.dim)
        tape.push(self, y)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (y,) = tape.take(self)
        return ops.softmax_grad(gy, y, self.dim)

    def arguments(self) -> str:
        return f"dim={self.dim}"


class Dropout(Module):
    """In training each value is 0 with probability p, the others are divided by 1 - p; any shape.

    So the mean stays. In evaluation y = x. Srivastava et al. 2014. Drawn from torch's default
    generator, as `torch.nn.Dropout` does: `torch.manual_seed` makes it repeatable.

    Args:
        p: in [0, 1].

    Raises:
        ValueError: a p outside of [0, 1].
    """

    def __init__(self, p: float = 0.5) -> None:
        check_probability("Dropout", p)
        self.p = p

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        if not self.training or self.p == 0:
            tape.push(self, None)
            return x
        keep = x.new_empty(x.shape, dtype=torch.bool).bernoulli_(1 - self.p)
        tape.push(self, keep)
        return ops.dropout(x, keep, self._scale())

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (keep,) = tape.take(self)
        return gy if keep is None else ops.dropout(gy, keep, self._scale())

    def _scale(self) -> float:
        return 1 / (1 - self.p) if self.p < 1 else 0.0

    def arguments(self) -> str:
        return f"p={self.p}"

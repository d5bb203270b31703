"""Activations, of any shape: elementwise, but for the softmax. Some gradients are written in y, the
others in x: see docs/gradients.md#activations.
"""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.backends.block import ACTIVATIONS, Epilogue
from chainrule.ops.checks import (
    check_dimension,
    check_float,
    check_gradient,
    check_input,
    check_output,
)


def activation(x: Tensor, epilogue: Epilogue) -> Tensor:
    """y = f(x), where f is the epilogue's activation."""
    check_float(ACTIVATIONS[epilogue.activation].layer, "input", x)
    return on(x).activation(x, epilogue)


def activation_grad(gy: Tensor, y: Tensor, epilogue: Epilogue) -> Tensor:
    """dL/dx of `activation`, from gy = dL/dy and y."""
    check_output(ACTIVATIONS[epilogue.activation].layer, gy, y)
    return on(gy).activation_grad(gy, y, epilogue)


def relu(x: Tensor) -> Tensor:
    """y = max(x, 0)."""
    return activation(x, Epilogue("relu"))


def relu_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx of `relu` = gy where y > 0, else 0."""
    return activation_grad(gy, y, Epilogue("relu"))


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """y = x where x > 0, else slope * x; slope >= 0."""
    return activation(x, Epilogue("leaky_relu", slope))


def leaky_relu_grad(gy: Tensor, y: Tensor, slope: float = 0.01) -> Tensor:
    """dL/dx of `leaky_relu` = gy where y > 0, else slope * gy."""
    return activation_grad(gy, y, Epilogue("leaky_relu", slope))


def sigmoid(x: Tensor) -> Tensor:
    """y = 1 / (1 + exp(-x))."""
    return activation(x, Epilogue("sigmoid"))


def sigmoid_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx of `sigmoid` = gy y (1 - y)."""
    return activation_grad(gy, y, Epilogue("sigmoid"))


def tanh(x: Tensor) -> Tensor:
    """y = tanh(x)."""
    return activation(x, Epilogue("tanh"))


def tanh_grad(gy: Tensor, y: Tensor) -> Tensor:
    """dL/dx of `tanh` = gy (1 - y^2)."""
    return activation_grad(gy, y, Epilogue("tanh"))


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """y = x Phi(x), Phi the normal distribution's; "tanh" is its approximation with a tanh."""
    check_float("GELU", "input", x)
    return on(x).gelu(x, approximate)


def gelu_grad(gy: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    """dL/dx of `gelu`, from gy = dL/dy."""
    check_input("GELU", gy, x)
    return on(gy).gelu_grad(gy, x, approximate)


def silu(x: Tensor) -> Tensor:
    """y = x / (1 + exp(-x))."""
    check_float("SiLU", "input", x)
    return on(x).silu(x)


def silu_grad(gy: Tensor, x: Tensor) -> Tensor:
    """dL/dx of `silu`, from gy = dL/dy."""
    check_input("SiLU", gy, x)
    return on(gy).silu_grad(gy, x)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x where x > 0, else alpha (exp(x) - 1)."""
    check_float("ELU", "input", x)
    return on(x).elu(x, alpha)


def elu_grad(gy: Tensor, x: Tensor, alpha: float = 1.0) -> Tensor:
    """dL/dx of `elu`, from gy = dL/dy."""
    check_input("ELU", gy, x)
    return on(gy).elu_grad(gy, x, alpha)


def softplus(x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """y = log(1 + exp(beta x)) / beta, and x where beta x is above the threshold."""
    check_float("Softplus", "input", x)
    return on(x).softplus(x, beta, threshold)


def softplus_grad(gy: Tensor, x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """dL/dx of `softplus`, from gy = dL/dy."""
    check_input("Softplus", gy, x)
    return on(gy).softplus_grad(gy, x, beta, threshold)


def softmax(x: Tensor, dim: int) -> Tensor:
    """y = exp(x) / sum exp(x), the sum along `dim`.

    Raises:
        ValueError: x has no such dimension.
    """
    check_float("Softmax", "input", x)
    check_dimension("Softmax", x, dim)
    return on(x).softmax(x, dim)


def softmax_grad(gy: Tensor, y: Tensor, dim: int) -> Tensor:
    """dL/dx of `softmax`, from gy = dL/dy and y."""
    check_output("Softmax", gy, y)
    return on(gy).softmax_grad(gy, y, dim)


def dropout(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    """y = scale x where `keep`, else 0. Its gradient is the same function, of gy."""
    check_float("Dropout", "input", x)
    check_gradient("Dropout", x, tuple(keep.shape))
    return on(x).dropout(x, keep, scale)

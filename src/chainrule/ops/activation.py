"""Activations: elementwise, of any shape."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.backends.block import ACTIVATIONS, Epilogue
from chainrule.ops.checks import check_float, check_output


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

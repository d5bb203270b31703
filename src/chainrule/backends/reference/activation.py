"""Activations: those that a convolution can merge from `chainrule.backends.block.ACTIVATIONS`."""

import math

from torch import Tensor

from chainrule.backends.block import ACTIVATIONS, Epilogue


def activation(x: Tensor, epilogue: Epilogue) -> Tensor:
    """y = f(x), elementwise."""
    return ACTIVATIONS[epilogue.activation].forward(x, epilogue.slope)


def activation_grad(gy: Tensor, y: Tensor, epilogue: Epilogue) -> Tensor:
    """dL/dx from y = f(x)."""
    return ACTIVATIONS[epilogue.activation].gradient(gy, y, epilogue.slope)


def gelu(x: Tensor, approximate: str) -> Tensor:
    """y = x Phi(x); with "tanh", Phi(x) = (1 + tanh u(x)) / 2."""
    if approximate == "tanh":
        return 0.5 * x * (1 + _gelu_inner(x).tanh())
    return x * _normal_distribution(x)


def gelu_grad(gy: Tensor, x: Tensor, approximate: str) -> Tensor:
    """dL/dx = gy (Phi + x phi); with "tanh", phi = (1 - tanh^2 u) u' / 2."""
    if approximate == "tanh":
        t = _gelu_inner(x).tanh()
        slope = _ROOT * (1 + 3 * _CUBIC * x.square())
        return gy * 0.5 * (1 + t + x * (1 - t.square()) * slope)
    density = (-0.5 * x.square()).exp() / math.sqrt(2 * math.pi)
    return gy * (_normal_distribution(x) + x * density)


def silu(x: Tensor) -> Tensor:
    """y = x sigma(x)."""
    return x * x.sigmoid()


def silu_grad(gy: Tensor, x: Tensor) -> Tensor:
    """dL/dx = gy sigma (1 + x (1 - sigma))."""
    sigma = x.sigmoid()
    return gy * sigma * (1 + x * (1 - sigma))


def elu(x: Tensor, alpha: float) -> Tensor:
    """y = x where x > 0, else alpha (exp(x) - 1)."""
    return x.where(x > 0, alpha * x.expm1())


def elu_grad(gy: Tensor, x: Tensor, alpha: float) -> Tensor:
    """dL/dx = gy where x > 0, else gy alpha exp(x)."""
    return gy.where(x > 0, gy * alpha * x.exp())


def softplus(x: Tensor, beta: float, threshold: float) -> Tensor:
    """y = log(1 + exp(beta x)) / beta, and x where the difference is below rounding."""
    z = beta * x
    return x.where(z > threshold, z.exp().log1p() / beta)


def softplus_grad(gy: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    """dL/dx = gy sigma(beta x), and gy where y = x."""
    z = beta * x
    return gy.where(z > threshold, gy * z.sigmoid())


def softmax(x: Tensor, dim: int) -> Tensor:
    """y = exp(x - max) / sum exp(x - max): the same as without max, which keeps exp finite."""
    powers = (x - x.amax(dim, keepdim=True)).exp_()
    return powers.div_(powers.sum(dim, keepdim=True))


def softmax_grad(gy: Tensor, y: Tensor, dim: int) -> Tensor:
    """dL/dx = y (gy - sum gy y)."""
    return y * (gy - (gy * y).sum(dim, keepdim=True))


def dropout(x: Tensor, keep: Tensor, scale: float) -> Tensor:
    """y = scale x where keep, else 0."""
    return (x * scale).where(keep, 0)


_ROOT, _CUBIC = math.sqrt(2 / math.pi), 0.044715


def _gelu_inner(x: Tensor) -> Tensor:
    """u(x) = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return _ROOT * (x + _CUBIC * x.square() * x)


def _normal_distribution(x: Tensor) -> Tensor:
    return 0.5 * (1 + (x / math.sqrt(2)).erf())

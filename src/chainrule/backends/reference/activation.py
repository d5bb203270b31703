"""Activations: those that a convolution can merge from `chainrule.backends.block.ACTIVATIONS`.

GELU works in place on as few tensors as its formula allows: it stands in the widest layers of
transformers, where memory that was just got takes longer than the arithmetic on it.
"""

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
    z = _gelu_inner(x).tanh_() if approximate == "tanh" else (x * _ROOT_HALF).erf_()
    return z.add_(1).mul_(x).mul_(0.5)


def gelu_grad(gy: Tensor, x: Tensor, approximate: str) -> Tensor:
    """dL/dx = gy (Phi + x phi); with "tanh", phi = (1 - tanh^2 u) u' / 2.

    In z = x / sqrt(2), 2 x phi = 2 / sqrt(pi) z exp(-z^2).
    """
    if approximate == "tanh":
        t = _gelu_inner(x).tanh_()
        slope = x.square().mul_(3 * _CUBIC * _ROOT).add_(_ROOT).mul_(x)
        slope.mul_(1 - t.square())
        return slope.add_(t).add_(1).mul_(gy).mul_(0.5)
    z = x * _ROOT_HALF
    density = z.square().neg_().exp_().mul_(z)
    return z.erf_().add_(density, alpha=2 / math.sqrt(math.pi)).add_(1).mul_(gy).mul_(0.5)


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


_ROOT, _CUBIC, _ROOT_HALF = math.sqrt(2 / math.pi), 0.044715, math.sqrt(0.5)


def _gelu_inner(x: Tensor) -> Tensor:
    """u(x) = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x.square().mul_(_CUBIC).add_(1).mul_(x).mul_(_ROOT)

"""Batch normalization: docs/gradients.md#batch-normalization."""

from torch import Tensor


def channel_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (over M = N H W values, divided by M) of each channel, shape (C,)."""
    return x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)


def normalize(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """xhat = (x - mean) * scale, channel by channel, where scale = 1 / sqrt(var + eps)."""
    return (x - _per_channel(mean)) * _per_channel(scale)


def normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx when mean and variance are those of x itself and change with it.

    dL/dx = scale * (gxhat - mean(gxhat) - xhat * mean(gxhat * xhat)), means over N, H and W.
    """
    mean = gxhat.mean((0, 2, 3), keepdim=True)
    slope = (gxhat * xhat).mean((0, 2, 3), keepdim=True)
    return (gxhat - mean - xhat * slope) * _per_channel(scale)


def normalize_fixed_grad(gxhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx = scale * gxhat when mean and scale are fixed numbers."""
    return gxhat * _per_channel(scale)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y = weight * x + bias, channel by channel."""
    return x * _per_channel(weight) + _per_channel(bias)


def affine_grad(gy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx = weight * gy, dL/dweight = sum gy * x, dL/dbias = sum gy."""
    return gy * _per_channel(weight), (gy * x).sum((0, 2, 3)), gy.sum((0, 2, 3))


def _per_channel(values: Tensor) -> Tensor:
    return values.reshape(1, -1, 1, 1)

"""Normalizations: docs/gradients.md#batch-normalization and the section after it."""

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


def standardize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """xhat = (x - mean) * scale, scale = 1 / sqrt(var + eps), over dims; and scale."""
    centred = x - x.mean(dims, keepdim=True)
    # Not x.var, which takes many times as long for the short rows of a transformer.
    scale = centred.square().mean(dims, keepdim=True).add_(eps).rsqrt_()
    return centred.mul_(scale), scale


def standardize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    """dL/dx = scale * (gxhat - mean(gxhat) - xhat * mean(gxhat * xhat)), means over dims."""
    return rms_normalize_grad(gxhat - gxhat.mean(dims, keepdim=True), xhat, scale, dims)


def rms_normalize(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """xhat = x * scale, scale = 1 / sqrt(mean(x^2) + eps), over dims; and scale."""
    scale = (x.square().mean(dims, keepdim=True) + eps).rsqrt_()
    return x * scale, scale


def rms_normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    """dL/dx = scale * (gxhat - xhat * mean(gxhat * xhat)), the mean over dims."""
    slope = (gxhat * xhat).mean(dims, keepdim=True)
    return gxhat.addcmul(xhat, slope, value=-1).mul_(scale)


def scale_shift(x: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """y = weight * x + bias; their dimensions are those of x from `dim` on."""
    factor = _beside(x, weight, dim)
    return x * factor if bias is None else _beside(x, bias, dim).addcmul(x, factor)


def scale_shift_grad(
    gy: Tensor, x: Tensor, weight: Tensor, dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx = weight * gy, dL/dweight = sum gy * x, dL/dbias = sum gy."""
    beside = _beside(x, weight, dim)
    gweight = (gy * x).sum_to_size(beside.shape).reshape(weight.shape)
    return gy * beside, gweight, gy.sum_to_size(beside.shape).reshape(weight.shape)


def _beside(x: Tensor, values: Tensor, dim: int) -> Tensor:
    """`values` with a dimension of 1 for each that x has after theirs."""
    return values.reshape(*values.shape, *[1] * (x.dim() - dim - values.dim()))

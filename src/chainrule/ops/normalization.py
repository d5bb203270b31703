"""Batch normalization, in steps, and the normalizations of single samples."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_alike, check_batch_norm, check_float, check_gradient, shape


def channel_statistics(
    x: Tensor, channels: int, running_mean: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each channel of x (N, C, H, W) over N, H and W, both (C,).

    Raises:
        TypeError: x has another dtype than the running mean that the result will be added to.
        ValueError: another number of channels, or a single value a channel, which has no variance.
    """
    check_batch_norm(x, channels)
    check_alike("BatchNorm2d", x, **{"running mean": running_mean})
    if x.shape[0] * x.shape[2] * x.shape[3] == 1:
        raise ValueError(
            f"BatchNorm2d: training needs more than one value per channel, got {tuple(x.shape)}; "
            "use a larger batch, or eval()"
        )
    return on(x).channel_statistics(x)


def normalize(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """xhat = (x - mean) * scale, channel by channel; scale = 1 / sqrt(var + eps), (C,).

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    check_batch_norm(x, mean.shape[0])
    check_alike("BatchNorm2d", x, mean=mean, scale=scale)
    return on(x).normalize(x, mean, scale)


def normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx of `normalize` when mean and scale are x's own statistics."""
    check_gradient("BatchNorm2d", gxhat, tuple(xhat.shape))
    return on(gxhat).normalize_grad(gxhat, xhat, scale)


def normalize_fixed_grad(gxhat: Tensor, scale: Tensor) -> Tensor:
    """dL/dx of `normalize` when mean and scale are fixed numbers, as in evaluation."""
    return on(gxhat).normalize_fixed_grad(gxhat, scale)


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """y = weight * x + bias, channel by channel.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    check_batch_norm(x, weight.shape[0])
    check_alike("BatchNorm2d", x, weight=weight, bias=bias)
    return on(x).affine(x, weight, bias)


def affine_grad(gy: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx, dL/dweight and dL/dbias of `affine`."""
    check_gradient("BatchNorm2d", gy, tuple(x.shape))
    return on(gy).affine_grad(gy, x, weight)


def standardize(name: str, x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """xhat = (x - mean) * scale and scale = 1 / sqrt(var + eps), of x over `dims`.

    Args:
        name: of the layer, for errors.
        x: any shape.
        dims: over which mean and (biased) variance are taken.
        eps: added to the variance.
    """
    check_float(name, "input", x)
    return on(x).standardize(x, dims, eps)


def standardize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    """dL/dx of `standardize`, from dL/dxhat."""
    return on(gxhat).standardize_grad(gxhat, xhat, scale, dims)


def rms_normalize(name: str, x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """xhat = x * scale and scale = 1 / sqrt(mean(x^2) + eps); arguments as `standardize`."""
    check_float(name, "input", x)
    return on(x).rms_normalize(x, dims, eps)


def rms_normalize_grad(gxhat: Tensor, xhat: Tensor, scale: Tensor, dims: tuple[int, ...]) -> Tensor:
    """dL/dx of `rms_normalize`, from dL/dxhat."""
    return on(gxhat).rms_normalize_grad(gxhat, xhat, scale, dims)


def scale_shift(name: str, x: Tensor, weight: Tensor, bias: Tensor | None, dim: int) -> Tensor:
    """y = weight * x + bias, where the dimensions of weight and bias are those of x from `dim` on.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    if x.shape[dim : dim + weight.dim()] != weight.shape:
        raise ValueError(
            f"{name}: the weight is {shape(weight)}, which the input of {shape(x)} has not from "
            f"dimension {dim} on"
        )
    check_alike(name, x, weight=weight, bias=bias)
    return on(x).scale_shift(x, weight, bias, dim)


def scale_shift_grad(
    gy: Tensor, x: Tensor, weight: Tensor, dim: int
) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dx, dL/dweight and dL/dbias of `scale_shift`."""
    return on(gy).scale_shift_grad(gy, x, weight, dim)

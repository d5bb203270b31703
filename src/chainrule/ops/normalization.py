"""Batch normalization, in steps."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_alike, check_batch_norm, check_gradient


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

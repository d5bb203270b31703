"""Nearest and bilinear upsampling, and what joins the two ends of a skip connection."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.geometry import IntOrPair, Pair, pair
from chainrule.ops.checks import check_alike, check_gradient, check_images


def upsample_nearest2d(x: Tensor, scale: IntOrPair) -> Tensor:
    """Each pixel repeated: (N, C, H, W) to (N, C, H * scale, W * scale).

    Raises:
        TypeError, ValueError: shapes or arguments that don't fit, with the values met.
    """
    check_images("NearestUpsampling", "input", x)
    return on(x).upsample_nearest2d(x, pair("scale_factor", scale, 1))


def upsample_nearest2d_grad(gy: Tensor, input_size: Pair, scale: IntOrPair) -> Tensor:
    """dL/dx of `upsample_nearest2d`: gy summed over the block that repeats each pixel."""
    rows, columns = pair("scale_factor", scale, 1)
    size = (input_size[0] * rows, input_size[1] * columns)
    check_gradient("NearestUpsampling", gy, (*gy.shape[:2], *size))
    return on(gy).upsample_nearest2d_grad(gy, (rows, columns))


def upsample_bilinear2d(x: Tensor, scale: IntOrPair, align_corners: bool = False) -> Tensor:
    """Between the two nearest rows and columns: (N, C, H, W) to (N, C, H * scale, W * scale).

    Output row i lies at (i + 1/2) / scale - 1/2, but not before the first row or after the last; or
    with `align_corners` at i (H - 1) / (H * scale - 1).

    Raises:
        TypeError, ValueError: shapes or arguments that don't fit, with the values met.
    """
    check_images("BilinearUpsampling", "input", x)
    return on(x).upsample_bilinear2d(x, pair("scale_factor", scale, 1), align_corners)


def upsample_bilinear2d_grad(
    gy: Tensor, input_size: Pair, scale: IntOrPair, align_corners: bool = False
) -> Tensor:
    """dL/dx of `upsample_bilinear2d`: each gy goes to the pixels that it was made of."""
    rows, columns = pair("scale_factor", scale, 1)
    size = (input_size[0] * rows, input_size[1] * columns)
    check_gradient("BilinearUpsampling", gy, (*gy.shape[:2], *size))
    return on(gy).upsample_bilinear2d_grad(gy, input_size, align_corners)


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b of one shape: no broadcasting, which a residual connection never means.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(
            f"Residual: the inner module turns {tuple(a.shape)} into {tuple(b.shape)}; "
            "to be added, the shapes must be the same"
        )
    check_alike("Residual", a, **{"inner module's output": b})
    return on(a).add(a, b)


def concatenate(a: Tensor, b: Tensor) -> Tensor:
    """[a, b] along the channels: (N, C, H, W) and (N, D, H, W) to (N, C + D, H, W).

    Raises:
        ValueError: batch, height or width differ.
    """
    if a.shape[0] != b.shape[0] or a.shape[2:] != b.shape[2:]:
        raise ValueError(
            f"SkipConcat: the inner module turns {tuple(a.shape)} into {tuple(b.shape)}; only the "
            "channels may differ (with strides or pooling inside, pad the image to a multiple)"
        )
    check_alike("SkipConcat", a, **{"inner module's output": b})
    return on(a).concatenate(a, b)

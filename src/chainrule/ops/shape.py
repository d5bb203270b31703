"""The same values in another shape: each undoes another, and so is its gradient."""

from __future__ import annotations

import math

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_images, shape


def reshape(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The values of x, in their order, in the shape `sizes`.

    Raises:
        ValueError: it holds another number of values.
    """
    if math.prod(sizes) != x.numel():
        raise ValueError(f"reshape: an input of {shape(x)} can't have the shape {tuple(sizes)}")
    return on(x).reshape(x, sizes)


def permute(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The dimensions of x in another order, in memory too: y.shape[i] = x.shape[dims[i]].

    Its gradient is the same, with the inverse order.

    Raises:
        ValueError: dims is no order of the dimensions of x.
    """
    if sorted(dims) != [*range(x.dim())]:
        raise ValueError(f"permute: {dims} is no order of the dimensions of {shape(x)}")
    return on(x).permute(x, dims)


def split(x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """So many equal parts of the last dimension.

    Raises:
        ValueError: it can't be cut into equal ones.
    """
    if x.shape[-1] % parts:
        raise ValueError(f"split: an input of {shape(x)} can't be cut into {parts} equal parts")
    return on(x).split(x, parts)


def split_grad(parts: list[Tensor]) -> Tensor:
    """dL/dx of `split`: the parts' gradients, one after the other."""
    return on(parts[0]).split_grad(parts)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """(N, C * r * r, H, W) to (N, C, H * r, W * r), r the factor.

    Raises:
        TypeError, ValueError: x is no images, or r * r doesn't divide the channels.
    """
    check_images("PixelShuffle", "input", x)
    if x.shape[1] % factor**2:
        raise ValueError(
            f"PixelShuffle: the channels must be a multiple of {factor**2}, got {x.shape[1]} "
            f"(input is {shape(x)})"
        )
    return on(x).pixel_shuffle(x, factor)


def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    """(N, C, H * r, W * r) to (N, C * r * r, H, W), r the factor.

    Raises:
        TypeError, ValueError: x is no images, or r doesn't divide height and width.
    """
    check_images("PixelUnshuffle", "input", x)
    if x.shape[2] % factor or x.shape[3] % factor:
        raise ValueError(
            f"PixelUnshuffle: height and width must be multiples of {factor}, got an input of "
            f"{shape(x)}"
        )
    return on(x).pixel_unshuffle(x, factor)

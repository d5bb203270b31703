"""Layers that put the same values into another shape. Gradients: docs/gradients.md#shapes."""

from __future__ import annotations

import math

from torch import Tensor

from chainrule import ops
from chainrule.layers.arguments import check_positive
from chainrule.module import Module, Tape
from chainrule.ops.checks import check_dimension


class Flatten(Module):
    """Joins the dimensions from start_dim to end_dim, both included, into one.

    Args:
        start_dim, end_dim: below 0 they count from the end.

    Shapes:
        x (N, C, H, W) to y (N, C * H * W), by default.

    Raises:
        ValueError: the input has no such dimensions, or the first is after the last.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        check_dimension("Flatten", x, self.start_dim)
        check_dimension("Flatten", x, self.end_dim)
        first, last = self.start_dim % x.dim(), self.end_dim % x.dim()
        if first > last:
            raise ValueError(
                f"Flatten: start_dim={self.start_dim} is after end_dim={self.end_dim} in an input "
                f"of {tuple(x.shape)}"
            )
        tape.push(self, x.shape)
        joined = math.prod(x.shape[first : last + 1])
        return ops.reshape(x, (*x.shape[:first], joined, *x.shape[last + 1 :]))

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (shape,) = tape.take(self)
        return ops.reshape(gy, shape)

    def arguments(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Cuts the dimension `dim` into several.

    Args:
        dim: below 0 it counts from the end.
        unflattened_size: what it becomes; one of the sizes may be -1 and follows from the others.

    Shapes:
        x (N, F) to y (N, *unflattened_size), for dim=1.

    Raises:
        ValueError: the sizes don't multiply to that of the dimension, or there is no such one.

    Example:
        >>> Unflatten(1, (3, 8, 8))(torch.zeros(16, 192)).shape
        torch.Size([16, 3, 8, 8])
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        check_dimension("Unflatten", x, self.dim)
        dim = self.dim % x.dim()
        sizes, known = self.unflattened_size, -math.prod(self.unflattened_size)
        if sizes.count(-1) == 1 and known > 0 and x.shape[dim] % known == 0:
            sizes = tuple(x.shape[dim] // known if size == -1 else size for size in sizes)
        if min(sizes, default=0) < 1 or math.prod(sizes) != x.shape[dim]:
            raise ValueError(
                f"Unflatten: dimension {self.dim} of an input of {tuple(x.shape)} can't be cut "
                f"into {self.unflattened_size}"
            )
        tape.push(self, x.shape)
        return ops.reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (shape,) = tape.take(self)
        return ops.reshape(gy, shape)

    def arguments(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class PixelShuffle(Module):
    """Lays r * r channels out as blocks of r x r pixels: images r times as large. Shi et al. 2016.

    y[n, c, i*r + a, j*r + b] = x[n, c*r*r + a*r + b, i, j]

    Args:
        upscale_factor: r.

    Shapes:
        x (N, C * r * r, H, W) to y (N, C, H * r, W * r).

    Raises:
        ValueError: r * r doesn't divide the channels.
    """

    def __init__(self, upscale_factor: int) -> None:
        check_positive("PixelShuffle", upscale_factor=upscale_factor)
        self.upscale_factor = upscale_factor

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return ops.pixel_shuffle(x, self.upscale_factor)

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        return ops.pixel_unshuffle(gy, self.upscale_factor)

    def arguments(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """The inverse of `PixelShuffle`: blocks of r x r pixels become channels.

    Args:
        downscale_factor: r.

    Shapes:
        x (N, C, H * r, W * r) to y (N, C * r * r, H, W).

    Raises:
        ValueError: r doesn't divide height and width.
    """

    def __init__(self, downscale_factor: int) -> None:
        check_positive("PixelUnshuffle", downscale_factor=downscale_factor)
        self.downscale_factor = downscale_factor

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return ops.pixel_unshuffle(x, self.downscale_factor)

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        return ops.pixel_shuffle(gy, self.downscale_factor)

    def arguments(self) -> str:
        return f"downscale_factor={self.downscale_factor}"

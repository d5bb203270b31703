"""Nearest upsampling, and what joins the two ends of a skip connection."""

from torch import Tensor, cat

from chainrule.geometry import Pair


def upsample_nearest2d(x: Tensor, scale: Pair) -> Tensor:
    """y[n,c,i,j] = x[n,c, i // sh, j // sw]."""
    n, channels, height, width = x.shape
    blocks = x.reshape(n, channels, height, 1, width, 1)
    blocks = blocks.expand(n, channels, height, scale[0], width, scale[1])
    return blocks.reshape(n, channels, height * scale[0], width * scale[1])


def upsample_nearest2d_grad(gy: Tensor, scale: Pair) -> Tensor:
    """dL/dx = the sum of gy over the block that repeats x."""
    n, channels, height, width = gy.shape
    blocks = gy.reshape(n, channels, height // scale[0], scale[0], width // scale[1], scale[1])
    return blocks.sum((3, 5))


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return a + b


def concatenate(a: Tensor, b: Tensor) -> Tensor:
    """[a, b] along the channels."""
    return cat((a, b), 1)

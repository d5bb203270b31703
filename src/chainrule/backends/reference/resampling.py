"""Nearest and bilinear upsampling, and what joins the two ends of a skip connection."""

from torch import Tensor, arange, cat

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


def upsample_bilinear2d(x: Tensor, scale: Pair, align_corners: bool) -> Tensor:
    """y = (1 - t) x[low] + t x[high], along the rows and then along the columns."""
    for dim, factor in ((2, scale[0]), (3, scale[1])):
        low, high, t = _neighbours(x, x.shape[dim], x.shape[dim] * factor, align_corners)
        share = t.reshape(-1, *[1] * (3 - dim))
        x = x.index_select(dim, low).lerp_(x.index_select(dim, high), share)
    return x


def upsample_bilinear2d_grad(gy: Tensor, input_size: Pair, align_corners: bool) -> Tensor:
    """dL/dx: (1 - t) gy is added to x[low] and t gy to x[high], in the other order."""
    for dim, size in ((3, input_size[1]), (2, input_size[0])):
        low, high, t = _neighbours(gy, size, gy.shape[dim], align_corners)
        upper = gy * t.reshape(-1, *[1] * (3 - dim))
        gx = gy.new_zeros(*gy.shape[:dim], size, *gy.shape[dim + 1 :])
        gy = gx.index_add_(dim, low, gy - upper).index_add_(dim, high, upper)
    return gy


def _neighbours(
    like: Tensor, size: int, count: int, align_corners: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Of `count` places along `size` pixels: the pixels on both sides, and the second's share."""
    place = arange(count, dtype=like.dtype, device=like.device)
    if align_corners:
        place = place * ((size - 1) / max(count - 1, 1))
    else:
        place = ((place + 0.5) * (size / count) - 0.5).clamp_(min=0)
    low = place.long().clamp_(max=size - 1)
    return low, (low + 1).clamp_(max=size - 1), place - low


def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return a + b


def concatenate(a: Tensor, b: Tensor) -> Tensor:
    """[a, b] along the channels."""
    return cat((a, b), 1)

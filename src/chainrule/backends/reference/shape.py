"""The same values in another shape: docs/gradients.md#shapes."""

from torch import Tensor, cat


def reshape(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The values in their order."""
    return x.reshape(sizes)


def permute(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """y.shape[i] = x.shape[dims[i]], without gaps."""
    return x.permute(dims).contiguous()


def split(x: Tensor, parts: int) -> tuple[Tensor, ...]:
    """Equal parts of the last dimension."""
    return x.chunk(parts, -1)


def split_grad(parts: list[Tensor]) -> Tensor:
    """The parts, one after the other."""
    return cat(parts, -1)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """y[n, c, i*r + a, j*r + b] = x[n, c*r*r + a*r + b, i, j]."""
    n, channels, height, width = x.shape
    c, r = channels // factor**2, factor
    blocks = x.reshape(n, c, r, r, height, width).permute(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c, height * r, width * r)


def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    """y[n, c*r*r + a*r + b, i, j] = x[n, c, i*r + a, j*r + b]."""
    n, channels, height, width = x.shape
    r = factor
    blocks = x.reshape(n, channels, height // r, r, width // r, r).permute(0, 1, 3, 5, 2, 4)
    return blocks.reshape(n, channels * r**2, height // r, width // r)

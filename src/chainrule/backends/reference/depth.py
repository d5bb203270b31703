"""Slices of volumes, laid side by side: docs/gradients.md#one-and-three-dimensions."""

from torch import Tensor

from chainrule.geometry import Depth


def depth_windows(x: Tensor, depth: Depth) -> Tensor:
    """y[n*Do + i, c*k + u] = x[n, c, i*s + u*d - before], 0 outside."""
    n, channels, slices, height, width = x.shape
    count = depth.count(slices)
    y = x.new_zeros(n, count, channels, depth.kernel, height, width)
    for u, (inside, there) in enumerate(_places(slices, depth)):
        y[:, inside, :, u] = x[:, :, there].transpose(1, 2)
    return y.reshape(n * count, channels * depth.kernel, height, width)


def depth_windows_grad(gy: Tensor, size: tuple[int, ...], depth: Depth) -> Tensor:
    """dL/dx: the sum over all windows that a slice lies under."""
    n, channels, slices, height, width = size
    gx = gy.new_zeros(size)
    windows = gy.reshape(n, depth.count(slices), channels, depth.kernel, height, width)
    for u, (inside, there) in enumerate(_places(slices, depth)):
        gx[:, :, there] += windows[:, inside, :, u].transpose(1, 2)
    return gx


def _places(slices: int, depth: Depth) -> list[tuple[slice, slice]]:
    """For each u of the kernel: the windows i whose u-th slice exists, and which slices these are.

    0 <= i * stride + u * dilation - before < slices.
    """
    places: list[tuple[slice, slice]] = []
    for u in range(depth.kernel):
        offset = u * depth.dilation - depth.before
        first = max(0, -(offset // depth.stride))
        end = min(depth.count(slices), (slices - 1 - offset) // depth.stride + 1)
        end = max(first, end)
        start = first * depth.stride + offset
        stop = start + (end - first - 1) * depth.stride + 1
        empty = end == first
        places.append(
            (slice(first, end), slice(0, 0) if empty else slice(start, stop, depth.stride))
        )
    return places

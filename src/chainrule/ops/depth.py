"""What makes volumes of images and images of volumes: slices laid side by side as channels."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.geometry import Depth
from chainrule.ops.checks import check_gradient


def depth_windows(x: Tensor, depth: Depth) -> Tensor:
    """(N, C, D, H, W) to (N * Do, C * kernel, H, W): the slices under each window as channels.

    y[n*Do + i, c*kernel + u] = x[n, c, i*stride + u*dilation - before], 0 outside.
    """
    return on(x).depth_windows(x, depth)


def depth_windows_grad(gy: Tensor, size: tuple[int, ...], depth: Depth) -> Tensor:
    """dL/dx of `depth_windows`, of the shape `size`: each slice of gy added where it came from."""
    n, channels, slices, height, width = size
    expected = (n * depth.count(slices), channels * depth.kernel, height, width)
    check_gradient("Conv3d", gy, expected)
    return on(gy).depth_windows_grad(gy, size, depth)

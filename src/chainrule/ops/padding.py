"""A margin around images: zeros, the image reflected, or its edge repeated."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.geometry import Pair
from chainrule.ops.checks import check_gradient, check_images, shape

Pads = tuple[int, int, int, int]
MODES = {"zeros": "ZeroPad2d", "reflect": "ReflectionPad2d", "replicate": "ReplicationPad2d"}


def pad2d(x: Tensor, pads: Pads, mode: str) -> Tensor:
    """(N, C, H, W) to (N, C, top + H + bottom, left + W + right).

    Args:
        x: images.
        pads: top, bottom, left, right, each at least 0.
        mode: "zeros", "reflect" (without repeating the edge) or "replicate".

    Raises:
        TypeError, ValueError: x is no images, or smaller than what shall be reflected.
    """
    check_images(MODES[mode], "input", x)
    (top, bottom, left, right), (height, width) = pads, x.shape[2:]
    if mode == "reflect" and (max(top, bottom) >= height or max(left, right) >= width):
        raise ValueError(
            f"ReflectionPad2d: a padding of {max(top, bottom)} rows and {max(left, right)} columns "
            f"needs an image larger than that, got an input of {shape(x)}"
        )
    return on(x).pad2d(x, pads, mode)


def pad2d_grad(gy: Tensor, input_size: Pair, pads: Pads, mode: str) -> Tensor:
    """dL/dx of `pad2d`: gy summed over all the places where a pixel stands."""
    (top, bottom, left, right), (height, width) = pads, input_size
    size = (top + height + bottom, left + width + right)
    check_gradient(MODES[mode], gy, (*gy.shape[:2], *size))
    return on(gy).pad2d_grad(gy, input_size, pads, mode)

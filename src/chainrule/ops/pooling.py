"""Pooling: the largest value, or the mean, under each window."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.geometry import LARGEST, IntOrPair, Pair, pair, window
from chainrule.ops.checks import GRADIENT, check_gradient, check_images, pooling_window


def max_pool2d(
    x: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> tuple[Tensor, Tensor]:
    """The largest value under each window (padding counts as -inf), and its place in the window.

    Of equal values the first, row by row, is taken. Both results are (N, C, Ho, Wo).

    Raises:
        TypeError, ValueError: shapes or arguments that don't fit, with the values met.
    """
    sliding = pooling_window("MaxPool2d", x, kernel_size, stride, padding, dilation)
    if sliding.kernel[0] * sliding.kernel[1] > LARGEST:
        raise ValueError(
            f"MaxPool2d: kernel_size {kernel_size} has more than the {LARGEST} places that can be "
            "told apart"
        )
    return on(x).max_pool2d(x, sliding)


def max_pool2d_grad(
    gy: Tensor,
    places: Tensor,
    input_size: Pair,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
) -> Tensor:
    """dL/dx of `max_pool2d`: gy goes to the place that held the maximum, as `places` tells."""
    check_gradient("MaxPool2d", gy, tuple(places.shape))
    sliding = window(kernel_size, stride, padding, dilation)
    return on(gy).max_pool2d_grad(gy, places, input_size, sliding)


def avg_pool2d(
    x: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean under each window, of the zeros of the padding too if count_include_pad.

    Raises:
        TypeError, ValueError: shapes or arguments that don't fit, with the values met.
    """
    sliding = pooling_window("AvgPool2d", x, kernel_size, stride, padding, 1)
    return on(x).avg_pool2d(x, sliding, count_include_pad)


def avg_pool2d_grad(
    gy: Tensor,
    input_size: Pair,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair = 0,
    count_include_pad: bool = True,
) -> Tensor:
    """dL/dx of `avg_pool2d`: an equal share of gy to every place that counted."""
    sliding = window(kernel_size, stride, padding, 1)
    check_gradient("AvgPool2d", gy, (*gy.shape[:2], *sliding.output_size(input_size)))
    return on(gy).avg_pool2d_grad(gy, input_size, sliding, count_include_pad)


def adaptive_avg_pool2d(x: Tensor, size: Pair) -> Tensor:
    """y (N, C, *size): the mean of rows floor(i H / Ho) to ceil((i + 1) H / Ho), columns likewise.

    Raises:
        TypeError, ValueError: x is no images, or a size is below 1.
    """
    check_images("AdaptiveAvgPool2d", "input", x)
    return on(x).adaptive_avg_pool2d(x, pair("output_size", size, 1))


def adaptive_avg_pool2d_grad(gy: Tensor, input_size: Pair) -> Tensor:
    """dL/dx of `adaptive_avg_pool2d`: each pixel gets its share of the windows that it lies in."""
    check_images("AdaptiveAvgPool2d", GRADIENT, gy)
    return on(gy).adaptive_avg_pool2d_grad(gy, input_size)

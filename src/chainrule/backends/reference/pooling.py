"""Pooling: every window is a column, and its gradient goes back to the column's places."""

from torch import Tensor

from chainrule.backends.reference.windows import columns_of, fold_into, pad
from chainrule.geometry import Pair, Window, image_size


def max_pool2d(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """y = the largest value under each window, and which of the window's kh * kw places held it."""
    columns = columns_of(pad(x, window, float("-inf")), window, x.shape[1])
    values, places = columns.max(2)
    shape = (*x.shape[:2], *window.output_size(image_size(x)))
    return values.reshape(shape), places.reshape(shape).int()


def max_pool2d_grad(gy: Tensor, places: Tensor, input_size: Pair, window: Window) -> Tensor:
    """dL/dx: gy goes to the place that held the maximum."""
    n, channels = gy.shape[:2]
    kernel = window.kernel[0] * window.kernel[1]
    columns = gy.new_zeros(n, channels, kernel, gy.shape[2] * gy.shape[3])
    columns.scatter_(2, places.long().reshape(n, channels, 1, -1), gy.reshape(n, channels, 1, -1))
    columns = columns.reshape(n, channels * kernel, -1)
    return fold_into(columns, image_size(gy), input_size, window)


def avg_pool2d(x: Tensor, window: Window, count_include_pad: bool) -> Tensor:
    """y = the sum under each window over the number of values that count."""
    columns = columns_of(pad(x, window, 0), window, x.shape[1])
    sums = columns.sum(2).reshape(*x.shape[:2], *window.output_size(image_size(x)))
    return sums / _counts(sums, image_size(x), window, count_include_pad)


def avg_pool2d_grad(
    gy: Tensor, input_size: Pair, window: Window, count_include_pad: bool
) -> Tensor:
    """dL/dx: gy over the count goes to every place under the window."""
    shares = gy / _counts(gy, input_size, window, count_include_pad)
    n, channels = gy.shape[:2]
    kernel = window.kernel[0] * window.kernel[1]
    columns = shares.reshape(n, channels, 1, -1).repeat(1, 1, kernel, 1)
    columns = columns.reshape(n, channels * kernel, -1)
    return fold_into(columns, image_size(gy), input_size, window)


def _counts(like: Tensor, size: Pair, window: Window, count_include_pad: bool) -> Tensor:
    """How many values count in each window, shape (1, 1, Ho, Wo)."""
    ones = pad(like.new_ones(1, 1, *size), window, 1 if count_include_pad else 0)
    return columns_of(ones, window, 1).sum(2).reshape(1, 1, *window.output_size(size))

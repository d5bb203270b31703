"""Pooling: every window is a column, and its gradient goes back to the column's places."""

from torch import Tensor, arange

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
    return sums / counts(sums, image_size(x), window, count_include_pad)


def avg_pool2d_grad(
    gy: Tensor, input_size: Pair, window: Window, count_include_pad: bool
) -> Tensor:
    """dL/dx: gy over the count goes to every place under the window."""
    shares = gy / counts(gy, input_size, window, count_include_pad)
    n, channels = gy.shape[:2]
    kernel = window.kernel[0] * window.kernel[1]
    columns = shares.reshape(n, channels, 1, -1).repeat(1, 1, kernel, 1)
    columns = columns.reshape(n, channels * kernel, -1)
    return fold_into(columns, image_size(gy), input_size, window)


def counts(like: Tensor, size: Pair, window: Window, count_include_pad: bool) -> Tensor:
    """How many values count in each window, shape (1, 1, Ho, Wo)."""
    ones = pad(like.new_ones(1, 1, *size), window, 1 if count_include_pad else 0)
    return columns_of(ones, window, 1).sum(2).reshape(1, 1, *window.output_size(size))


def adaptive_avg_pool2d(x: Tensor, size: Pair) -> Tensor:
    """y = A x B^T: the rows of A and B are the windows, as shares whose sum is 1."""
    rows, columns = _shares(x, x.shape[2], size[0]), _shares(x, x.shape[3], size[1])
    return rows @ x @ columns.t()


def adaptive_avg_pool2d_grad(gy: Tensor, input_size: Pair) -> Tensor:
    """dL/dx = A^T gy B."""
    rows, columns = _shares(gy, input_size[0], gy.shape[2]), _shares(gy, input_size[1], gy.shape[3])
    return rows.t() @ gy @ columns


def _shares(like: Tensor, size: int, count: int) -> Tensor:
    """(count, size): 1 / n at the n pixels of each window, 0 elsewhere."""
    place, number = arange(size, device=like.device), arange(count, device=like.device)[:, None]
    covered = (place >= number * size // count) & (place < -(-(number + 1) * size // count))
    return covered.to(like.dtype) / covered.sum(1, keepdim=True)

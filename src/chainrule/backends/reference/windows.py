"""Windows laid out as the columns of a matrix, and columns added back into an image."""

from torch import Tensor
from torch.nn.functional import fold, unfold

from chainrule.geometry import Pair, Window, image_size


def columns_of(padded: Tensor, window: Window, groups: int) -> Tensor:
    """(N, C, H, W) -> (N, G, K, L), a column for each window."""
    columns = unfold(padded, window.kernel, window.dilation, 0, window.stride)
    return columns.reshape(columns.shape[0], groups, -1, columns.shape[-1])


def fold_into(columns: Tensor, count: Pair, size: Pair, window: Window) -> Tensor:
    """(N, C * kh * kw, L) -> (N, C, *size): every window added in its place, padding cut off."""
    covered, padded = window.covered(count), window.padded(size)
    image = fold(columns, covered, window.kernel, window.dilation, 0, window.stride)
    if covered != padded:  # rows and columns that no window reaches
        partial = image
        image = image.new_zeros(*image.shape[:2], *padded)
        image[:, :, : covered[0], : covered[1]] = partial
    top, _, left, _ = window.pads
    return image[:, :, top : top + size[0], left : left + size[1]]


def pad(x: Tensor, window: Window, value: float) -> Tensor:
    """x with `value` around it, as the window needs."""
    if not any(window.pads):
        return x
    top, _, left, _ = window.pads
    height, width = image_size(x)
    padded = x.new_full((*x.shape[:2], *window.padded((height, width))), value)
    padded[:, :, top : top + height, left : left + width] = x
    return padded

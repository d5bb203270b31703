"""A margin around images: docs/gradients.md#padding."""

from torch import Tensor, arange

from chainrule.geometry import Pair

Pads = tuple[int, int, int, int]


def pad2d(x: Tensor, pads: Pads, mode: str) -> Tensor:
    """y[n,c,i,j] = x[n,c, rows(i), columns(j)], 0 outside if the mode is "zeros"."""
    top, bottom, left, right = pads
    height, width = x.shape[2:]
    if mode == "zeros":
        y = x.new_zeros(*x.shape[:2], top + height + bottom, left + width + right)
        y[:, :, top : top + height, left : left + width] = x
        return y
    rows = _sources(x, height, top, bottom, mode)
    return x.index_select(2, rows).index_select(3, _sources(x, width, left, right, mode))


def pad2d_grad(gy: Tensor, input_size: Pair, pads: Pads, mode: str) -> Tensor:
    """dL/dx = the sum of gy over all the places where a pixel stands."""
    top, bottom, left, right = pads
    height, width = input_size
    if mode == "zeros":
        return gy[:, :, top : top + height, left : left + width]
    columns = _sources(gy, width, left, right, mode)
    narrow = gy.new_zeros(*gy.shape[:3], width).index_add_(3, columns, gy)
    rows = _sources(gy, height, top, bottom, mode)
    return gy.new_zeros(*gy.shape[:2], height, width).index_add_(2, rows, narrow)


def _sources(like: Tensor, size: int, before: int, after: int, mode: str) -> Tensor:
    """Which of `size` rows (or columns) each row of the padded image comes from."""
    places = arange(-before, size + after, device=like.device)
    if mode == "replicate":
        return places.clamp(0, size - 1)
    return size - 1 - (size - 1 - places.abs()).abs()  # reflected at 0, then at size - 1

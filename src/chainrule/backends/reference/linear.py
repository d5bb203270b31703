"""Matrix products, rows picked from a table, and one that is added to all:
docs/gradients.md#linear."""

from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """y = x weight^T + bias, for every vector along x's last dimension."""
    rows = _rows(x)
    y = rows @ weight.t() if bias is None else bias.addmm(rows, weight.t())
    return y.reshape(*x.shape[:-1], weight.shape[0])


def linear_input_grad(gy: Tensor, weight: Tensor) -> Tensor:
    """dL/dx = gy weight."""
    return (_rows(gy) @ weight).reshape(*gy.shape[:-1], weight.shape[1])


def linear_parameter_grads(x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
    """dL/dweight = gy^T x and dL/dbias = sum gy, over all vectors."""
    rows = _rows(gy)
    return rows.t() @ _rows(x), rows.sum(0)


def embedding(index: Tensor, weight: Tensor) -> Tensor:
    """y[..., :] = weight[index[...], :]."""
    return weight.index_select(0, index.flatten()).reshape(*index.shape, weight.shape[1])


def embedding_grad(gy: Tensor, index: Tensor, rows: int) -> Tensor:
    """dL/dweight: every gy added to the row that it came from."""
    return gy.new_zeros(rows, gy.shape[-1]).index_add_(0, index.flatten(), _rows(gy))


def shift(x: Tensor, by: Tensor) -> Tensor:
    """y = x + by, which has the last dimensions of x."""
    return x + by


def shift_grad(gy: Tensor, dims: int) -> Tensor:
    """dL/dby = the sum of gy over all but its last `dims` dimensions."""
    return gy.sum_to_size(gy.shape[gy.dim() - dims :])


def _rows(x: Tensor) -> Tensor:
    """(..., I) -> (M, I)."""
    return x.reshape(-1, x.shape[-1])

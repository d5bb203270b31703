"""Products of two values: docs/gradients.md#gates."""

from torch import Tensor


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """y = a b, with sizes of 1 repeated."""
    return a * b


def multiply_grads(gy: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """dL/da = gy b and dL/db = gy a, summed over the places that share a value."""
    return _shared(gy * b, a), _shared(gy * a, b)


def _shared(gradient: Tensor, x: Tensor) -> Tensor:
    repeated = [dim for dim, size in enumerate(x.shape) if size != gradient.shape[dim]]
    return gradient.sum(repeated, keepdim=True) if repeated else gradient

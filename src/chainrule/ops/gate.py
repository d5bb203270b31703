"""Products of two values, with sizes of 1 repeated."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_alike, check_float, shape


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """y = a * b, elementwise; a dimension of size 1 is repeated to the other's size.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    check_float("Multiply", "first input", a)
    check_float("Multiply", "second input", b)
    fits = a.dim() == b.dim() and all(
        one == other or 1 in (one, other) for one, other in zip(a.shape, b.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"Multiply: expected two inputs whose sizes are the same or 1, got {shape(a)} and "
            f"{shape(b)}"
        )
    check_alike("Multiply", a, "first input", **{"second input": b})
    return on(a).multiply(a, b)


def multiply_grads(gy: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """dL/da and dL/db of `multiply`, each summed over what was repeated."""
    return on(gy).multiply_grads(gy, a, b)

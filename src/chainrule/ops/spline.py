"""Piecewise linear functions of one value."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import check_alike, check_float, check_gradient, shape


def piecewise_linear(x: Tensor, values: Tensor, ends: Tensor) -> Tensor:
    """The value at x of the function through `values`, (K,), at K places from ends[0] to ends[1],
    all as far apart; beyond the ends it goes on as a straight line.

    Arguments:
        x: of any shape; the result has the same.
        values: at the knots, two or more.
        ends: (2,), the first below the second.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    _check("PiecewiseLinear", x, values, ends)
    return on(x).piecewise_linear(x, values, ends)


def piecewise_linear_grads(
    gy: Tensor, x: Tensor, values: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    """dL/dx and dL/dvalues of `piecewise_linear`."""
    check_gradient("PiecewiseLinear", gy, tuple(x.shape))
    return on(gy).piecewise_linear_grads(gy, x, values, ends)


def piecewise_linear_inverse(y: Tensor, values: Tensor, ends: Tensor) -> Tensor:
    """The x at which `piecewise_linear` is y; the values must grow from knot to knot.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    _check("Inverse", y, values, ends)
    return on(y).piecewise_linear_inverse(y, values, ends)


def piecewise_linear_inverse_grads(
    gx: Tensor, x: Tensor, values: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    """dL/dy and dL/dvalues of `piecewise_linear_inverse`, whose result was x."""
    check_gradient("Inverse", gx, tuple(x.shape))
    return on(gx).piecewise_linear_inverse_grads(gx, x, values, ends)


def _check(name: str, x: Tensor, values: Tensor, ends: Tensor) -> None:
    check_float(name, "input", x)
    if values.dim() != 1 or len(values) < 2 or ends.shape != (2,):
        raise ValueError(
            f"{name}: expected values of shape (K,), K at least 2, and two ends, got "
            f"{shape(values)} and {shape(ends)}"
        )
    check_alike(name, x, "input", values=values, ends=ends)

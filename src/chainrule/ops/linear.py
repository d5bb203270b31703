"""Linear maps of the last dimension, rows picked from a table, and one that is added to all."""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import (
    check_alike,
    check_bias,
    check_features,
    check_float,
    check_gradient,
    check_indices,
    shape,
)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y = x weight^T + bias: x (..., I), weight (O, I), bias (O,), y (..., O).

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    if weight.dim() != 2:
        raise ValueError(f"Linear: expected a weight of two dimensions, got {shape(weight)}")
    check_features("Linear", x, weight.shape[1])
    check_bias("Linear", bias, weight.shape[0])
    check_alike("Linear", x, weight=weight, bias=bias)
    return on(x).linear(x, weight, bias)


def linear_input_grad(gy: Tensor, weight: Tensor) -> Tensor:
    """dL/dx of `linear`, from gy = dL/dy."""
    check_gradient("Linear", gy, (*gy.shape[:-1], weight.shape[0]))
    return on(gy).linear_input_grad(gy, weight)


def linear_parameter_grads(x: Tensor, gy: Tensor) -> tuple[Tensor, Tensor]:
    """dL/dweight and dL/dbias of `linear`."""
    check_gradient("Linear", gy, (*x.shape[:-1], gy.shape[-1]))
    return on(gy).linear_parameter_grads(x, gy)


def embedding(index: Tensor, weight: Tensor) -> Tensor:
    """y[..., :] = weight[index[...], :]: weight (K, E), y (*index.shape, E).

    Raises:
        TypeError: the index is not of int64 or int32.
        ValueError: an index outside of [0, K), or on another device than the weight.
    """
    if index.device != weight.device:
        raise ValueError(
            f"Embedding: the input is on {index.device} and the weight on {weight.device}; "
            "move one of them with .to(device)"
        )
    check_indices("Embedding", "index", index, weight.shape[0])
    return on(weight).embedding(index, weight)


def embedding_grad(gy: Tensor, index: Tensor, rows: int) -> Tensor:
    """dL/dweight of `embedding`, whose weight has so many rows."""
    check_gradient("Embedding", gy, (*index.shape, gy.shape[-1]))
    return on(gy).embedding_grad(gy, index, rows)


def shift(x: Tensor, by: Tensor) -> Tensor:
    """y = x + by, where the dimensions of `by` are the last ones of x. dL/dx is dL/dy.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    check_float("shift", "input", x)
    if x.shape[x.dim() - by.dim() :] != by.shape or by.dim() > x.dim():
        raise ValueError(
            f"shift: the input of {shape(x)} doesn't end in {shape(by)}, which is added"
        )
    check_alike("shift", x, summand=by)
    return on(x).shift(x, by)


def shift_grad(gy: Tensor, dims: int) -> Tensor:
    """dL/dby of `shift`, whose `by` has so many dimensions."""
    return on(gy).shift_grad(gy, dims)

"""Cross-entropies, and their gradients with respect to the logits.

The classes of logits (N, C, ...) lie along dimension 1, of (C,) along its only one. `scale` is what
`chainrule.ops.losses` says.
"""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.ops.checks import (
    check_alike,
    check_float,
    check_indices,
    check_target,
    shape,
)
from chainrule.ops.losses import Scale

NAME = "CrossEntropy"


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The values (N, ...), log softmax(logits), and each target's weight, 0 where it is ignored.

    A value is -sum_c w_c t_c log p_c, t = 1 - smoothing at the target's class, and smoothing / C at
    every class besides.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit; a class that is none of 0 to
            C - 1, nor ignore_index (looked for on the CPU only).
    """
    classes = _check_classes(logits, weight)
    expected = logits.shape[:1] + logits.shape[2:] if logits.dim() > 1 else logits.shape[:0]
    if target.shape != expected:
        raise ValueError(
            f"{NAME}: expected a target of classes to be {tuple(expected)}, or of probabilities "
            f"{shape(logits)}, got {shape(target)}"
        )
    check_indices(NAME, "target", target, classes, ignore_index)
    check_device(logits, target)
    return on(logits).cross_entropy(logits, target, weight, ignore_index, smoothing)


def cross_entropy_grad(
    logs: Tensor,
    target: Tensor,
    weight: Tensor | None,
    share: Tensor,
    ignore_index: int,
    smoothing: float,
    scale: Scale,
) -> Tensor:
    """dL/dlogits of `cross_entropy`, from the logarithms and the weights that it returned."""
    settings = (ignore_index, smoothing, scale)
    return on(logs).cross_entropy_grad(logs, target, weight, share, *settings)


def soft_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor]:
    """The values (N, ...) and log softmax(logits), of targets that are probabilities.

    A value is -sum_c w_c ((1 - smoothing) t_c + smoothing / C) log p_c.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    check_target(NAME, logits, target)
    _check_classes(logits, weight)
    return on(logits).soft_cross_entropy(logits, target, weight, smoothing)


def soft_cross_entropy_grad(
    logs: Tensor, target: Tensor, weight: Tensor | None, smoothing: float, scale: Scale
) -> Tensor:
    """dL/dlogits of `soft_cross_entropy`, from the logarithms that it returned."""
    return on(logs).soft_cross_entropy_grad(logs, target, weight, smoothing, scale)


def binary_cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None, pos_weight: Tensor | None
) -> Tensor:
    """-weight (pos_weight t log p + (1 - t) log(1 - p)) with p = sigmoid(logits), each.

    Raises:
        TypeError, ValueError: shapes, dtypes or devices don't fit.
    """
    check_target("BCEWithLogits", logits, target)
    check_alike("BCEWithLogits", logits, "prediction", weight=weight, pos_weight=pos_weight)
    for name, value in (("weight", weight), ("pos_weight", pos_weight)):
        if value is not None and not _broadcasts(value, logits):
            raise ValueError(
                f"BCEWithLogits: the {name} of {shape(value)} can't be spread over a prediction of "
                f"{shape(logits)}"
            )
    return on(logits).binary_cross_entropy(logits, target, weight, pos_weight)


def binary_cross_entropy_grad(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None,
    pos_weight: Tensor | None,
    scale: Scale,
) -> Tensor:
    """dL/dlogits of `binary_cross_entropy`."""
    return on(logits).binary_cross_entropy_grad(logits, target, weight, pos_weight, scale)


def check_device(logits: Tensor, target: Tensor) -> None:
    if logits.device != target.device:
        raise ValueError(
            f"{NAME}: the prediction is on {logits.device} and the target on {target.device}; "
            "move one of them with .to(device)"
        )


def _check_classes(logits: Tensor, weight: Tensor | None) -> int:
    """How many classes there are."""
    check_float(NAME, "prediction", logits)
    if logits.dim() == 0 or logits.numel() == 0:
        raise ValueError(
            f"{NAME}: expected a prediction of (N, C, ...) or (C,), got {shape(logits)}"
        )
    classes = logits.shape[1 if logits.dim() > 1 else 0]
    check_alike(NAME, logits, "prediction", weight=weight)
    if weight is not None and weight.shape != (classes,):
        raise ValueError(
            f"{NAME}: expected a weight of ({classes},) for a prediction of {shape(logits)}, "
            f"got {shape(weight)}"
        )
    return classes


def _broadcasts(value: Tensor, x: Tensor) -> bool:
    tail = x.shape[x.dim() - value.dim() :]
    return value.dim() <= x.dim() and all(
        size in (1, other) for size, other in zip(value.shape, tail, strict=True)
    )

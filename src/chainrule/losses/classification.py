"""Losses of classifiers, whose predictions are logits.

Gradients: docs/gradients.md#classification.
"""

from __future__ import annotations

from torch import Tensor

from chainrule import ops
from chainrule.losses.loss import Loss
from chainrule.module import Tape


class CrossEntropy(Loss):
    """Mean (or sum) of -log(the probability of the target's class); softmax included.

    With p = softmax(prediction) along the classes, class weights w (1 without) and smoothing s, one
    value is -sum_c w_c t'_c log p_c, t' = (1 - s) t + s / C, where t is 1 at the target's class, or
    the target's probabilities. For classes the mean is weighted: the sum by the sum of w at the
    targets. Also named `CrossEntropyLoss`.

    Args:
        weight: (C,), a weight for each class.
        ignore_index: a class that isn't one: such targets count nothing.
        reduction: "mean", "sum" or "none".
        label_smoothing: s, in [0, 1], Szegedy et al. 2016.

    Shapes:
        prediction (N, C, ...) or (C,), any values;
        target: classes, of int64 or int32, (N, ...) or (); or probabilities, of the prediction's
        shape and dtype.

    Attributes:
        weight: a buffer, or None.

    Raises:
        TypeError, ValueError: arguments out of range, shapes that don't fit, or a class that is
            none of 0 to C - 1.

    Example:
        >>> CrossEntropy()(torch.zeros(16, 10), torch.arange(16) % 10)
        tensor(2.3026)
    """

    buffers = ("weight",)

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0 <= label_smoothing <= 1:
            raise ValueError(
                f"CrossEntropy: label_smoothing must lie in [0, 1], got {label_smoothing!r}"
            )
        self.weight = weight
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        if target.is_floating_point():
            values, logs = ops.soft_cross_entropy(
                prediction, target, self.weight, self.label_smoothing
            )
            share, count = None, values.numel()
        else:
            values, logs, share = ops.cross_entropy(
                prediction, target, self.weight, self.ignore_index, self.label_smoothing
            )
            count = share.sum()
        tape.push(self, logs, target, share, count)
        return self.reduced(values, count)

    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        logs, target, share, count = tape.take(self)
        scale = self.scale(gradient, count)
        if share is None:
            return ops.soft_cross_entropy_grad(
                logs, target, self.weight, self.label_smoothing, scale
            )
        return ops.cross_entropy_grad(
            logs, target, self.weight, share, self.ignore_index, self.label_smoothing, scale
        )

    def arguments(self) -> str:
        ignored = "" if self.ignore_index == -100 else f", ignore_index={self.ignore_index}"
        smoothing = f", label_smoothing={self.label_smoothing}" if self.label_smoothing else ""
        weight = "" if self.weight is None else f", weight={tuple(self.weight.shape)}"
        return super().arguments() + weight + ignored + smoothing


class BCEWithLogits(Loss):
    """Mean (or sum) of -log(the probability of yes or no), each element a question of its own.

    With p = sigmoid(prediction), one value is -w (v t log p + (1 - t) log(1 - p)), in a form that
    doesn't overflow. Also named `BCEWithLogitsLoss`.

    Args:
        weight: w, of a shape that broadcasts to the prediction's; 1 without.
        reduction: "mean", "sum" or "none".
        pos_weight: v, likewise: what a yes counts more than a no.

    Shapes:
        prediction, any shape and values; target, of the same shape and dtype, in [0, 1].

    Attributes:
        weight, pos_weight: buffers, or None.

    Raises:
        TypeError, ValueError: shapes or dtypes that don't fit.
    """

    buffers = ("weight", "pos_weight")

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        values = ops.binary_cross_entropy(prediction, target, self.weight, self.pos_weight)
        tape.push(self, prediction, target)
        return self.reduced(values, values.numel())

    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        prediction, target = tape.take(self)
        scale = self.scale(gradient, prediction.numel())
        return ops.binary_cross_entropy_grad(
            prediction, target, self.weight, self.pos_weight, scale
        )

    def arguments(self) -> str:
        given = {"weight": self.weight, "pos_weight": self.pos_weight}
        shapes = [
            f", {name}={tuple(value.shape)}" for name, value in given.items() if value is not None
        ]
        return super().arguments() + "".join(shapes)


CrossEntropyLoss = CrossEntropy
BCEWithLogitsLoss = BCEWithLogits

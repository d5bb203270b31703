"""Optimizers whose steps hardly depend on the gradient's scale: Adam, AdamW, Lion.

Derivation: docs/gradients.md#steps.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from chainrule import ops
from chainrule.optimizers.optimizer import (
    Optimizer,
    Parameters,
    at_least_zero,
    check_betas,
    kept,
)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2014): steps of about `lr`, whatever the gradient's scale.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
    p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), t counting steps from 1.

    Args:
        params: parameters, (parameter, gradient) pairs, or groups: see `Optimizer`.
        lr: learning rate.
        betas: decay of the two averages, each in [0, 1).
        eps: keeps the quotient finite.
        weight_decay: L2 penalty, added to the gradient.

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        check_betas(group)
        at_least_zero(group, "eps")

    def state_names(self, value: Tensor, group: dict[str, Any]) -> tuple[str, ...]:
        return ("mean", "square")

    def apply_all(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
    ) -> None:
        steps = [self.steps_of(value) for value in values]
        adam(values, gradients, states, group, steps, group["weight_decay"], 1.0)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): p shrinks by lr * weight_decay
    * p.

    Args and errors as `Adam`; weight_decay is no part of the gradient and defaults to 0.01.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def apply_all(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
    ) -> None:
        steps = [self.steps_of(value) for value in values]
        keep = 1 - group["lr"] * group["weight_decay"]
        adam(values, gradients, states, group, steps, 0.0, keep)


def adam(
    values: list[Tensor],
    gradients: list[Tensor],
    states: list[dict[str, Tensor]],
    group: dict[str, Any],
    steps: list[int],
    decay: float,
    keep: float,
) -> None:
    """Each parameter's step of Adam, by its number; L2 penalty `decay`, and keep < 1 shrinks them.

    Of the group it reads "lr", "betas" and "eps".
    """
    means, squares = kept(states, "mean", values), kept(states, "square", values)
    for number in sorted({*steps}):
        at = [place for place, own in enumerate(steps) if own == number]
        ops.adam_step(
            [values[i] for i in at],
            [gradients[i] for i in at],
            [means[i] for i in at],
            [squares[i] for i in at],
            group["lr"],
            group["betas"],
            group["eps"],
            decay,
            keep,
            number,
        )


class Lion(Optimizer):
    """Steps of `lr` in each entry, up or down as the smoothed gradient says. Chen et al. 2023.

    p = (1 - lr * weight_decay) p - lr * sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g.

    Half of Adam's memory. Its authors take a learning rate 3 to 10 times smaller than AdamW's, and
    a weight decay as many times larger.

    Args:
        params: parameters, (parameter, gradient) pairs, or groups: see `Optimizer`.
        lr: learning rate.
        betas: the gradient's share in the step, and the decay of the average; each in [0, 1).
        weight_decay: decoupled, as `AdamW`'s.

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        check_betas(group)

    def state_names(self, value: Tensor, group: dict[str, Any]) -> tuple[str, ...]:
        return ("mean",)

    def apply_all(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
    ) -> None:
        means = kept(states, "mean", values)
        keep = 1 - group["lr"] * group["weight_decay"]
        ops.lion_step(values, gradients, means, group["lr"], group["betas"], keep)

"""Optimizers whose steps hardly depend on the gradient's scale: Adam, AdamW, Lion."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from chainrule import ops
from chainrule.optimizers.optimizer import Optimizer, Parameters, at_least_zero, check_betas


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

    def apply(
        self, value: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        adam(value, gradient, state, group, self.steps_of(value), group["weight_decay"], 1.0)


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

    def apply(
        self, value: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        keep = 1 - group["lr"] * group["weight_decay"]
        adam(value, gradient, state, group, self.steps_of(value), 0.0, keep)


def adam(
    value: Tensor,
    gradient: Tensor,
    state: dict[str, Tensor],
    group: dict[str, Any],
    steps: int,
    decay: float,
    keep: float,
) -> None:
    """One step of Adam, of number `steps`; L2 penalty `decay`, and keep < 1 shrinks the parameter.

    Of the group it reads "lr", "betas" and "eps".
    """
    if not state:
        state["mean"], state["square"] = torch.zeros_like(value), torch.zeros_like(value)
    settings = (group["lr"], group["betas"], group["eps"], decay, keep, steps)
    ops.adam_step(value, gradient, state["mean"], state["square"], *settings)


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

    def apply(
        self, value: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        if not state:
            state["mean"] = torch.zeros_like(value)
        settings = (group["lr"], group["betas"], 1 - group["lr"] * group["weight_decay"])
        ops.lion_step(value, gradient, state["mean"], *settings)

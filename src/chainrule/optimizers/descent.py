"""Gradient descent, and with steps scaled by the gradient's size.

Derivation: docs/gradients.md#steps.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from chainrule import ops
from chainrule.optimizers.optimizer import Optimizer, Parameters, at_least_zero, kept


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    g = gradient + weight_decay * p;  v = momentum * v + (1 - dampening) * g  (v = g at first);
    p = p - lr * v, or with Nesterov's momentum p - lr * (g + momentum * v).

    Args:
        params: parameters, (parameter, gradient) pairs, or groups: see `Optimizer`.
        lr: learning rate.
        momentum: in [0, 1) as a rule; 0 keeps no velocity.
        dampening: lessens the newest gradient's part in the velocity.
        weight_decay: L2 penalty, added to the gradient.
        nesterov: look ahead along the velocity; needs momentum and no dampening.

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        at_least_zero(group, "momentum")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("nesterov=True needs a momentum above 0 and no dampening")

    def state_names(self, value: Tensor, group: dict[str, Any]) -> tuple[str, ...]:
        return ("velocity",) if group["momentum"] else ()

    def apply_all(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
    ) -> None:
        first = ["velocity" not in state for state in states]
        velocities = kept(states, "velocity", values) if group["momentum"] else []
        names = ("lr", "momentum", "dampening", "weight_decay", "nesterov")
        ops.sgd_step(values, gradients, velocities, first, *(group[name] for name in names))


class RMSprop(Optimizer):
    """Steps divided by the root of a running mean of squared gradients. Hinton 2012, lecture 6e.

    g = gradient + weight_decay * p;  s = alpha * s + (1 - alpha) * g^2;
    u = g / (sqrt(s) + eps), or centred g / (sqrt(s - m^2) + eps), m the running mean of g;
    p = p - lr * u, or with momentum v = momentum * v + u and p = p - lr * v.

    Args:
        params: parameters, (parameter, gradient) pairs, or groups: see `Optimizer`.
        lr: learning rate.
        alpha: decay of the running means, in [0, 1].
        eps: keeps the quotient finite.
        weight_decay: L2 penalty, added to the gradient.
        momentum: 0 keeps no velocity.
        centered: divide by the deviation from the running mean; Graves 2013.

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        at_least_zero(group, "momentum", "eps")
        if not 0 <= group["alpha"] <= 1:
            raise ValueError(f"alpha must lie in [0, 1], got {group['alpha']}")

    def state_names(self, value: Tensor, group: dict[str, Any]) -> tuple[str, ...]:
        more = (("mean", group["centered"]), ("velocity", group["momentum"]))
        return ("square", *(name for name, wanted in more if wanted))

    def apply_all(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
    ) -> None:
        squares = kept(states, "square", values)
        means = kept(states, "mean", values) if group["centered"] else []
        velocities = kept(states, "velocity", values) if group["momentum"] else []
        settings = (group[name] for name in ("lr", "alpha", "eps", "weight_decay", "momentum"))
        ops.rmsprop_step(values, gradients, squares, means, velocities, *settings)

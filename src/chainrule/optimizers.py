"""Optimizers: one small `apply` per parameter. Equal to `torch.optim`'s, step for step.

Each takes what `Module.param()` gives, (parameter, gradient) pairs, or the parameters themselves,
whose gradients are their `.grad`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from chainrule import ops

Parameters = Iterable[Tensor | tuple[Tensor, Tensor]]


class Optimizer:
    """What the optimizers share: the loop over the parameters, and their state.

    Args:
        params: (parameter, gradient) pairs, or parameters.
        lr: learning rate; may be set anew before any step.
        weight_decay: see the optimizer.

    Attributes:
        state_names: what each parameter's state holds, when it holds anything; by these
            `load_state_dict` tells another optimizer's state. None, where a subclass doesn't say,
            takes any.

    Raises:
        ValueError: no parameters, one of them twice, or a learning rate or weight decay that is
            negative or not finite.
        TypeError: params holds something else.
    """

    state_names: tuple[str, ...] | None = None

    def __init__(self, params: Parameters, lr: float, weight_decay: float) -> None:
        self.parameters = _parameters(params)
        self.lr = _at_least_zero("lr", lr)
        self.weight_decay = _at_least_zero("weight_decay", weight_decay)
        self.steps = 0
        self._state: list[dict[str, Tensor]] = [{} for _ in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient by it, in place."""
        self.steps += 1
        for value, state in zip(self.parameters, self._state, strict=True):
            if value.grad is not None:
                self.apply(value, value.grad, state)

    def apply(self, value: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> None:
        """Change one parameter in place; `state` is its own, empty at first."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def zero_grad(self) -> None:
        """Set every gradient to zero, in place."""
        for value in self.parameters:
            if value.grad is not None:
                ops.zero(value.grad)

    def state_dict(self) -> dict[str, Tensor]:
        """All that the next steps depend on but `lr`, as tensors: "steps", "0.velocity", ..."""
        state = {
            f"{index}.{name}": value
            for index, own in enumerate(self._state)
            for name, value in own.items()
        }
        return {"steps": torch.tensor(self.steps), **state}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict` of the same optimizer over the same parameters; whole or not.

        Raises:
            ValueError: it is another optimizer's, has no "steps", names a parameter that isn't
                there, or has another shape for one.
        """
        if "steps" not in state:
            raise ValueError('the optimizer\'s state has no "steps"; is it of another kind?')
        fresh: list[dict[str, Tensor]] = [{} for _ in self.parameters]
        for key, saved in state.items():
            if key == "steps":
                continue
            index, _, name = key.partition(".")
            if not index.isdigit() or int(index) >= len(fresh):
                raise ValueError(
                    f"the optimizer's state has {key!r}, but there is no such parameter"
                )
            value = self.parameters[int(index)]
            if saved.shape != value.shape:
                raise ValueError(
                    f"the optimizer's state {key!r} has shape {tuple(saved.shape)}, "
                    f"its parameter {tuple(value.shape)}"
                )
            fresh[int(index)][name] = saved.detach().to(value).clone()
        for index, own in enumerate(fresh):
            if own and self.state_names is not None and set(own) != set(self.state_names):
                raise ValueError(
                    f"the state of parameter {index} holds {', '.join(sorted(own))}, but "
                    f"{type(self).__name__} keeps {', '.join(self.state_names) or 'nothing'}; "
                    "load it into the optimizer that saved it, with the same settings"
                )
        self.steps, self._state = int(state["steps"]), fresh


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    g = gradient + weight_decay * p;  v = momentum * v + (1 - dampening) * g  (v = g at first);
    p = p - lr * v, or with Nesterov's momentum p - lr * (g + momentum * v).

    Args:
        params: (parameter, gradient) pairs, or parameters.
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
        super().__init__(params, lr, weight_decay)
        self.momentum = _at_least_zero("momentum", momentum)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("nesterov=True needs a momentum above 0 and no dampening")
        self.dampening, self.nesterov = dampening, nesterov
        self.state_names = ("velocity",) if momentum else ()

    def apply(self, value: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> None:
        first = "velocity" not in state
        if self.momentum and first:
            state["velocity"] = torch.empty_like(value)
        ops.sgd_step(
            value,
            gradient,
            state["velocity"] if self.momentum else None,
            first,
            self.lr,
            self.momentum,
            self.dampening,
            self.weight_decay,
            self.nesterov,
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba 2014): steps of about `lr`, whatever the gradient's scale.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
    p = p - lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), t counting steps from 1.

    Args:
        params: (parameter, gradient) pairs, or parameters.
        lr: learning rate.
        betas: decay of the two averages, each in [0, 1).
        eps: keeps the quotient finite.
        weight_decay: L2 penalty, added to the gradient.

    Raises:
        ValueError: arguments out of range.
    """

    state_names = ("mean", "square")

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(params, lr, weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must lie in [0, 1), got {betas}")
        self.betas, self.eps = betas, _at_least_zero("eps", eps)

    def apply(self, value: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> None:
        self._step(value, gradient, state, self.weight_decay, 1.0)

    def _step(
        self, value: Tensor, gradient: Tensor, state: dict[str, Tensor], decay: float, keep: float
    ) -> None:
        if not state:
            state["mean"], state["square"] = torch.zeros_like(value), torch.zeros_like(value)
        mean, square = state["mean"], state["square"]
        settings = (self.lr, self.betas, self.eps, decay, keep, self.steps)
        ops.adam_step(value, gradient, mean, square, *settings)


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

    def apply(self, value: Tensor, gradient: Tensor, state: dict[str, Tensor]) -> None:
        self._step(value, gradient, state, 0.0, 1 - self.lr * self.weight_decay)


@torch.no_grad()
def clip_gradients(params: Parameters, max_norm: float) -> float:
    """Scale all gradients, in place, so that their joint Euclidean norm is at most `max_norm`.

    The factor is min(1, max_norm / (norm + 1e-6)), PyTorch's. Returns the norm as it was before. A
    norm that isn't finite leaves the gradients as they are.

    Raises:
        ValueError: max_norm is not above 0, or a parameter is listed twice.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    gradients = [value.grad for value in _parameters(params) if value.grad is not None]
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    factor = max_norm / (norm + 1e-6)
    if math.isfinite(norm) and factor < 1:
        for gradient in gradients:
            gradient.mul_(factor)
    return norm


def _parameters(params: Parameters) -> list[Tensor]:
    if isinstance(params, Tensor):
        raise TypeError("expected a list of parameters, got a single tensor; put it in a list")
    values = [_parameter(item) for item in params]
    if not values:
        raise ValueError("there are no parameters; pass model.param() or model.parameters()")
    seen: dict[int, int] = {}
    for index, value in enumerate(values):
        if seen.setdefault(id(value), index) != index:
            raise ValueError(
                f"parameter {index}, of shape {tuple(value.shape)}, is parameter "
                f"{seen[id(value)]} again; list each once, as model.parameters() does"
            )
    return values


def _parameter(item: Any) -> Tensor:
    if isinstance(item, Tensor):
        return item
    if isinstance(item, tuple | list) and len(item) == 2 and isinstance(item[0], Tensor):
        value, gradient = item
        if value.grad is not gradient:
            value.grad = gradient
        return value
    raise TypeError(
        f"expected a parameter or a (parameter, gradient) pair, got {type(item).__name__}"
    )


def _at_least_zero(name: str, value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number of at least 0, got {value}")
    return value

"""What the optimizers share: parameter groups, the loop over them, and their state.

Equal to `torch.optim`'s, step for step, and of its type, so that `torch.optim.lr_scheduler` takes
them; nothing else of it is used.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from chainrule import ops
from chainrule.backends.replay import refuse

Parameters = Iterable[Tensor | tuple[Tensor, Tensor] | dict[str, Any]]
"""Parameters, whose gradients are their `.grad`; (parameter, gradient) pairs, as `Module.param()`
gives; or groups of either, `{"params": [...], "lr": 0.01}`, with options of their own."""


class Optimizer(torch.optim.Optimizer):
    """The base of the optimizers: a subclass has `apply` or `apply_all`, `check` and `state_names`.

    Args:
        params: parameters, pairs, or groups: see `Parameters`.
        options: of all groups that don't have their own, by name; "lr" and "weight_decay" among
            them.

    Attributes:
        param_groups: dicts of "params" and the options; an option may be set anew before any step.
        lr: the first group's learning rate. Setting it sets the other groups' too, which keep the
            ratio to it that they were given.
        steps: how often `step` was called.
        state: what each parameter's steps keep.

    Raises:
        ValueError: no parameters, one of them twice, or options out of range or unknown.
        TypeError: params holds something else.

    Example:
        >>> layer = chainrule.Linear(3, 2)
        >>> groups = [{"params": [layer.weight]}, {"params": [layer.bias], "lr": 0.05}]
        >>> optimizer = chainrule.SGD(groups, lr=0.1)
        >>> optimizer.lr = 0.02
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.02, 0.01]
    """

    def __init__(self, params: Parameters, **options: Any) -> None:
        # Not the constructor of torch.optim, which imports PyTorch's compiler: that takes seconds.
        self.defaults = options
        self.param_groups: list[dict[str, Any]] = []
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        self.steps = 0
        self._own_steps: defaultdict[Tensor, int] = defaultdict(int)
        self._rates: list[float] = []  # of the groups, as they were given
        for group in _groups(params):
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Step these parameters too, from now on: `{"params": [...], "lr": 0.01}`.

        Raises:
            TypeError, ValueError: as the constructor; then nothing is added.
        """
        unknown = [name for name in param_group if name not in {"params", *self.defaults}]
        if unknown:
            raise ValueError(
                f"a parameter group has {unknown[0]!r}; {type(self).__name__} takes params, "
                f"{', '.join(self.defaults)}"
            )
        if "params" not in param_group:
            raise ValueError('a parameter group needs its parameters, as {"params": [...]}')
        values = parameters_of(param_group["params"])
        check_once([*self.parameters, *values])
        group = {**self.defaults, **param_group, "params": values}
        self.check(group)
        self.param_groups.append(group)
        self._rates.append(group["lr"])

    def check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for options out of range."""
        at_least_zero(group, "lr", "weight_decay")

    def apply_all(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
    ) -> None:
        """Change a group's parameters in place, those that have a gradient: `apply` for each.

        A subclass writes one of the two: this one where an op takes them all.
        """
        for value, gradient, state in zip(values, gradients, states, strict=True):
            self.apply(value, gradient, state, group)

    def apply(
        self, value: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Change one parameter in place; `state` is its own, empty at first."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def state_names(self, value: Tensor, group: dict[str, Any]) -> tuple[str, ...] | None:
        """What a parameter's state holds, when it holds anything; None takes whatever is loaded."""
        return None

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters, group after group."""
        return [value for group in self.param_groups for value in group["params"]]

    @property
    def lr(self) -> float:
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, lr: float) -> None:
        first = self._rates[0]
        for group, rate in zip(self.param_groups, self._rates, strict=True):
            if rate == first:
                group["lr"] = lr
            elif first == 0:
                raise ValueError(
                    "the first group's learning rate was 0 at first, so that the others have no "
                    "ratio to it; set each group's own, in param_groups"
                )
            else:
                group["lr"] = lr * (rate / first)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient by it, in place.

        Args:
            closure: called first; what it returns is returned.
        """
        refuse(
            "an optimizer's step was met, whose rates and counts Python keeps; call it after the "
            "recorded call"
        )
        loss = None if closure is None else closure()
        self.steps += 1
        with torch.no_grad():
            for group in self.param_groups:
                ready = [value for value in group["params"] if value.grad is not None]
                for value in ready:
                    self._own_steps[value] += 1
                if ready:
                    gradients = [value.grad for value in ready if value.grad is not None]
                    self.apply_all(ready, gradients, [self.state[value] for value in ready], group)
        return loss

    def steps_of(self, value: Tensor) -> int:
        """How many of the steps changed this parameter, the present one among them."""
        return self._own_steps[value]

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set every gradient to zero, in place; or to None, which frees its memory."""
        values = self.parameters
        if set_to_none:
            for value in values:
                value.grad = None
            return
        ops.zero([value.grad for value in values if value.grad is not None])

    def state_dict(self) -> dict[str, Tensor]:
        """All that the next steps depend on but the options, as tensors: "steps", "0.velocity", ...

        Parameters are numbered group after group. One that was not changed by every step has its
        own count, "0.steps".
        """
        state = {"steps": torch.tensor(self.steps)}
        for index, value in enumerate(self.parameters):
            own = self.state.get(value, {})
            state.update({f"{index}.{name}": saved for name, saved in own.items()})
            if own and self.steps_of(value) != self.steps:
                state[f"{index}.steps"] = torch.tensor(self.steps_of(value))
        return state

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Go on from a `state_dict` of the same optimizer over the same parameters; whole or not.

        Raises:
            ValueError: it is another optimizer's, has no "steps", names a parameter that isn't
                there, or has another shape for one.
        """
        if "steps" not in state_dict:
            raise ValueError('the optimizer\'s state has no "steps"; is it of another kind?')
        values, steps = self.parameters, int(state_dict["steps"])
        fresh: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        counts: defaultdict[Tensor, int] = defaultdict(int, dict.fromkeys(values, steps))
        for key, saved in state_dict.items():
            if key == "steps":
                continue
            index, _, name = key.partition(".")
            if not index.isdigit() or int(index) >= len(values):
                raise ValueError(
                    f"the optimizer's state has {key!r}, but there is no such parameter"
                )
            value = values[int(index)]
            if name == "steps":
                counts[value] = int(saved)
                continue
            if saved.shape != value.shape:
                raise ValueError(
                    f"the optimizer's state {key!r} has shape {tuple(saved.shape)}, "
                    f"its parameter {tuple(value.shape)}"
                )
            fresh[value][name] = saved.detach().to(value).clone()
        self._check_names(fresh)
        self.steps, self.state, self._own_steps = steps, fresh, counts

    def _check_names(self, state: Mapping[Tensor, dict[str, Tensor]]) -> None:
        pairs = ((value, group) for group in self.param_groups for value in group["params"])
        for index, (value, group) in enumerate(pairs):
            own, names = state.get(value), self.state_names(value, group)
            if own and names is not None and {*own} != {*names}:
                raise ValueError(
                    f"the state of parameter {index} holds {', '.join(sorted(own))}, but "
                    f"{type(self).__name__} keeps {', '.join(names) or 'nothing'}; "
                    "load it into the optimizer that saved it, with the same settings"
                )

    def __getstate__(self) -> dict[str, Any]:
        """All but the `step` that a scheduler of PyTorch wraps, to see whether it is called."""
        return {name: value for name, value in vars(self).items() if name != "step"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def kept(states: list[dict[str, Tensor]], name: str, values: list[Tensor]) -> list[Tensor]:
    """What each state holds under `name`; of zeros, like its parameter, at first."""
    for state, value in zip(states, values, strict=True):
        if name not in state:
            state[name] = torch.zeros_like(value)
    return [state[name] for state in states]


def at_least_zero(group: Mapping[str, Any], *names: str) -> None:
    """Raise ValueError unless these options are finite and not negative."""
    for name in names:
        if not (math.isfinite(group[name]) and group[name] >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {group[name]}")


def check_betas(group: Mapping[str, Any]) -> None:
    """Raise ValueError unless both decays are in [0, 1)."""
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas must lie in [0, 1), got {group['betas']}")


def check_once(values: list[Tensor]) -> None:
    """Raise ValueError if a parameter is listed twice."""
    seen: dict[int, int] = {}
    for index, value in enumerate(values):
        if seen.setdefault(id(value), index) != index:
            raise ValueError(
                f"parameter {index}, of shape {tuple(value.shape)}, is parameter "
                f"{seen[id(value)]} again; list each once, as model.parameters() does"
            )


def parameters_of(params: Any) -> list[Tensor]:
    """The parameters of a list, its pairs bound.

    Raises:
        TypeError, ValueError: it holds something else, or nothing.
    """
    if isinstance(params, Tensor):
        raise TypeError("expected a list of parameters, got a single tensor; put it in a list")
    values = [_parameter(item) for item in params]
    if not values:
        raise ValueError(
            "there are no parameters; pass model.param() or model.parameters(), without asking for "
            "requires_grad, which is false of all"
        )
    return values


def _groups(params: Parameters) -> list[dict[str, Any]]:
    if isinstance(params, Tensor):
        return [{"params": params}]
    if callable(getattr(params, "parameters", None)):
        raise TypeError(
            f"expected parameters, got the model itself, a {type(params).__name__}; pass "
            "model.parameters()"
        )
    items = [*params]
    if not items or not isinstance(items[0], dict):
        return [{"params": items}]
    for item in items:
        if not isinstance(item, dict):
            raise TypeError(
                f"the parameters begin with a group, so expected groups, got {type(item).__name__}"
            )
    return [item for item in items if isinstance(item, dict)]


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

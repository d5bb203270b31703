"""State dicts: a model's tensors by name, with PyTorch's names and layouts, loaded whole or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class StateDictError(ValueError):
    """A state dict does not fit a module; nothing was loaded.

    Attributes:
        missing: names the module has and the state dict lacks.
        extra: names the state dict has and the module lacks.
        misshapen: names whose shapes differ, each with (the module's shape, the state dict's).
    """

    def __init__(
        self,
        missing: list[str],
        extra: list[str],
        misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]],
    ) -> None:
        self.missing, self.extra, self.misshapen = missing, extra, misshapen
        shapes = [
            f"{name} is {ours} here and {theirs} there"
            for name, (ours, theirs) in misshapen.items()
        ]
        parts = [
            f"{label}: {', '.join(names)}"
            for label, names in (("missing", missing), ("extra", extra), ("shape", shapes))
            if names
        ]
        super().__init__("the state dict does not fit this module; " + "; ".join(parts))


class IncompatibleKeys(NamedTuple):
    """What a state dict and a module don't have in common, by PyTorch's names for it."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def state_dict_of(named: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors by name.

    Raises:
        ValueError: two different tensors have one name.
    """
    state: dict[str, Tensor] = {}
    for name, value in named:
        if state.setdefault(name, value) is not value:
            raise ValueError(f"two tensors of the module are named {name!r}; rename one")
    return state


def load_into(
    ours: Mapping[str, Tensor], state: Mapping[str, Tensor], strict: bool
) -> IncompatibleKeys:
    """Copy the values of `state` into the tensors of `ours` that have their names.

    Raises:
        StateDictError: a shape differs or, if strict, a name; nothing was copied.
    """
    missing = [name for name in ours if name not in state]
    extra = [name for name in state if name not in ours]
    common = [name for name in ours if name in state]
    misshapen = {
        name: (tuple(ours[name].shape), tuple(state[name].shape))
        for name in common
        if ours[name].shape != state[name].shape
    }
    if misshapen or (strict and (missing or extra)):
        raise StateDictError(missing, extra, misshapen)
    with torch.no_grad():
        for name in common:
            ours[name].copy_(state[name].detach())
    return IncompatibleKeys(missing, extra)

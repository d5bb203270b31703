"""Modules made of modules. Each is a few lines: what it does forward, and the same in reverse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape


class Sequential(Module):
    """Runs modules one after the other: y = f_n(... f_2(f_1(x))).

    A tuple that a module returns is the inputs of the next one.

    Args:
        modules: the modules in order, or one mapping of names to modules. The names (by default
            "0", "1", ...) begin the names in the state dict, as in PyTorch.

    Attributes:
        steps: what runs: the modules, those of a Sequential among them in its place, or after
            `chainrule.fuse` what computes several of them.

    Example:
        >>> Sequential(Conv2d(3, 8, 3), ReLU())(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 8, 6, 6])
        >>> [*Sequential({"encode": Conv2d(3, 8, 3), "activate": ReLU()}).state_dict()]
        ['encode.weight', 'encode.bias']
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        self._children = _by_name(modules)
        self.steps = steps_of(self)

    def run(self, *arguments: Any) -> Any:
        x, tape = arguments[0] if len(arguments) == 2 else arguments[:-1], arguments[-1]
        del arguments  # which would keep the input alive
        for module in self.steps:
            x = module.run(*x, tape) if isinstance(x, tuple) else module.run(x, tape)
        return x

    def back(self, gy: Any, tape: Tape) -> Any:
        for place in reversed(range(len(self.steps))):
            gy = self.steps[place].back(gy, tape)
            if gy is None and place:  # the modules left only hand the network's input on
                tape.check_missing(self.steps[place])
                break
        return gy

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self._children.items()

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._children.values())

    def __getitem__(self, index: int) -> Module:
        return list(self._children.values())[index]


def steps_of(modules: Iterable[Module]) -> list[Module]:
    """What runs when `modules` run one after the other.

    A Sequential among them is replaced by its own steps. Were it called, its input would have an
    owner here until it returns, and could not be freed once its first step has read it.
    """
    return [
        step
        for module in modules
        for step in (module.steps if type(module) is Sequential else [module])
    ]


class Residual(Module):
    """Adds its input to what the inner module makes of it: y = x + f(x).

    dL/dx = dL/dy + (the inner module's gradient): docs/gradients.md#residual.

    Args:
        inner: any module whose output has its input's shape.

    Raises:
        ValueError: the inner output has another shape than the input.
    """

    def __init__(self, inner: Module) -> None:
        self.inner = inner

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return ops.add(x, self.inner.run(x, tape))

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        gradient = self.inner.back(gy, tape)
        if gradient is None:
            return tape.check_missing(self.inner)
        return ops.add(gy, gradient)


class SkipConcat(Module):
    """Puts its input's channels before those the inner module makes of it: y = [x, f(x)].

    x (N, C, H, W) and f(x) (N, D, H, W) give y (N, C + D, H, W). The gradient of y splits again at
    channel C: docs/gradients.md#skipconcat. The skip connection of U-Net.

    Args:
        inner: any module whose output has its input's batch, height and width.

    Raises:
        ValueError: the inner output has another batch, height or width than the input.
    """

    def __init__(self, inner: Module) -> None:
        self.inner = inner

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.concatenate(x, self.inner.run(x, tape))
        tape.push(self, x.shape[1])
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (channels,) = tape.take(self)
        gradient = self.inner.back(gy[:, channels:], tape)
        if gradient is None:
            return tape.check_missing(self.inner)
        return ops.add(gy[:, :channels], gradient)


def _by_name(modules: tuple[Module | Mapping[str, Module], ...]) -> dict[str, Module]:
    only = modules[0] if len(modules) == 1 else None
    items = only if isinstance(only, Mapping) else dict(enumerate(modules))
    named: dict[str, Module] = {}
    for name, module in items.items():
        if not isinstance(module, Module):
            raise TypeError(f"Sequential: {name!r} is {module!r}, not a chainrule module")
        if not str(name) or "." in str(name):
            raise ValueError(f"Sequential: {name!r} can't name a module; use a name without dots")
        named[str(name)] = module
    return named

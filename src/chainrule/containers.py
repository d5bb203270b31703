"""Modules made of modules. Each is a few lines: what it does forward, and the same in reverse."""

from __future__ import annotations

import copy
from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING, Any, overload
from weakref import WeakSet

from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape

if TYPE_CHECKING:
    from typing_extensions import Self


class Ordered(Module):
    """What `ModuleList` and `Sequential` share: modules in order, each with a name."""

    _children: dict[str, Module]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self._children.items()

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._children.values())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        if not isinstance(index, slice):
            return [*self._children.values()][index]
        part = copy.copy(self)
        part._children = dict([*self._children.items()][index])
        part.rearrange()
        return part

    def append(self, module: Module) -> Self:
        """Add a module at the end, named by its place.

        Raises:
            TypeError, ValueError: it is no module, or another one has that name.
        """
        return self.extend([module])

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end; all or, where one is refused, none. Errors as `append`."""
        added = dict(enumerate(modules, len(self)))
        taken = [str(name) for name in added if str(name) in self._children]
        if taken:
            raise ValueError(
                f"{type(self).__name__}: a module is named {taken[0]!r} already; make a new one of "
                "a mapping of names to modules"
            )
        self._children |= _by_name(type(self).__name__, added)
        self.rearrange()
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before the one at `index`; the numbers of those after it rise.

        Raises:
            TypeError: it is no module.
            ValueError: the modules have names of their own.
        """
        if [*self._children] != [str(place) for place in range(len(self))]:
            raise ValueError(
                f"{type(self).__name__}: only numbered modules make room for another; these are "
                f"named {', '.join(map(repr, self._children))}"
            )
        modules = [*self]
        modules.insert(index, module)
        self._children = _by_name(type(self).__name__, dict(enumerate(modules)))
        self.rearrange()
        return self

    def rearrange(self) -> None:
        """Called after modules were added."""


class ModuleList(Ordered):
    """A list of modules, by PyTorch's name. It doesn't run: its owner calls what is in it.

    A plain list in an attribute does the same, and its modules have the same names.

    Args:
        modules: in their order. Their names are "0", "1", ...

    Raises:
        TypeError: something else than a module.

    Example:
        >>> layers = ModuleList([Conv2d(3, 8, 3)]).append(ReLU())
        >>> [*layers.state_dict()], len(layers[1:])
        (['0.weight', '0.bias'], 1)
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self._children = _by_name(type(self).__name__, dict(enumerate(modules)))

    def run(self, *arguments: Any) -> Any:
        raise NotImplementedError(
            f"{type(self).__name__} only holds modules: call their run one by one in your module's "
            "run, or use a Sequential"
        )


class ModuleDict(Module):
    """Modules by name, by PyTorch's name. It doesn't run: its owner calls what is in it.

    A plain dict in an attribute does the same, and its modules have the same names.

    Raises:
        TypeError, ValueError: something else than a module; an empty name or one with a dot.
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self._children = _by_name("ModuleDict", modules or {})

    def run(self, *arguments: Any) -> Any:
        raise NotImplementedError(
            "ModuleDict only holds modules: call their run one by one in your module's run"
        )

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self._children.items()

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[str]:
        return iter(self._children)

    def __contains__(self, name: object) -> bool:
        return name in self._children

    def __getitem__(self, name: str) -> Module:
        return self._children[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self._children |= _by_name("ModuleDict", {name: module})

    def keys(self) -> KeysView[str]:
        """The names."""
        return self._children.keys()

    def values(self) -> ValuesView[Module]:
        """The modules."""
        return self._children.values()

    def items(self) -> ItemsView[str, Module]:
        """Names and modules."""
        return self._children.items()


class Sequential(Ordered):
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
        only = modules[0] if len(modules) == 1 else None
        items = only if isinstance(only, Mapping) else dict(enumerate(modules))
        self._children = _by_name("Sequential", items)
        self._holders: WeakSet[Sequential] = WeakSet()
        self.rearrange()

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

    def rearrange(self) -> None:
        """Find anew what runs, here and in each Sequential that runs the steps of this one."""
        self.steps = steps_of(self)
        self._hold()
        for holder in [*self._holders]:
            if any(child is self for child in holder):
                holder.rearrange()

    def _hold(self) -> None:
        for child in self:
            if type(child) is Sequential:
                child._holders.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_holders": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "_holders": WeakSet()})
        self._hold()


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


def _by_name(who: str, items: Mapping[Any, Any]) -> dict[str, Module]:
    named: dict[str, Module] = {}
    for name, module in items.items():
        if not isinstance(module, Module):
            raise TypeError(f"{who}: {name!r} is {module!r}, not a chainrule module")
        if not str(name) or "." in str(name):
            raise ValueError(f"{who}: {name!r} can't name a module; use a name without dots")
        named[str(name)] = module
    return named

"""Graphs: named modules that read each other's results, and what joins and parts those.

    Graph("x", {
        "small": (Conv2d(3, 8, 2, stride=2), "x"),
        "large": (NearestUpsampling(2), "small"),
        "both": (Concatenate(), "large", "x"),
    })

Derivations: docs/gradients.md#graphs.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chainrule import ops
from chainrule.module import Module, Tape, as_tuple

_Kind = tuple[torch.Size, torch.dtype, torch.device]


class Graph(Module):
    """Any directed acyclic graph: each node is a module and the names of what it reads.

    The nodes run in their order, and read inputs or nodes before them, so that there is no cycle.
    What several nodes read gets the sum of their gradients. One module may be at several nodes, as
    in a recurrent network: it then has one set of weights. A value is freed once its last reader
    has run, unless the backward pass needs it.

    Args:
        inputs: the name of the input, or several.
        nodes: name to (module, *names of what it reads). Of a module that returns a tuple,
            "name.0" is the first value, and "name" all of them, each an argument.
        outputs: the name of what the graph returns, or several for a tuple; by default the last
            node.

    Attributes:
        inputs, outputs, returns_tuple: as given; whether several outputs were named.
        reads: what each node reads, by its name.

    Raises:
        TypeError, ValueError: a name that is taken, unknown or has a dot; a node that holds no
            module, or that nothing reads.

    Example:
        >>> net = Graph(
        ...     "x",
        ...     {
        ...         "left": (Conv2d(3, 4, 3, padding=1), "x"),
        ...         "right": (Conv2d(3, 4, 5, padding=2), "x"),
        ...         "sum": (Add(), "left", "right"),
        ...     },
        ... )
        >>> net(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 4, 8, 8])
        >>> [*net.state_dict()]
        ['left.weight', 'left.bias', 'right.weight', 'right.bias']
    """

    def __init__(
        self,
        inputs: str | Sequence[str],
        nodes: Mapping[str, tuple[Any, ...]],
        outputs: str | Sequence[str] | None = None,
    ) -> None:
        self.inputs = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        self._children: dict[str, Module] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        for name, node in nodes.items():
            _check_name(name, {*self.inputs, *self._children})
            self._children[name], self.reads[name] = _node(name, node)
            _check_known(f"node {name!r}", self.reads[name], {*self.inputs, *self.reads} - {name})
        if not self._children:
            raise ValueError("Graph: there are no nodes; give at least one")
        self.returns_tuple = outputs is not None and not isinstance(outputs, str)
        last = next(reversed(self._children))
        given = (last,) if outputs is None else outputs
        self.outputs = (given,) if isinstance(given, str) else tuple(given)
        _check_known("an output", self.outputs, {*self.inputs, *self._children})
        wanted = [*self.outputs, *(each for read in self.reads.values() for each in read)]
        self._readers = Counter(map(_owner, wanted))
        for name in (*self.inputs, *self._children):
            if not self._readers[name]:
                raise ValueError(
                    f"Graph: nothing reads {name!r}; leave it out, or make it an output"
                )

    def run(self, *arguments: Any) -> Any:
        *given, tape = arguments
        del arguments
        if len(given) != len(self.inputs):
            raise TypeError(
                f"Graph: expected {len(self.inputs)} inputs ({', '.join(self.inputs)}), "
                f"got {len(given)}"
            )
        values: dict[str, Any] = dict(zip(self.inputs, given, strict=True))
        del given
        left, kinds = self._readers.copy(), dict[str, list[_Kind]]()
        for name, module in self._children.items():
            y = module.run(*_take(values, left, self.reads[name]), tape)
            if isinstance(y, tuple):
                kinds[name] = [(each.shape, each.dtype, each.device) for each in y]
            values[name] = y
            del y
        tape.push(self, kinds)
        results = _take(values, left, self.outputs)
        return tuple(results) if self.returns_tuple or len(results) > 1 else results[0]

    def back(self, gy: Any, tape: Tape) -> Any:
        (kinds,) = tape.take(self)
        gradients = _Gradients(kinds)
        gradients.spread(self.outputs, gy)
        for name, module in reversed(self._children.items()):
            whole = gradients.take(name)
            if whole is None:  # its readers only hand the network's input on
                continue
            gx = module.back(whole, tape)
            if gx is None:
                tape.check_missing(module)
            gradients.spread(self.reads[name], gx)
        found = [gradients.take(name) for name in self.inputs]
        return found[0] if len(found) == 1 else tuple(found)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self._children.items()

    def __getitem__(self, name: str) -> Module:
        return self._children[name]


class _Gradients:
    """Of each name what its readers have sent so far, summed."""

    def __init__(self, kinds: dict[str, list[_Kind]]) -> None:
        self._kinds = kinds
        self._sums: dict[str, Any] = {}

    def add(self, reference: str, gradient: Any) -> None:
        """`gradient` is of one value, or of all that a module returned, and may be None."""
        if isinstance(gradient, tuple):
            for place, each in enumerate(gradient):
                self.add(f"{reference}.{place}", each)
        elif gradient is not None:
            before = self._sums.get(reference)
            self._sums[reference] = gradient if before is None else ops.add(before, gradient)

    def spread(self, references: tuple[str, ...], gradient: Any) -> None:
        """Give the gradients of what was read, in this order, to whom it was read from."""
        waiting = [*as_tuple(gradient)]
        for reference in references:
            if reference in self._kinds:  # all values of a tuple
                count = len(self._kinds[reference])
                self.add(reference, tuple(waiting[:count]))
                waiting = waiting[count:]
            else:
                self.add(reference, waiting.pop(0) if waiting else None)

    def take(self, name: str) -> Any:
        """The whole gradient of a node or an input; None where nothing has one.

        A value of a tuple that nobody read has a gradient of zeros.
        """
        if name not in self._kinds:
            return self._sums.pop(name, None)
        parts = [self._sums.pop(f"{name}.{i}", None) for i in range(len(self._kinds[name]))]
        if all(part is None for part in parts):
            return None
        return tuple(
            torch.zeros(shape, dtype=dtype, device=device)
            if part is None and dtype.is_floating_point
            else part
            for part, (shape, dtype, device) in zip(parts, self._kinds[name], strict=True)
        )


def _take(values: dict[str, Any], left: Counter[str], references: tuple[str, ...]) -> list[Any]:
    """The values that are read, which are let go of where nobody reads them again."""
    taken: list[Any] = []
    for reference in references:
        owner, place = _owner(reference), reference.partition(".")[2]
        value = values[owner]
        left[owner] -= 1
        if not left[owner]:
            del values[owner]
        if not place:
            taken += as_tuple(value)
        elif isinstance(value, tuple) and int(place) < len(value):
            taken.append(value[int(place)])
        else:
            count = len(value) if isinstance(value, tuple) else 1
            raise ValueError(f"Graph: there is no {reference!r}; {owner} has {count} values")
    return taken


def _owner(reference: str) -> str:
    return reference.partition(".")[0]


def _node(name: str, node: Any) -> tuple[Module, tuple[str, ...]]:
    module, *reads = node if isinstance(node, tuple) and node else (node,)
    if not isinstance(module, Module) or not all(isinstance(each, str) for each in reads):
        raise TypeError(
            f"Graph: node {name!r} must be (module, *names of what it reads), got {node!r}"
        )
    if not reads:
        raise ValueError(f"Graph: node {name!r} reads nothing; name what goes into it")
    return module, tuple(reads)


def _check_name(name: Any, taken: set[str]) -> None:
    if not isinstance(name, str) or not name or "." in name:
        raise ValueError(f"Graph: {name!r} can't name a node; use a name without dots")
    if name in taken:
        raise ValueError(f"Graph: there are two {name!r}; give each input and node its own name")


def _check_known(who: str, references: tuple[str, ...], known: set[str]) -> None:
    for reference in references:
        owner, dot, place = reference.partition(".")
        if owner not in known or (dot and not place.isdigit()):
            raise ValueError(
                f"Graph: {who} reads {reference!r}, which is neither an input nor an earlier node; "
                f"there are {', '.join(sorted(known))}"
            )


class Add(Module):
    """y = x_1 + x_2 + ..., of one shape: nothing is broadcast. Each gets dL/dy.

    Raises:
        ValueError: the shapes differ, or there is a single input.
    """

    def run(self, *arguments: Any) -> Tensor:
        first, *others = _several("Add", arguments)
        for x in others:
            if x.shape != first.shape:
                raise ValueError(
                    f"Add: the shapes must be the same, got {tuple(first.shape)} and "
                    f"{tuple(x.shape)}"
                )
        arguments[-1].push(self, len(others) + 1)
        return functools.reduce(ops.add, others, first)

    def back(self, gy: Tensor, tape: Tape) -> tuple[Tensor, ...]:
        (count,) = tape.take(self)
        return (gy,) * count


class Subtract(Module):
    """y = a - b, of one shape. dL/da = dL/dy, dL/db = -dL/dy.

    Raises:
        ValueError: the shapes differ.
    """

    def run(self, a: Tensor, b: Tensor, tape: Tape) -> Tensor:
        if a.shape != b.shape:
            raise ValueError(
                f"Subtract: the shapes must be the same, got {tuple(a.shape)} and {tuple(b.shape)}"
            )
        return a - b

    def back(self, gy: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        return gy, -gy


class Concatenate(Module):
    """Puts channels one after the other: (N, C_1, ...), (N, C_2, ...), ... to (N, C_1 + C_2, ...).

    dL/dx_i is its part of the channels of dL/dy.

    Raises:
        ValueError: more than the channels differ, or there is a single input.
    """

    def run(self, *arguments: Any) -> Tensor:
        first, *others = _several("Concatenate", arguments)
        for x in others:
            if x.dim() != first.dim() or (x.shape[0], x.shape[2:]) != (
                first.shape[0],
                first.shape[2:],
            ):
                raise ValueError(
                    f"Concatenate: only the channels may differ, got {tuple(first.shape)} and "
                    f"{tuple(x.shape)}"
                )
        arguments[-1].push(self, [x.shape[1] for x in (first, *others)])
        if first.dim() == 4:
            return functools.reduce(ops.concatenate, others, first)
        # The op joins images: (N, C, L, 1) is one.
        images = [x.reshape(*x.shape[:2], -1, 1) for x in (first, *others)]
        y = functools.reduce(ops.concatenate, images)
        return y.reshape(y.shape[0], y.shape[1], *first.shape[2:])

    def back(self, gy: Tensor, tape: Tape) -> tuple[Tensor, ...]:
        (channels,) = tape.take(self)
        return gy.split(channels, 1)


class Channels(Module):
    """The channels from start to before stop: x (N, C, ...) to y (N, stop - start, ...).

    dL/dx is dL/dy at these channels and 0 at the others.

    Args:
        start: of 0 and more.
        stop: above start.

    Raises:
        ValueError: no such channels.
    """

    def __init__(self, start: int, stop: int) -> None:
        if not 0 <= start < stop:
            raise ValueError(f"Channels: there are none from {start} to {stop}")
        self.start, self.stop = start, stop

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        if x.dim() < 2 or x.shape[1] < self.stop:
            raise ValueError(f"Channels: expected at least {self.stop}, got {tuple(x.shape)}")
        tape.push(self, x.shape)
        return x[:, self.start : self.stop]

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (shape,) = tape.take(self)
        gx = gy.new_zeros(shape)
        gx[:, self.start : self.stop] = gy
        return gx

    def arguments(self) -> str:
        return f"{self.start}, {self.stop}"


def _several(name: str, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
    inputs = arguments[:-1]
    if len(inputs) < 2:
        raise ValueError(f"{name}: expected at least two inputs, got {len(inputs)}")
    return inputs

"""What a network is made of and what it costs, without running it: `print(summary(model,
shape))`."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from chainrule.fusion import FusedConvolution
from chainrule.module import Module, Tape, as_tuple


@dataclass(frozen=True)
class Row:
    """One call of one layer, or of several that `chainrule.fuse` has merged.

    Attributes:
        name: as in the state dict; of merged layers "0+1".
        layer: what it is; of merged layers "Conv2d + ReLU".
        output_shape: what comes out.
        parameters: learned numbers.
        multiply_adds: of the direct algorithm, with a sum for each output pixel.
    """

    name: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """Layers in the order they run, and totals. `str()` gives a table.

    Attributes:
        input_shape: as asked.
        rows: a row a layer call.
        parameters: learned numbers in all, shared ones counted once.
        multiply_adds: of one forward pass over an input of input_shape.
        training_bytes: parameters, gradients, and the activations kept for the backward pass.
        inference_bytes: parameters, and the activations alive together at the worst moment.

    Both count what modules hold, not what an op needs for a moment while it works.
    """

    input_shape: tuple[int, ...]
    rows: list[Row]
    parameters: int
    multiply_adds: int
    training_bytes: int
    inference_bytes: int

    def __str__(self) -> str:
        head = ("name", "layer", "output", "parameters", "multiply-adds")
        table = [head] + [
            (
                row.name,
                row.layer,
                _by(row.output_shape),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in table) for column in range(len(head))]
        lines = [
            "  ".join(
                cell.rjust(width) if column >= 3 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in table
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join(
            [
                *lines,
                lines[1],
                f"input {_by(self.input_shape)}: {self.parameters:,} parameters, "
                f"{self.multiply_adds:,} multiply-adds",
                f"memory: training {_bytes(self.training_bytes)}, "
                f"inference {_bytes(self.inference_bytes)}",
            ]
        )


def summary(model: Module, input_shape: Iterable[int]) -> Summary:
    """Trace `model` on an input of `input_shape` (N, C, H, W), computing shapes only.

    Raises:
        ValueError: the model does not take that shape.

    Example:
        >>> model = Sequential(Conv2d(3, 8, 3), ReLU())
        >>> print(summary(fuse(model), (1, 3, 64, 64)))  # shows what was merged
        name  layer          output           parameters  multiply-adds
        ---------------------------------------------------------------
        0+1   Conv2d + ReLU  1 x 8 x 62 x 62         224        830,304
        ---------------------------------------------------------------
        input 1 x 3 x 64 x 64: 224 parameters, 830,304 multiply-adds
        memory: training 169.9 KiB, inference 169.0 KiB
    """
    shape = tuple(input_shape)
    traced = _on_meta(model)
    trace = _Trace()
    names = {module: name for name, module in reversed([*traced.named_modules()])}
    for module in _all_modules(traced, set()):
        trace.attach(_name(module, names), module)
    parameters = model.parameters()
    dtype = parameters[0].dtype if parameters else torch.get_default_dtype()
    x = torch.empty(shape, device="meta", dtype=dtype)
    y = traced.run(x, Tape(keep=False))
    del y
    tape = Tape()
    traced_again = _on_meta(model)
    traced_again.run(x, tape)
    weights = sum(_nbytes(value) for value in parameters)
    return Summary(
        input_shape=shape,
        rows=trace.rows,
        parameters=sum(value.numel() for value in parameters),
        multiply_adds=sum(row.multiply_adds for row in trace.rows),
        training_bytes=2 * weights + _kept_bytes(tape),
        inference_bytes=weights + trace.peak,
    )


@dataclass
class _Trace:
    """Rows, and the largest sum of activations alive at once, of the modules it is attached to."""

    rows: list[Row] = field(default_factory=list)
    peak: int = 0
    _newest: Tensor | None = None  # kept because a container may join it with another into y
    _alive: dict[int, weakref.ref[Tensor]] = field(default_factory=dict)

    def attach(self, name: str, module: Module) -> None:
        run = module.run
        merged = isinstance(module, FusedConvolution)
        layer = module.arguments() if merged else type(module).__name__
        is_layer = merged or not any(True for _ in module.named_children())

        def traced(*arguments: Any) -> Any:
            x, y = arguments[0], run(*arguments)
            outputs = as_tuple(y)
            self._see(*arguments[:-1], *outputs)
            if not is_layer:
                return y
            own = sum(value.numel() for value in module.parameters())
            cost = module.multiply_adds(x.shape, outputs[0].shape)
            self.rows.append(Row(name, layer, tuple(outputs[0].shape), own, cost))
            return y

        module.run = traced  # on the traced copy only

    def _see(self, *values: Tensor) -> None:
        for value in values:
            self._alive[id(value)] = weakref.ref(value)
        tensors = [tensor for ref in self._alive.values() if (tensor := ref()) is not None]
        self._alive = {id(tensor): weakref.ref(tensor) for tensor in tensors}
        self.peak = max(self.peak, sum(map(_nbytes, tensors)))
        self._newest = values[-1]


def _all_modules(value: Any, seen: set[int]) -> Iterator[Module]:
    """Every module once, also those that compute several layers and have no name of their own."""
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _all_modules(item, seen)
    if isinstance(value, Module) and id(value) not in seen:
        seen.add(id(value))
        yield value
        yield from _all_modules(vars(value), seen)


def _name(module: Module, names: dict[Module, str]) -> str:
    """The name in the state dict; merged layers' names, what they have in common said once."""
    if not isinstance(module, FusedConvolution):
        return names.get(module, "")
    first, *others = (names[one] for one in module.merged())
    place = first[: first.rfind(".") + 1]
    return "+".join([first, *(name.removeprefix(place) for name in others)])


def _on_meta(model: Module) -> Module:
    """A copy of the model whose tensors have shapes and no values."""
    twin = copy.deepcopy(model)
    for _, module in twin.named_modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                setattr(module, name, value.detach().to("meta"))
    return twin


def _kept_bytes(tape: Tape) -> int:
    tensors = [value for _, values in tape for value in values if isinstance(value, Tensor)]
    return sum(_nbytes(value) for value in {id(value): value for value in tensors}.values())


def _nbytes(value: Tensor) -> int:
    return value.numel() * value.element_size()


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{count / 2**10:,.1f} KiB"

"""The recording backend: it computes as the reference does, and lists every op that ran.

    recorder = Recorder()
    with use_backend(recorder):
        ...                     # here and in this thread: see recorder.ops

Meta tensors, which have a shape and no memory, make that free, whatever their size.
`chainrule.record` does so with a model.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from chainrule.backends import reference


class Value(NamedTuple):
    """A tensor that was met."""

    number: int
    """The same wherever this tensor is met, and no other's: the edges of the graph."""
    shape: tuple[int, ...]
    dtype: torch.dtype
    name: str = ""
    """Of a parameter or buffer, as in the state dict."""

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize


@dataclass(frozen=True)
class Op:
    """An op that ran. `str()` is one line of it, without the attributes.

    Attributes:
        name: of the function in `chainrule.backends.reference`.
        layer: the name, in the state dict, of the module that called it; "" outside of a model.
        inputs: the tensors among its arguments, by the arguments' names.
        outputs: the tensors that it returned, or that it changed where it works in place. An input
            that no op put out was made by torch, or is an input of the whole.
        attributes: its other arguments by name: a convolution's `layers` is its `Block`, with the
            geometry and what was merged; a pooling's `window` its `Window`.
        multiply_adds: of convolutions and products of matrices and their gradients, by the direct
            algorithm, with a sum for each output pixel; 0 for all others, whose time goes by the
            bytes.
        bytes_read: of the inputs, one given twice counted once.
        bytes_written: of the outputs.
        alive_bytes: of all tensors met so far that are still alive when it returns, named ones
            apart.
    """

    name: str
    layer: str
    inputs: dict[str, Value]
    outputs: tuple[Value, ...]
    attributes: dict[str, Any]
    multiply_adds: int
    bytes_read: int
    bytes_written: int
    alive_bytes: int

    @property
    def dtype(self) -> torch.dtype:
        return self.outputs[0].dtype

    def __str__(self) -> str:
        place = f"{self.layer}: " if self.layer else ""
        given = ", ".join(f"{name} {value.shape}" for name, value in self.inputs.items())
        made = ", ".join(str(value.shape) for value in self.outputs)
        kind = str(self.dtype).removeprefix("torch.")
        return (
            f"{place}{self.name}({given}) -> {made} {kind}: {self.multiply_adds:,} multiply-adds, "
            f"{self.bytes_read:,} bytes read, {self.bytes_written:,} written"
        )


class Recorder:
    """A backend, for `use_backend`, with a list of what it computed.

    Attributes:
        ops: in the order they ran.
        layer: what the next ops will be said to belong to.
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.layer = ""
        self._met = WeakTensorKeyDictionary()  # Tensor -> Value; a tensor can die all the same
        self._count = 0

    def __getattr__(self, op: str) -> Callable[..., Any]:
        if op not in _SIGNATURES:
            raise AttributeError(f"there is no op {op!r}")
        return partial(self._compute, op)

    def value(self, x: Tensor, name: str = "") -> Value:
        """The record of x; `name` is for one that is met for the first time."""
        if x not in self._met:
            self._met[x] = Value(self._count, tuple(x.shape), x.dtype, name)
            self._count += 1
        return self._met[x]

    def alive_bytes(self) -> int:
        """Bytes of the tensors met so far that are still alive and have no name."""
        return sum(value.nbytes for _, value in self._met.items() if not value.name)

    def _compute(self, op: str, *arguments: Any) -> Any:
        result = getattr(reference, op)(*arguments)
        self.note(op, arguments, result)
        return result

    def note(self, op: str, arguments: tuple[Any, ...], result: Any) -> Op:
        """List an op that somebody computed."""
        given = _SIGNATURES[op].bind(*arguments).arguments
        tensors = dict(_tensors(given))
        inputs = {name: self.value(x) for name, x in tensors.items()}
        attributes = {
            name: value
            for name, value in given.items()
            if not (value is None or isinstance(value, Tensor) or _holds_tensors(value))
        }
        outputs = _outputs(op, result, given)
        written = tuple(self.value(y) for y in outputs)
        noted = Op(
            op,
            self.layer,
            inputs,
            written,
            attributes,
            _multiply_adds(op, inputs, written, attributes),
            sum(value.nbytes for value in {*inputs.values()}),
            sum(value.nbytes for value in written),
            self.alive_bytes(),
        )
        self.ops.append(noted)
        return noted


_SIGNATURES = {op: inspect.signature(getattr(reference, op)) for op in reference.__all__}
_CHANGED = {  # by the ops that work in place and return nothing
    "accumulate": ("total",),
    "copy": ("target",),
    "clip": ("gradients",),
    "zero": ("values",),
    "sgd_step": ("values", "velocities"),
    "adam_step": ("values", "means", "squares"),
    "rmsprop_step": ("values", "squares", "means", "velocities"),
    "lion_step": ("values", "means"),
    "muon_step": ("values", "velocities"),
}
# y = block(x, weight) and its gradients: what comes out has the shape of which of the three.
_SIDES = {"block": "y", "block_input_grad": "x", "block_parameter_grads": "weight"}
# Products of matrices: which input meets which, and the dimension of the second that each value of
# the first is multiplied along; and how many such products there are.
_PRODUCTS = {
    "linear": ("x", "weight", 0, 1),
    "linear_input_grad": ("gy", "weight", 1, 1),
    "linear_parameter_grads": ("x", "gy", -1, 1),
    "matmul": ("a", "b", -1, 1),
    "attention": ("q", "k", 1, 2),
    "attention_grad": ("q", "k", 1, 5),
    "lstm": ("gates", "weight", 1, 1),
    "lstm_grad": ("gates", "weight", 1, 1),
    "gru": ("gates", "weight", 1, 1),
    "gru_grad": ("gates", "weight", 1, 1),
}


def _outputs(op: str, result: Any, given: dict[str, Any]) -> tuple[Tensor, ...]:
    if op in _CHANGED:
        changed = {name: given[name] for name in _CHANGED[op]}
        return tuple(x for _, x in _tensors(changed))
    return result if isinstance(result, tuple) else (result,)


def _tensors(arguments: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The tensors among an op's arguments, by name; of a list "values.0", "values.1", ..."""
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            yield name, value
        elif _holds_tensors(value):
            yield from ((f"{name}.{place}", x) for place, x in enumerate(value))


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Tensor)


def _multiply_adds(
    op: str, inputs: dict[str, Value], outputs: tuple[Value, ...], attributes: dict[str, Any]
) -> int:
    """In a convolution each value of y (of x, if it is transposed) meets a filter once, in the
    gradients as well."""
    if op in _PRODUCTS:
        first, second, dim, times = _PRODUCTS[op]
        return times * inputs[first].numel * inputs[second].shape[dim]
    if op not in _SIDES:
        return 0
    tensors = {**inputs, _SIDES[op]: outputs[0]}
    small = tensors["x" if attributes["layers"].transposed else "y"]
    return small.numel * math.prod(tensors["weight"].shape[1:])

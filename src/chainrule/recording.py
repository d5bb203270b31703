"""The ops of a model, by name, shape and cost: `print(record(model, shape))`.

The model runs on meta tensors, under the recording backend (`chainrule.backends.record`): shapes
are computed and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chainrule.backends import use_backend
from chainrule.backends.record import Op, Recorder, Value
from chainrule.fusion import FusedConvolution
from chainrule.module import Module, Tape, as_tuple


@dataclass(frozen=True)
class Call:
    """One call of one module.

    Attributes:
        module: a copy of the model's, on the meta device.
        name: as in the state dict; of merged layers "0+1"; "" of the model itself.
        inputs, outputs: the tensors that it was given, and that it returned.
        ops: those that it ran itself: not those of the modules that it called.
        alive_bytes: of activations alive when it returned.
    """

    module: Module
    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    ops: list[Op]
    alive_bytes: int


@dataclass(frozen=True)
class Recording:
    """What one forward pass does. `str()` is a line an op.

    Attributes:
        ops: in the order they ran.
        calls: of the modules, in the order they returned.
        inputs, outputs: of the model. Where a value of the same number is the input or output of an
            op, it is the same tensor.
        kept_bytes: of what the modules push on the tape for the backward pass; of those that a
            `Checkpoint` runs again, what the largest adds when its turn comes.
        spared_bytes: how much more it were without the checkpoints.
    """

    ops: list[Op]
    calls: list[Call]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    kept_bytes: int
    spared_bytes: int

    def __str__(self) -> str:
        return "\n".join(map(str, self.ops))


def record(model: Module, *inputs: Iterable[int] | Tensor) -> Recording:
    """Run `model` on shapes, without computing a value, and list the ops that ran.

    What modules compute with torch's own functions isn't seen.

    Args:
        model: stays as it is.
        inputs: the model's inputs: each a tensor, of which shape and dtype are taken, or a shape,
            whose dtype is then that of the first parameter.

    Raises:
        TypeError, ValueError: the model does not take these inputs.

    Example:
        >>> model = fuse(Sequential(Conv2d(3, 8, 3), ReLU()))
        >>> recording = record(model, (1, 3, 64, 64))
        >>> for op in recording.ops:
        ...     print(op.layer, op.name, op.outputs[0].shape, op.multiply_adds)
        0+1 block (1, 8, 62, 62) 830304
        >>> recording.ops[0].attributes["layers"].epilogue.activation
        'relu'
    """
    tensors = tuple(_on_meta(each, model) for each in inputs)
    recorder, calls = Recorder(), list[Call]()
    given = tuple(recorder.value(x) for x in tensors)
    twin = _twin(model, recorder)
    names = {module: name for name, module in reversed([*twin.named_modules()])}
    for module in _all_modules(twin, set()):
        _watch(module, _name(module, names), recorder, calls)
    tape = _Scale(recorder)
    with use_backend(recorder):
        twin.run(*tensors, tape)
    kept = _bytes(tape.most())
    spared = _bytes(tape.all()) - kept
    return Recording(recorder.ops, calls, given, calls[-1].outputs, kept, spared)


class _Scale(Tape):
    """Keeps nothing, but knows what a tape would have kept."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(keep=False)
        self._kept: set[Value] = set()
        self._parts: list[_Scale] = []
        self._recorder = recorder

    def push(self, module: Module, *values: Any) -> None:
        self._kept.update(self._recorder.value(x) for x in values if isinstance(x, Tensor))

    push_whole = push

    def forgetful(self) -> _Scale:
        self._parts.append(_Scale(self._recorder))
        return self._parts[-1]

    def most(self) -> set[Value]:
        """What is kept together at the worst moment: one part runs again after the other."""
        largest = max((part.most() - self._kept for part in self._parts), key=_bytes, default=set())
        return self._kept | largest

    def all(self) -> set[Value]:
        """What would be kept if no part ran again."""
        return self._kept.union(*(part.all() for part in self._parts))


def _bytes(values: Iterable[Value]) -> int:
    return sum(value.nbytes for value in values)


def _watch(module: Module, name: str, recorder: Recorder, calls: list[Call]) -> None:
    """Have every call of this module listed, and its ops under its name."""
    run = module.run

    def watched(*arguments: Any) -> Any:
        caller, recorder.layer = recorder.layer, name
        before = len(recorder.ops), len(calls)
        y = run(*arguments)
        recorder.layer = caller
        inner = {id(op) for call in calls[before[1] :] for op in call.ops}
        own = [op for op in recorder.ops[before[0] :] if id(op) not in inner]
        given, made = _values(recorder, arguments), _values(recorder, as_tuple(y))
        calls.append(Call(module, name, given, made, own, recorder.alive_bytes()))
        return y

    module.run = watched  # of the copy only


def _values(recorder: Recorder, values: Iterable[Any]) -> tuple[Value, ...]:
    return tuple(recorder.value(x) for x in values if isinstance(x, Tensor))


def _twin(model: Module, recorder: Recorder) -> Module:
    """A copy of the model whose tensors have shapes, and names to the recorder, but no values."""
    twins: dict[int, Any] = {}
    for name, value in model.named_tensors():
        if id(value) not in twins:
            twins[id(value)] = value.detach().to("meta")
            recorder.value(twins[id(value)], name)
    return copy.deepcopy(model, twins)


def _on_meta(given: Iterable[int] | Tensor, model: Module) -> Tensor:
    if isinstance(given, Tensor):
        return torch.empty_like(given, device="meta")
    parameters = model.parameters()
    dtype = parameters[0].dtype if parameters else torch.get_default_dtype()
    return torch.empty(tuple(given), device="meta", dtype=dtype)


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

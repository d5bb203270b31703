"""ONNX: one visitor of the ops that a model runs.

The model is recorded on an input of the shape that is given. From what it returns the visitor goes
back along the edges of the recording, to see what is needed, and then writes that in its order.
A layer of `LAYERS` is written as a whole, everything else op by op: so containers, whatever they
are, need no translation, and merged layers are written as they run.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule.backends.record import Op, Value
from chainrule.export.graph import ExportError, Writer, onnx_package
from chainrule.export.ops import OPS
from chainrule.export.splines import LAYERS
from chainrule.module import Module
from chainrule.recording import Call, Recording, record
from chainrule.serialization import replacing

OPSET = 23
"""The version of ONNX's operators that is written where no other is asked for."""

OPSETS = range(20, 29)
"""Those that can be asked for."""

LARGEST = 2**31 - 1
"""Bytes: what protobuf holds in one file."""

_IMAGE = ("batch", "", "height", "width")


def to_onnx(
    model: Module,
    *shapes: Iterable[int] | Tensor,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    metadata: Mapping[str, str] | None = None,
    opset: int = OPSET,
) -> Any:
    """The model in evaluation, as an `onnx.ModelProto` with its weights.

    The first dimension of an input is free, and of images (N, C, H, W) height and width are too; of
    sequences and volumes every size that the model takes doubled as well. The weights have their
    names in the state dict.

    Args:
        model: stays as it is.
        shapes: of the inputs, or tensors, as `chainrule.record` takes them; one that the model
            takes, it doesn't matter which.
        inputs, outputs: their names, in order.
        metadata: texts by name, for `metadata_props`.
        opset: 20 to 28.

    Raises:
        ExportError: `onnx` isn't installed; a layer that has no translation; floats other than
            float32, which is all that runtimes can be counted on for.

    Example:
        >>> model = to_onnx(Sequential(Conv2d(3, 8, 3), ReLU()), (1, 3, 64, 64))
        >>> [node.op_type for node in model.graph.node]
        ['Conv', 'Relu']
    """
    if opset not in OPSETS:
        raise ExportError(f"the opset must lie in {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    onnx = onnx_package()
    recording = record(_evaluating(model), *shapes)
    _check_names("inputs", inputs, recording.inputs)
    _check_names("outputs", outputs, recording.outputs)
    for value in (*recording.inputs, *model.parameters()):
        _check_dtype(value.dtype)
    free = _free_sizes(model, recording)
    write = Writer(model.state_dict())
    names = dict(zip((value.number for value in recording.inputs), inputs, strict=True))
    for result, name in zip(_written(recording, write, names), outputs, strict=True):
        write.output(result, name)
    graph = onnx.helper.make_graph(
        write.nodes,
        type(model).__name__,
        [_declared(onnx, *each, free) for each in zip(inputs, recording.inputs, strict=True)],
        [
            _declared(onnx, *each, free, recording.inputs)
            for each in zip(outputs, recording.outputs, strict=True)
        ],
        [onnx.numpy_helper.from_array(values, name) for name, values in write.constants.items()],
    )
    identity = onnx.helper.make_opsetid("", opset)
    version = onnx.helper.find_min_ir_version_for([identity])
    proto = onnx.helper.make_model(
        graph, producer_name="chainrule", opset_imports=[identity], ir_version=version
    )
    onnx.helper.set_model_props(proto, dict(metadata or {}))
    if proto.ByteSize() > LARGEST:
        raise ExportError(
            f"the model has {proto.ByteSize()} bytes, and an ONNX file holds {LARGEST}"
        )
    onnx.checker.check_model(proto, full_check=True)
    return proto


def save_onnx(
    path: str | Path,
    model: Module,
    *shapes: Iterable[int] | Tensor,
    inputs: Sequence[str] = ("x",),
    outputs: Sequence[str] = ("y",),
    metadata: Mapping[str, str] | None = None,
    opset: int = OPSET,
    overwrite: bool = False,
) -> None:
    """`to_onnx`, into a file that appears whole or not at all.

    Raises:
        ExportError: as `to_onnx`.
        FileExistsError, NotADirectoryError: as `chainrule.serialization.replacing`.
    """
    proto = to_onnx(model, *shapes, inputs=inputs, outputs=outputs, metadata=metadata, opset=opset)
    with replacing(path, overwrite) as temporary:
        temporary.write_bytes(proto.SerializeToString())


def _evaluating(model: Module) -> Module:
    """A copy in evaluation, which shares the model's tensors."""
    return copy.deepcopy(model, {id(value): value for _, value in model.named_tensors()}).eval()


def _written(recording: Recording, write: Writer, names: dict[int, str]) -> list[str]:
    """The names of the recording's outputs, once all that they need is written."""
    made = _makers(recording, names)
    for maker in _needed(recording, made):
        given = _given(maker)
        for value in given.values():
            if value.number not in names:
                names[value.number] = _weight(recording, write, value)
        inputs = {argument: names[value.number] for argument, value in given.items()}
        results = _translated(recording, write, maker, inputs)
        names.update(zip((value.number for value in maker.outputs), results, strict=False))
    return [
        names[value.number] if value.number in names else _weight(recording, write, value)
        for value in recording.outputs
    ]


def _makers(recording: Recording, inputs: dict[int, str]) -> dict[int, Op | Call]:
    """By the number of each value what is to be written for it."""
    made: dict[int, Op | Call] = {}
    for op in recording.ops:
        made.update({value.number: op for value in op.outputs})
    whole = [call for call in recording.calls if type(call.module) in LAYERS]
    for call in whole:  # an inner one returns first, and is replaced by what holds it
        passed_on = {value.number for value in call.inputs}
        for value in call.outputs:
            if value.number not in passed_on:
                made[value.number] = call
    return {number: maker for number, maker in made.items() if number not in inputs}


def _needed(recording: Recording, made: dict[int, Op | Call]) -> list[Op | Call]:
    """What the outputs need, in the order in which it ran: values are numbered as they are met."""
    wanted = {value.number for value in recording.outputs}
    found: dict[int, tuple[int, Op | Call]] = {}
    for number in sorted(made, reverse=True):
        maker = made[number]
        if number in wanted:
            wanted.update(value.number for value in _given(maker).values())
            found[id(maker)] = number, maker  # at last the least number of its outputs
    return [maker for _, maker in sorted(found.values(), key=lambda each: each[0])]


def _given(maker: Op | Call) -> dict[str, Value]:
    if isinstance(maker, Op):
        return maker.inputs
    return {str(place): value for place, value in enumerate(maker.inputs)}


def _translated(
    recording: Recording, write: Writer, maker: Op | Call, inputs: dict[str, str]
) -> tuple[str, ...]:
    if isinstance(maker, Call):
        names = LAYERS[type(maker.module)](write, maker, tuple(inputs.values()))
    elif maker.name in OPS:
        names = OPS[maker.name](write, maker, inputs)
    else:
        raise ExportError(
            f"{_called(recording, maker.layer)} can't be exported: there is no translation of its "
            f"op {maker.name}; add one of the layer with chainrule.export.translates"
        )
    return names if isinstance(names, tuple) else (names,)


def _weight(recording: Recording, write: Writer, value: Value) -> str:
    """The constant of this name; what has none and was made by nothing that is seen is refused."""
    if value.name:
        return write.tensor(value.name)
    returned = (call for call in recording.calls if value in call.outputs)
    read = (op.layer for op in recording.ops if value in op.inputs.values())
    maker = next(returned, None)
    where = next(read, "") if maker is None else maker.name
    raise ExportError(
        f"{_called(recording, where)} can't be exported: it makes a tensor of shape {value.shape} "
        "with functions of torch, which leave no record; add a translation of the layer with "
        "chainrule.export.translates"
    )


def _called(recording: Recording, name: str) -> str:
    """The class of the module of this name, and where it is."""
    module = next(call.module for call in reversed(recording.calls) if call.name == name)
    return type(module).__name__ + (f" ({name})" if name else "")


def _check_dtype(dtype: torch.dtype) -> None:
    if dtype.is_floating_point and dtype != torch.float32:
        raise ExportError(f"a model of {dtype} can't be exported; use .to(torch.float32) first")


def _check_names(what: str, names: Sequence[str], values: tuple[Value, ...]) -> None:
    if len(names) != len(values) or len({*names}) != len(names):
        raise ExportError(
            f"the model has {len(values)} {what}; name each once, got {', '.join(names)}"
        )


def _free_sizes(model: Module, recording: Recording) -> dict[tuple[int, int], str | None]:
    """Of inputs and outputs that are no images, the dimensions that are free, and their names.

    A size is free if the model takes it doubled as well, wherever the inputs have it. By the number
    of the value and the place; None is one that follows from the others.
    """
    places = [
        (value, place)
        for value in recording.inputs
        if len(value.shape) != 4
        for place in range(1, len(value.shape))
    ]
    free: dict[tuple[int, int], str | None] = {}
    for size in dict.fromkeys(value.shape[place] for value, place in places):
        chosen = {(v.number, place) for v, place in places if v.shape[place] == size}
        doubled = [_doubled(value, chosen) for value in recording.inputs]
        try:
            again = record(_evaluating(model), *doubled)
        except (TypeError, ValueError, RuntimeError, IndexError):
            continue
        name = "length" if not free else f"length_{len(free)}"
        free.update(dict.fromkeys(chosen, name))
        for value, other in zip(recording.outputs, again.outputs, strict=True):
            changed = zip(value.shape, other.shape, strict=True)
            for place, (one, two) in enumerate(changed):
                if one != two and (value.number, place) not in free:
                    free[value.number, place] = name if (one, two) == (size, 2 * size) else None
    return free


def _doubled(value: Value, chosen: set[tuple[int, int]]) -> Tensor:
    shape = [
        2 * size if (value.number, place) in chosen else size
        for place, size in enumerate(value.shape)
    ]
    return torch.empty(shape, dtype=value.dtype, device="meta")


def _declared(
    onnx: Any,
    name: str,
    value: Value,
    free: Mapping[tuple[int, int], str | None],
    inputs: tuple[Value, ...] = (),
) -> Any:
    """What the graph says of an input, or, given the inputs, of an output."""
    sizes: list[int | str | None] = ["batch", *value.shape[1:]] if value.shape else []
    for place in range(1, len(sizes)):
        sizes[place] = free.get((value.number, place), sizes[place])
    if len(value.shape) == 4:
        sizes[2:] = _IMAGE[2:]
        alike = any(each.shape[2:] == value.shape[2:] for each in inputs if len(each.shape) == 4)
        if inputs and not alike:
            sizes[2:] = [None, None]
    kind = onnx.helper.np_dtype_to_tensor_dtype(torch.empty(0, dtype=value.dtype).numpy().dtype)
    return onnx.helper.make_tensor_value_info(name, kind, sizes)

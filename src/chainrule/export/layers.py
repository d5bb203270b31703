"""How ONNX writes the layers that are more than the ops they call."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chainrule.export.graph import LAYERS, Writer, translates
from chainrule.graph import Add, Channels, Concatenate, Subtract
from chainrule.layers import (
    BatchNorm2d,
    Flatten,
    InstanceNorm2d,
    Multiply,
    RMSNorm,
    Unflatten,
)
from chainrule.layers.sample_normalization import GroupNorm, LayerNorm, LayerNorm2d
from chainrule.recording import Call

__all__ = ["LAYERS"]

Inputs = tuple[str, ...]


@translates(Add)
def add(write: Writer, call: Call, inputs: Inputs) -> str:
    return write.node("Sum", *inputs)


@translates(Subtract)
def subtract(write: Writer, call: Call, inputs: Inputs) -> str:
    return write.node("Sub", *inputs)


@translates(Multiply)
def multiply(write: Writer, call: Call, inputs: Inputs) -> str:
    return write.node("Mul", *inputs)


@translates(Concatenate)
def concatenate(write: Writer, call: Call, inputs: Inputs) -> str:
    return write.node("Concat", *inputs, axis=1)


@translates(Channels)
def channels(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, Channels)
    bounds = write.integers(module.start), write.integers(module.stop)
    return write.node("Slice", inputs[0], *bounds, write.integers(1))


@translates(Flatten)
def flatten(write: Writer, call: Call, inputs: Inputs) -> str:
    module, rank = call.module, len(call.inputs[0].shape)
    assert isinstance(module, Flatten)
    first, last = module.start_dim % rank, module.end_dim % rank
    return _reshaped(write, inputs[0], first, last + 1, (-1,), rank)


@translates(Unflatten)
def unflatten(write: Writer, call: Call, inputs: Inputs) -> str:
    module, rank = call.module, len(call.inputs[0].shape)
    assert isinstance(module, Unflatten)
    dim = module.dim % rank
    return _reshaped(write, inputs[0], dim, dim + 1, module.unflattened_size, rank)


def _reshaped(write: Writer, x: str, first: int, last: int, sizes: Sequence[int], rank: int) -> str:
    """x with the dimensions from first to before last replaced by `sizes`, whatever the others."""
    before = [write.node("Shape", x, end=first)] if first else []
    after = [write.node("Shape", x, start=last)] if last < rank else []
    shape = write.node("Concat", *before, write.integers(*sizes), *after, axis=0)
    return write.node("Reshape", x, shape)


@translates(BatchNorm2d)
def batch_norm(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, BatchNorm2d)
    if module.running_mean is None:
        y = _standardized(write, inputs[0], (0, 2, 3), module.eps)
        return _per_channel(write, call, y)
    return _by_running_statistics(write, call, inputs[0], module.num_features, module.eps)


def _by_running_statistics(write: Writer, call: Call, x: str, size: int, eps: float) -> str:
    weight, bias = _weight(write, call, "weight"), _weight(write, call, "bias")
    return write.node(
        "BatchNormalization",
        x,
        write.filled(weight, size, 1),
        write.filled(bias, size, 0),
        write.weight(call, "running_mean"),
        write.weight(call, "running_var"),
        epsilon=eps,
    )


@translates(InstanceNorm2d)
def instance_norm(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, InstanceNorm2d)
    assert module.eps is not None
    if module.running_mean is not None:
        return _by_running_statistics(write, call, inputs[0], module.num_features, module.eps)
    return _per_channel(write, call, _standardized(write, inputs[0], (2, 3), module.eps))


@translates(LayerNorm2d)
def layer_norm_2d(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, LayerNorm2d)
    assert module.eps is not None
    return _per_channel(write, call, _standardized(write, inputs[0], (1,), module.eps))


@translates(GroupNorm)
def group_norm(write: Writer, call: Call, inputs: Inputs) -> str:
    """Each group is normalized as one row of numbers, as the layer does."""
    module = call.module
    assert isinstance(module, GroupNorm)
    assert module.eps is not None
    rows = write.node("Reshape", inputs[0], write.integers(0, module.num_groups, -1))
    y = _standardized(write, rows, (2,), module.eps)
    y = write.node("Reshape", y, write.node("Shape", inputs[0]))
    return _per_channel(write, call, y)


@translates(LayerNorm)
def layer_norm(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, LayerNorm)
    assert module.eps is not None
    axes = tuple(range(-len(module.normalized_shape), 0))
    return _scaled(write, call, _standardized(write, inputs[0], axes, module.eps), 0)


@translates(RMSNorm)
def rms_norm(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, RMSNorm)
    eps = torch.finfo(call.inputs[0].dtype).eps if module.eps is None else module.eps
    axes = tuple(range(-len(module.normalized_shape), 0))
    return _scaled(write, call, _by_square(write, inputs[0], axes, eps), 0)


def _standardized(write: Writer, x: str, axes: tuple[int, ...], eps: float) -> str:
    """(x - mean) / sqrt(var + eps) over the axes."""
    mean = write.node("ReduceMean", x, write.integers(*axes))
    return _by_square(write, write.node("Sub", x, mean), axes, eps)


def _by_square(write: Writer, x: str, axes: tuple[int, ...], eps: float) -> str:
    """x / sqrt(mean(x^2) + eps) over the axes."""
    square = write.node("ReduceMean", write.node("Mul", x, x), write.integers(*axes))
    return write.node("Div", x, write.node("Sqrt", write.node("Add", square, write.number(eps))))


def _per_channel(write: Writer, call: Call, x: str) -> str:
    """weight * x + bias along dimension 1, where there are any."""
    return _scaled(write, call, x, len(call.inputs[0].shape) - 2)


def _scaled(write: Writer, call: Call, x: str, after: int) -> str:
    """weight * x + bias, whose dimensions are x's last but for `after` more."""
    for name, kind in (("weight", "Mul"), ("bias", "Add")):
        values = _weight(write, call, name)
        if values is not None:
            ones = write.integers(-1, *[1] * after)
            x = write.node(kind, x, write.node("Reshape", values, ones) if after else values)
    return x


def _weight(write: Writer, call: Call, name: str) -> str | None:
    return None if getattr(call.module, name) is None else write.weight(call, name)

"""How ONNX writes the layers of sequences and volumes: convolutions, recurrence, attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chainrule.export.graph import Writer, translates
from chainrule.export.layers import LAYERS
from chainrule.layers.attention import MultiHeadAttention
from chainrule.layers.convolution_nd import Conv1d, Conv3d, ConvTranspose1d
from chainrule.layers.recurrent import GRU, LSTM
from chainrule.recording import Call

__all__ = ["LAYERS"]

Inputs = tuple[str, ...]


# -- convolutions ---------------------------------------------------------------------------------


@translates(Conv1d, ConvTranspose1d)
def sequence_convolution(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, Conv1d | ConvTranspose1d)
    block, window = module.block, module.block.window
    added = {"output_padding": block.output_padding[1:]} if block.transposed else {}
    return write.node(
        "ConvTranspose" if block.transposed else "Conv",
        *_with_parameters(write, call, inputs[0]),
        kernel_shape=window.kernel[1:],
        strides=window.stride[1:],
        dilations=window.dilation[1:],
        pads=window.pads[2:],
        group=block.groups,
        **added,
    )


@translates(Conv3d)
def volume_convolution(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, Conv3d)
    depth, window = module.depth, module.block.window
    top, bottom, left, right = window.pads
    return write.node(
        "Conv",
        *_with_parameters(write, call, inputs[0]),
        kernel_shape=(depth.kernel, *window.kernel),
        strides=(depth.stride, *window.stride),
        dilations=(depth.dilation, *window.dilation),
        pads=(depth.before, top, left, depth.after, bottom, right),
        group=module.block.groups,
    )


def _with_parameters(write: Writer, call: Call, x: str) -> list[str]:
    bias = [] if vars(call.module)["bias"] is None else [write.weight(call, "bias")]
    return [x, write.weight(call, "weight"), *bias]


# -- recurrence -----------------------------------------------------------------------------------

_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}
"""Of our gates, i f g o and r z n, the one that ONNX has at each place: i o f g and z r n."""


@translates(LSTM, GRU)
def recurrence(write: Writer, call: Call, inputs: Inputs) -> str | Inputs:
    module = call.module
    assert isinstance(module, LSTM | GRU)
    x, *begun = inputs
    if module.batch_first:
        x = write.node("Transpose", x, perm=(1, 0, 2))
    directions = 2 if module.bidirectional else 1
    parts = [_parted(write, state, module.num_layers, directions) for state in begun]
    ended: list[list[str]] = [[] for _ in module.states]
    for layer in range(module.num_layers):
        weights = _layer_weights(write, call, layer)
        states = [part[layer] for part in parts]
        linear = {} if isinstance(module, LSTM) else {"linear_before_reset": 1}
        y, *after = write.nodes_of(
            type(module).__name__,
            1 + len(module.states),
            x,
            *weights,
            *(["", *states] if states else []),
            hidden_size=module.hidden_size,
            direction="bidirectional" if module.bidirectional else "forward",
            **linear,
        )
        y = write.node("Transpose", y, perm=(0, 2, 1, 3))  # (T, N, directions, H)
        x = write.node("Reshape", y, write.integers(0, 0, -1))
        for end, value in zip(ended, after, strict=True):
            end.append(value)
    if module.batch_first:
        x = write.node("Transpose", x, perm=(1, 0, 2))
    if not begun:
        return x
    return x, *(write.node("Concat", *each, axis=0) for each in ended)


def _parted(write: Writer, state: str, layers: int, directions: int) -> Inputs:
    """Of the state of all layers, (layers * directions, N, H), that of each."""
    if layers == 1:
        return (state,)
    sizes = write.integers(*[directions] * layers)
    return write.nodes_of("Split", layers, state, sizes, axis=0)


def _layer_weights(write: Writer, call: Call, layer: int) -> list[str]:
    """W, R and B, whose first dimension are the directions."""
    module = call.module
    assert isinstance(module, LSTM | GRU)
    ends = ["", "_reverse"] if module.bidirectional else [""]
    rows = np.arange(module.gates * module.hidden_size).reshape(module.gates, -1)
    order = write.array(rows[[*_ORDER[type(module).__name__]]].ravel())

    def gathered(kind: str) -> list[str]:
        names = [f"{kind}_l{layer}{end}" for end in ends]
        return [write.node("Gather", write.weight(call, name), order, axis=0) for name in names]

    def stacked(values: Sequence[str]) -> str:
        first = write.integers(0)
        return write.node("Concat", *(write.node("Unsqueeze", x, first) for x in values), axis=0)

    weights = [stacked(gathered("weight_ih")), stacked(gathered("weight_hh"))]
    if not module.bias:
        return [*weights, ""]
    both = zip(gathered("bias_ih"), gathered("bias_hh"), strict=True)
    return [*weights, stacked([write.node("Concat", *each, axis=0) for each in both])]


# -- attention ------------------------------------------------------------------------------------


@translates(MultiHeadAttention)
def attention(write: Writer, call: Call, inputs: Inputs) -> str:
    module = call.module
    assert isinstance(module, MultiHeadAttention)
    count = 1 if len(inputs) < 3 else 3
    padding, mask, *_ = (*inputs[count:], None, None)
    of_floats = mask is not None and call.inputs[-1].dtype.is_floating_point
    q, k, v = (_by_head(write, module, x) for x in _projected(write, call, inputs[:count]))
    size = module.out_proj.weight.shape[0] // module.num_heads
    q = write.node("Mul", q, write.number(size**-0.5))
    scores = write.node("MatMul", q, write.node("Transpose", k, perm=(0, 1, 3, 2)))
    if mask is not None:
        if len(call.inputs[-1].shape) == 3:
            sizes = write.node("Shape", mask, start=1)
            sizes = write.node("Concat", write.integers(-1, module.num_heads), sizes, axis=0)
            mask = write.node("Reshape", mask, sizes)
        scores = write.node("Add", scores, mask) if of_floats else _hidden(write, scores, mask)
    if padding is not None:
        everywhere = write.node("Unsqueeze", padding, write.integers(1, 2))
        scores = _hidden(write, scores, everywhere)
    if module.causal:
        scores = _hidden(write, scores, _later(write, scores))
    weights = write.node("Softmax", scores, axis=-1)
    if padding is not None or mask is not None:  # a query that sees nothing reads zeros
        most = write.node("ReduceMax", scores, write.integers(-1))
        nowhere = write.node("Equal", most, write.number(-np.inf))
        weights = write.node("Where", nowhere, write.number(0), weights)
    heads = write.node("Transpose", write.node("MatMul", weights, v), perm=(0, 2, 1, 3))
    joined = write.node("Reshape", heads, write.integers(0, 0, -1))
    place = f"{call.name}." if call.name else ""
    bias = None if module.out_proj.bias is None else write.tensor(f"{place}out_proj.bias")
    y = _product(write, joined, write.tensor(f"{place}out_proj.weight"), bias)
    return y if module.batch_first else write.node("Transpose", y, perm=(1, 0, 2))


def _projected(write: Writer, call: Call, inputs: Inputs) -> Sequence[str]:
    """q, k and v, batch first as the input is."""
    module = call.module
    assert isinstance(module, MultiHeadAttention)
    if not module.batch_first:
        inputs = tuple(write.node("Transpose", x, perm=(1, 0, 2)) for x in inputs)
    bias = None if module.in_proj_bias is None else write.weight(call, "in_proj_bias")
    if len(inputs) == 1:
        whole = _product(write, inputs[0], write.weight(call, "in_proj_weight"), bias)
        return write.nodes_of("Split", 3, whole, axis=-1, num_outputs=3)
    if module.in_proj_weight is not None:
        whole = write.weight(call, "in_proj_weight")
        weights = write.nodes_of("Split", 3, whole, axis=0, num_outputs=3)
    else:
        weights = tuple(write.weight(call, f"{each}_proj_weight") for each in "qkv")
    biases: Sequence[str | None] = (None,) * 3
    if bias is not None:
        biases = write.nodes_of("Split", 3, bias, axis=0, num_outputs=3)
    return [_product(write, *each) for each in zip(inputs, weights, biases, strict=True)]


def _product(write: Writer, x: str, weight: str, bias: str | None) -> str:
    y = write.node("MatMul", x, write.node("Transpose", weight, perm=(1, 0)))
    return y if bias is None else write.node("Add", y, bias)


def _by_head(write: Writer, module: MultiHeadAttention, x: str) -> str:
    """(N, L, E) -> (N, heads, L, d)."""
    parts = write.node("Reshape", x, write.integers(0, 0, module.num_heads, -1))
    return write.node("Transpose", parts, perm=(0, 2, 1, 3))


def _hidden(write: Writer, scores: str, hidden: str) -> str:
    return write.node("Where", hidden, write.number(-np.inf), scores)


def _later(write: Writer, scores: str) -> str:
    """True for keys after the query, (L, S)."""
    places: list[str] = []
    for axis in (2, 3):
        size = write.node("Squeeze", write.node("Shape", scores, start=axis, end=axis + 1))
        zero, one = write.array(np.array(0)), write.array(np.array(1))
        places.append(write.node("Range", zero, size, one))
    query = write.node("Unsqueeze", places[0], write.integers(1))
    return write.node("Greater", places[1], query)

"""How ONNX writes each op; a function an op, named as it is."""

from __future__ import annotations

import numpy as np

from chainrule.backends.block import Block, Epilogue
from chainrule.backends.record import Op
from chainrule.export.graph import OPS, OpTranslation, Writer
from chainrule.geometry import Pair, Window

Inputs = dict[str, str]


def _translation(function: OpTranslation) -> OpTranslation:
    OPS[function.__name__] = function
    return function


@_translation
def block(write: Writer, op: Op, inputs: Inputs) -> str:
    layers: Block = op.attributes["layers"]
    x = inputs["x"]
    if layers.scale != (1, 1):
        x = _resized(write, x, layers.scale, mode="nearest")
    given = [x, inputs["weight"], *([inputs["bias"]] if "bias" in inputs else [])]
    window = layers.window
    attributes = {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "dilations": window.dilation,
        "pads": _pads(window),
        "group": layers.groups,
    }
    if layers.transposed:
        attributes["output_padding"] = layers.output_padding
    y = write.node("ConvTranspose" if layers.transposed else "Conv", *given, **attributes)
    return _activated(write, y, layers.epilogue)


def _pads(window: Window) -> tuple[int, int, int, int]:
    """ONNX counts the beginnings of both axes first, then the ends."""
    top, bottom, left, right = window.pads
    return top, left, bottom, right


_ACTIVATIONS = {"relu": "Relu", "leaky_relu": "LeakyRelu", "sigmoid": "Sigmoid", "tanh": "Tanh"}


def _activated(write: Writer, x: str, epilogue: Epilogue) -> str:
    if not epilogue.activation:
        return x
    slope = epilogue.slope if epilogue.activation == "leaky_relu" else None
    return write.node(_ACTIVATIONS[epilogue.activation], x, alpha=slope)


@_translation
def activation(write: Writer, op: Op, inputs: Inputs) -> str:
    return _activated(write, inputs["x"], op.attributes["epilogue"])


@_translation
def gelu(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Gelu", inputs["x"], approximate=op.attributes["approximate"])


@_translation
def silu(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Mul", inputs["x"], write.node("Sigmoid", inputs["x"]))


@_translation
def elu(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Elu", inputs["x"], alpha=op.attributes["alpha"])


@_translation
def softplus(write: Writer, op: Op, inputs: Inputs) -> str:
    x, beta = inputs["x"], op.attributes["beta"]
    z = write.node("Mul", x, write.number(beta))
    y = write.node("Div", write.node("Softplus", z), write.number(beta))
    straight = write.node("Greater", z, write.number(op.attributes["threshold"]))
    return write.node("Where", straight, x, y)


@_translation
def softmax(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Softmax", inputs["x"], axis=op.attributes["dim"])


@_translation
def linear(write: Writer, op: Op, inputs: Inputs) -> str:
    weight = write.node("Transpose", inputs["weight"], perm=(1, 0))
    y = write.node("MatMul", inputs["x"], weight)
    return write.node("Add", y, inputs["bias"]) if "bias" in inputs else y


@_translation
def embedding(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Gather", inputs["weight"], inputs["index"], axis=0)


@_translation
def shift(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Add", inputs["x"], inputs["by"])


@_translation
def add(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Add", inputs["a"], inputs["b"])


@_translation
def concatenate(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("Concat", inputs["a"], inputs["b"], axis=1)


@_translation
def upsample_nearest2d(write: Writer, op: Op, inputs: Inputs) -> str:
    return _resized(write, inputs["x"], op.attributes["scale"], mode="nearest")


@_translation
def upsample_bilinear2d(write: Writer, op: Op, inputs: Inputs) -> str:
    where = "align_corners" if op.attributes["align_corners"] else "half_pixel"
    return _resized(write, inputs["x"], op.attributes["scale"], mode="linear", where=where)


def _resized(write: Writer, x: str, scale: Pair, mode: str, where: str = "asymmetric") -> str:
    factors = write.array(np.array((1, 1, *scale), np.float32))
    return write.node(
        "Resize",
        x,
        "",
        factors,
        mode=mode,
        coordinate_transformation_mode=where,
        nearest_mode="floor" if mode == "nearest" else None,
    )


@_translation
def max_pool2d(write: Writer, op: Op, inputs: Inputs) -> str:
    window: Window = op.attributes["window"]
    return write.node(
        "MaxPool",
        inputs["x"],
        kernel_shape=window.kernel,
        strides=window.stride,
        dilations=window.dilation,
        pads=_pads(window),
    )


@_translation
def avg_pool2d(write: Writer, op: Op, inputs: Inputs) -> str:
    window: Window = op.attributes["window"]
    return write.node(
        "AveragePool",
        inputs["x"],
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=_pads(window),
        count_include_pad=int(op.attributes["count_include_pad"]),
    )


_PADS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


@_translation
def pad2d(write: Writer, op: Op, inputs: Inputs) -> str:
    top, bottom, left, right = op.attributes["pads"]
    pads = write.integers(0, 0, top, left, 0, 0, bottom, right)
    return write.node("Pad", inputs["x"], pads, mode=_PADS[op.attributes["mode"]])


@_translation
def pixel_shuffle(write: Writer, op: Op, inputs: Inputs) -> str:
    return write.node("DepthToSpace", inputs["x"], blocksize=op.attributes["factor"], mode="CRD")


@_translation
def pixel_unshuffle(write: Writer, op: Op, inputs: Inputs) -> str:
    """SpaceToDepth puts a block's places before the channels, the op after them."""
    factor, channels = op.attributes["factor"], op.inputs["x"].shape[1]
    y = write.node("SpaceToDepth", inputs["x"], blocksize=factor)
    order = np.arange(factor**2 * channels).reshape(factor**2, channels).T.ravel()
    return write.node("Gather", y, write.array(order), axis=1)


@_translation
def adaptive_avg_pool2d(write: Writer, op: Op, inputs: Inputs) -> str:
    """y = A x B^T, as the reference has it: the windows follow from the image's size."""
    rows, columns = op.attributes["size"]
    if (rows, columns) == (1, 1):
        return write.node("GlobalAveragePool", inputs["x"])
    left = _shares(write, inputs["x"], 2, rows)
    right = write.node("Transpose", _shares(write, inputs["x"], 3, columns), perm=(1, 0))
    return write.node("MatMul", write.node("MatMul", left, inputs["x"]), right)


def _shares(write: Writer, x: str, axis: int, count: int) -> str:
    """(count, size): 1 / n at the n pixels of each window, 0 elsewhere."""
    size = write.node("Squeeze", write.node("Shape", x, start=axis, end=axis + 1))
    zero, one = write.array(np.array(0)), write.array(np.array(1))
    place = write.node("Range", zero, size, one)
    number = np.arange(count)[:, None]
    total = write.array(np.array(count))
    first = write.node("Div", write.node("Mul", write.array(number), size), total)
    beyond = write.node("Mul", write.array(number + 1), size)
    beyond = write.node("Add", beyond, write.array(np.array(count - 1)))  # rounds up
    last = write.node("Div", beyond, total)
    reached = write.node("GreaterOrEqual", place, first)
    covered = write.node("And", reached, write.node("Less", place, last))
    shares = write.node("CastLike", covered, x)
    counts = write.node("ReduceSum", shares, write.integers(1), keepdims=1)
    return write.node("Div", shares, counts)

"""ONNX graphs as networks: onnxruntime runs them, once nothing speaks against it.

A graph is a program, and could ask for any amount of time and memory. So it may hold only operators
of `_ALLOWED`, none of which loops, calls or reads files, and no data beside the file; and before it
runs, the shapes of all its values are worked out for a small image, and bounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chainrule import Module, Tape
from chainrule.serialization import one_line
from noise2noise.errors import UserError
from noise2noise.model_file import MOST_PARAMETERS
from noise2noise.model_info import ModelInfo
from noise2noise.networks import Needs

LARGEST_FILE = 2**30
"""Bytes: what MOST_PARAMETERS are in float32."""

MOST_NODES = 20_000

MOST_A_PIXEL = 2**13
"""Numbers that a value may hold for each pixel of the image: channels at full resolution."""

_SIDE = 64
_ALIVE = 4 * 3  # bytes of a number, and values as large as the largest that are alive at once
_MULTIPLE, _REACH = 16, 96
"""What is assumed of graphs that don't say it in their metadata, as ours do."""

_LARGEST_MULTIPLE, _LARGEST_REACH = 256, 1024

_NAMES = """
    Add And AveragePool BatchNormalization Cast CastLike Clip Concat Constant Conv ConvTranspose
    DepthToSpace Div Elu Equal Erf Exp Flatten Gather Gelu Gemm GlobalAveragePool Greater
    GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization
    LayerNormalization LeakyRelu Less LessOrEqual MatMul Max MaxPool Min Mul Neg Not Or PRelu
    Pad Pow ReduceMean ReduceSum Relu Reshape Resize Shape Sigmoid Slice Softmax Softplus
    SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh Transpose Unsqueeze Where
"""
_ALLOWED = frozenset(_NAMES.split())


class GraphNetwork(Module):
    """A graph as a network: inference only, on the CPU.

    Arguments:
        session: of onnxruntime.
        needs: what it asks of images. Of one that is told the noise the second input is what
            comes after the image's channels.
    """

    def __init__(self, session: Any, needs: Needs) -> None:
        self._session, self._needs = session, needs
        self._names = [each.name for each in session.get_inputs()]

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        channels = self._needs.channels
        parts = (x[:, :channels], x[:, channels:]) if self._needs.told else (x,)
        given = {
            name: part.contiguous().numpy() for name, part in zip(self._names, parts, strict=True)
        }
        try:
            (y,) = self._session.run(None, given)
        except Exception as error:  # those of onnxruntime have no class of their own
            raise UserError(f"onnxruntime failed: {one_line(str(error))}") from error
        if y.shape != tuple(parts[0].shape):
            raise UserError(f"the model turns {tuple(parts[0].shape)} into {y.shape}")
        return torch.from_numpy(y)


def read_graph(path: Path, name: str) -> tuple[Module, ModelInfo, Needs]:
    """The network in an ONNX file, what is known of it, and what it asks of images.

    Arguments:
        path: of the file: one input, of images (N, C, H, W), C 1 or 3; or a second one of the same
            shape, or with one channel, the standard deviation of the noise. The output has the
            shape of the images.
        name: what the info calls it.

    Raises:
        UserError: the file is damaged, too large, or holds anything else; onnx or onnxruntime isn't
            installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "ONNX models need the packages onnx and onnxruntime; install them with "
            "pip install 'noise2noise[export]'"
        ) from error
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(
            f"{path} has {path.stat().st_size} bytes, and at most {LARGEST_FILE} are read"
        )
    data = path.read_bytes()
    try:
        model = onnx.ModelProto.FromString(data)
        said = {each.key: each.value for each in model.metadata_props}
        needs = _needs(model.graph, said)
        count, most = _checked(onnx, model, needs)
        needs = needs._replace(memory=_ALIVE * most)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors, which are raised too
        session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
    except Exception as error:  # a damaged or hostile file can make the readers fail in any way
        raise UserError(f"{path} can't be used as a model: {one_line(str(error))}") from error
    info = ModelInfo(
        name,
        "onnx",
        {"channels": needs.channels},
        one_line(said.get("title", "")),
        one_line(said.get("noise", "")),
        count,
    )
    return GraphNetwork(session, needs), info, needs


def _needs(graph: Any, said: Mapping[str, str]) -> Needs:
    constants = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in constants]
    if len(inputs) not in (1, 2) or len(graph.output) != 1:
        raise ValueError(
            f"it has {len(inputs)} inputs and {len(graph.output)} outputs; an image goes in, and "
            "perhaps its noise, and an image comes out"
        )
    channels = [_channels(each) for each in inputs]
    if channels[0] not in (1, 3) or channels[-1] not in (1, channels[0]):
        raise ValueError(f"its inputs have {channels} channels; an image has 1 or 3")
    return Needs(
        channels[0],
        _number(said, "multiple", _MULTIPLE, 1, _LARGEST_MULTIPLE),
        _number(said, "reach", _REACH, 0, _LARGEST_REACH),
        told=len(inputs) == 2,
        shared=len(inputs) == 2 and channels[1] < channels[0],
    )


def _channels(given: Any) -> int:
    kind = given.type.tensor_type
    if kind.elem_type != 1 or len(kind.shape.dim) != 4:  # 1 is float32
        raise ValueError(f"its input {given.name!r} is not float32 of (N, C, H, W)")
    return kind.shape.dim[1].dim_value


def _number(said: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = said.get(name, str(usual))
    if not text.isdecimal() or len(text) > 6 or not least <= int(text) <= most:
        raise ValueError(f"its {name} is {text[:20]!r}, which must lie in {least} to {most}")
    return int(text)


def _checked(onnx: Any, model: Any, needs: Needs) -> tuple[int, float]:
    """How many numbers its weights are, and its largest value for each pixel, once nothing speaks
    against running it."""
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise ValueError("it holds more than a plain graph")
    if len(graph.node) > MOST_NODES:
        raise ValueError(f"it has {len(graph.node)} nodes, and at most {MOST_NODES} are taken")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in _ALLOWED:
            raise ValueError(f"its operator {node.domain}:{node.op_type} is not taken")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs or attribute.sparse_tensors:
                raise ValueError(f"its operator {node.op_type} holds a graph of its own")
            _check_inside(onnx, attribute.t)
    for tensor in graph.initializer:
        _check_inside(onnx, tensor)
    count = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    if count > MOST_PARAMETERS:
        raise ValueError(f"it has {count} weights, and at most {MOST_PARAMETERS} are taken")
    onnx.checker.check_model(model)
    return count, _largest(onnx, model, needs)


def _check_inside(onnx: Any, tensor: Any) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise ValueError(f"its tensor {tensor.name!r} lies in another file, which isn't read")


def _largest(onnx: Any, model: Any, needs: Needs) -> float:
    """Numbers a pixel of its largest value: the shapes for one small image are worked out, without
    computing a value."""
    side = -(-_SIDE // needs.multiple) * needs.multiple
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]  # what the file claims of its shapes
    constants = {each.name for each in fixed.graph.initializer}
    for given in fixed.graph.input:
        if given.name not in constants:
            dims = given.type.tensor_type.shape.dim
            for dim, size in zip(dims, (1, dims[1].dim_value, side, side), strict=True):
                dim.dim_value = size
    image = [1, needs.channels, side, side]
    fixed.graph.output[0].type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
    largest = 0
    known = {each.name: each for each in (*graph.value_info, *graph.output)}
    for node in graph.node:
        for name in filter(None, node.output):
            shape = _shape(known.get(name))
            if shape is None:
                raise ValueError(f"the size of what its operator {node.op_type} makes isn't known")
            largest = max(largest, math.prod(shape))
            if largest > MOST_A_PIXEL * side * side:
                raise ValueError(
                    f"its operator {node.op_type} makes {shape} of {side} x {side} pixels"
                )
    if _shape(graph.output[0]) != image:
        raise ValueError(f"its output is {_shape(graph.output[0])} where the image is {image}")
    return largest / side**2


def _shape(value: Any) -> list[int] | None:
    if value is None or not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value for dim in dims] if all(dim.dim_value > 0 for dim in dims) else None

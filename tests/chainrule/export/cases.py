"""Every layer, once or more, with a shape that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule import (
    ELU,
    GELU,
    GRU,
    LSTM,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    BatchNorm2d,
    BilinearUpsampling,
    Channels,
    Checkpoint,
    Concatenate,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    Dropout,
    Embedding,
    Flatten,
    Graph,
    GroupNorm,
    Identity,
    InstanceNorm2d,
    Inverse,
    LayerNorm,
    LayerNorm2d,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Module,
    MonotoneSpline,
    MultiHeadAttention,
    Multiply,
    NearestUpsampling,
    PiecewiseLinear,
    PixelShuffle,
    PixelUnshuffle,
    PositiveSpline,
    ReflectionPad2d,
    ReLU,
    ReplicationPad2d,
    Residual,
    RMSNorm,
    Sequential,
    Sigmoid,
    SiLU,
    SkipConcat,
    Softmax,
    Softplus,
    Subtract,
    Tanh,
    Unflatten,
    ZeroPad2d,
)

IMAGES = (2, 4, 12, 16)
"""Height and width may become any other multiple of 4."""


def joined() -> Module:
    nodes: dict[str, tuple[Any, ...]] = {
        "first": (Channels(0, 2), "x"),
        "second": (Conv2d(4, 2, 1), "x"),
        "sum": (Add(), "first", "second", "first"),
        "difference": (Subtract(), "sum", "second"),
        "gated": (Multiply(), "sum", "first"),
        "all": (Concatenate(), "gated", "difference", "x"),
    }
    return Graph("x", nodes)


Make = Callable[[], Module]

ON_IMAGES: list[tuple[str, Make]] = [
    ("Conv2d", lambda: Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), groups=2)),
    ("Conv2d same", lambda: Conv2d(4, 3, (2, 4), padding="same", dilation=(1, 2), bias=False)),
    (
        "ConvTranspose2d",
        lambda: ConvTranspose2d(4, 6, (4, 3), (2, 3), (1, 0), (1, 2), groups=2, dilation=(1, 2)),
    ),
    ("NearestUpsampling", lambda: NearestUpsampling((2, 3))),
    ("BilinearUpsampling", lambda: BilinearUpsampling((2, 3))),
    ("BilinearUpsampling corners", lambda: BilinearUpsampling((3, 2), align_corners=True)),
    ("AdaptiveAvgPool2d", lambda: AdaptiveAvgPool2d((5, 7))),
    ("AdaptiveAvgPool2d 1", lambda: AdaptiveAvgPool2d(1)),
    ("MaxPool2d", lambda: MaxPool2d((3, 2), 2, padding=(1, 0), dilation=(2, 1))),
    ("AvgPool2d", lambda: AvgPool2d(3, 2, padding=1)),
    ("AvgPool2d uncounted", lambda: AvgPool2d(3, 2, padding=1, count_include_pad=False)),
    ("ZeroPad2d", lambda: ZeroPad2d((1, 2, 3, 4))),
    ("ReflectionPad2d", lambda: ReflectionPad2d((1, 2, 3, 0))),
    ("ReplicationPad2d", lambda: ReplicationPad2d((1, 2, 3, 4))),
    ("PixelShuffle", lambda: PixelShuffle(2)),
    ("PixelUnshuffle", lambda: PixelUnshuffle(4)),
    ("ReLU", ReLU),
    ("LeakyReLU", lambda: LeakyReLU(0.3)),
    ("Sigmoid", Sigmoid),
    ("Tanh", Tanh),
    ("GELU", GELU),
    ("GELU tanh", lambda: GELU("tanh")),
    ("SiLU", SiLU),
    ("ELU", lambda: ELU(0.7)),
    ("Softplus", lambda: Softplus(2.0, threshold=1.0)),
    ("Softmax", lambda: Softmax(1)),
    ("Softmax last", lambda: Softmax(-1)),
    ("Dropout", lambda: Dropout(0.5)),
    ("Identity", Identity),
    ("BatchNorm2d", lambda: BatchNorm2d(4, eps=1e-2)),
    ("BatchNorm2d plain", lambda: BatchNorm2d(4, affine=False)),
    ("BatchNorm2d untracked", lambda: BatchNorm2d(4, track_running_stats=False)),
    ("InstanceNorm2d", lambda: InstanceNorm2d(4)),
    ("InstanceNorm2d affine", lambda: InstanceNorm2d(4, affine=True)),
    ("InstanceNorm2d tracked", lambda: InstanceNorm2d(4, track_running_stats=True)),
    ("LayerNorm2d", lambda: LayerNorm2d(4, eps=1e-2)),
    ("GroupNorm", lambda: GroupNorm(2, 4)),
    ("GroupNorm plain", lambda: GroupNorm(4, 4, affine=False)),
    ("Flatten", lambda: Flatten(1, 2)),
    ("Residual", lambda: Residual(Sequential(Conv2d(4, 4, 3, padding=1), ReLU()))),
    ("SkipConcat", lambda: SkipConcat(Sequential({"one": Conv2d(4, 3, 1), "two": ReLU()}))),
    ("Checkpoint", lambda: Checkpoint(Conv2d(4, 4, 3))),
    ("Graph", joined),
]

OTHERS: list[tuple[str, Make, tuple[int, ...]]] = [
    ("Linear", lambda: Linear(5, 3), (2, 5)),
    ("Linear of rows", lambda: Linear(5, 3, bias=False), (2, 4, 5)),
    ("Unflatten", lambda: Unflatten(1, (2, -1, 3)), (2, 12)),
    ("Flatten all", lambda: Flatten(0, -1), (2, 3, 4)),
    ("Flatten rest", lambda: Sequential(Flatten(), Linear(12, 2)), (2, 3, 4)),
    ("LayerNorm", lambda: LayerNorm((3, 4)), (2, 3, 4)),
    ("LayerNorm no bias", lambda: LayerNorm(4, eps=1e-2, bias=False), (2, 3, 4)),
    ("LayerNorm plain", lambda: LayerNorm(4, elementwise_affine=False), (2, 3, 4)),
    ("RMSNorm", lambda: RMSNorm(4), (2, 3, 4)),
    ("GroupNorm of vectors", lambda: GroupNorm(2, 4), (5, 4)),
]

SEQUENCES: list[tuple[str, Make, tuple[int, ...]]] = [
    ("Conv1d", lambda: Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (2, 4, 11)),
    ("Conv1d same", lambda: Conv1d(3, 2, 4, padding="same", bias=False), (2, 3, 9)),
    ("ConvTranspose1d", lambda: ConvTranspose1d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 7)),
    ("Conv3d", lambda: Conv3d(2, 4, (2, 3, 1), (1, 2, 1), (1, 0, 2), groups=2), (2, 2, 5, 9, 7)),
    ("Conv3d same", lambda: Conv3d(2, 3, (2, 3, 4), padding="same", dilation=2), (1, 2, 6, 7, 9)),
    ("LSTM", lambda: LSTM(3, 4), (5, 2, 3)),
    ("LSTM deep", lambda: LSTM(3, 4, 2, batch_first=True, bidirectional=True), (2, 5, 3)),
    ("LSTM no bias", lambda: LSTM(3, 4, bias=False), (5, 2, 3)),
    ("GRU", lambda: GRU(3, 4), (5, 2, 3)),
    ("GRU deep", lambda: GRU(3, 4, 3, bias=False, bidirectional=True), (5, 2, 3)),
    ("MultiHeadAttention", lambda: MultiHeadAttention(8, 2), (5, 2, 8)),
    ("MultiHeadAttention causal", lambda: attention(causal=True), (2, 5, 8)),
    ("MultiHeadAttention plain", lambda: attention(bias=False), (2, 5, 8)),
]
"""Their lengths, one of the dimensions after the first, may become any other."""


def attention(**options: Any) -> Module:
    return MultiHeadAttention(8, 2, batch_first=True, **options)


OF_INTEGERS: list[tuple[str, Make]] = [
    ("Embedding", lambda: Embedding(7, 3)),
    ("Embedding padded", lambda: Sequential(Embedding(7, 3, padding_idx=2), Linear(3, 2))),
]

NAMES = {name.partition(" ")[0] for name, *_ in (*ON_IMAGES, *OTHERS, *SEQUENCES, *OF_INTEGERS)}
NAMES |= {type(module).__name__ for _, module in joined().named_children()}


def spline(kind: Callable[..., Module]) -> Module:
    return kind(6, -2, 3)


SPLINES: list[tuple[str, Make]] = [
    ("PiecewiseLinear", lambda: spline(PiecewiseLinear)),
    ("PositiveSpline", lambda: spline(PositiveSpline)),
    ("MonotoneSpline", lambda: spline(MonotoneSpline)),
    ("MonotoneSpline of one piece", lambda: MonotoneSpline(2)),
    ("Inverse", lambda: Inverse(MonotoneSpline(6, -2, 3))),
    ("Inverse of one piece", lambda: Inverse(MonotoneSpline(2))),
]
"""ONNX has them; torch.nn refuses them in a sentence."""

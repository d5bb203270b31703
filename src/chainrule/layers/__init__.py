"""The layers, one file per family."""

from chainrule.layers.activation import (
    ELU,
    GELU,
    Dropout,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from chainrule.layers.attention import MultiHeadAttention, MultiheadAttention
from chainrule.layers.convolution import Conv2d, ConvTranspose2d, TransposeConv2d, Upsampling
from chainrule.layers.convolution_nd import Conv1d, Conv3d, ConvTranspose1d
from chainrule.layers.gate import Multiply
from chainrule.layers.linear import (
    Embedding,
    Linear,
)
from chainrule.layers.normalization import BatchNorm2d
from chainrule.layers.padding import (
    ReflectionPad2d,
    ReplicationPad2d,
    ZeroPad2d,
)
from chainrule.layers.recurrent import GRU, LSTM
from chainrule.layers.resampling import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BilinearUpsampling,
    MaxPool2d,
    NearestUpsampling,
)
from chainrule.layers.sample_normalization import (
    GroupNorm,
    InstanceNorm2d,
    LayerNorm,
    LayerNorm2d,
    RMSNorm,
)
from chainrule.layers.shape import (
    Flatten,
    PixelShuffle,
    PixelUnshuffle,
    Unflatten,
)
from chainrule.layers.spline import Inverse, MonotoneSpline, PiecewiseLinear, PositiveSpline

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "BilinearUpsampling",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Identity",
    "InstanceNorm2d",
    "Inverse",
    "LayerNorm",
    "LayerNorm2d",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "MonotoneSpline",
    "MultiHeadAttention",
    "MultiheadAttention",
    "Multiply",
    "NearestUpsampling",
    "PiecewiseLinear",
    "PixelShuffle",
    "PixelUnshuffle",
    "PositiveSpline",
    "RMSNorm",
    "ReLU",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "TransposeConv2d",
    "Unflatten",
    "Upsampling",
    "ZeroPad2d",
]

"""The layers, one file per family."""

from chainrule.layers.activation import Identity, LeakyReLU, ReLU, Sigmoid, Tanh
from chainrule.layers.convolution import Conv2d, ConvTranspose2d, TransposeConv2d, Upsampling
from chainrule.layers.normalization import BatchNorm2d
from chainrule.layers.resampling import AvgPool2d, MaxPool2d, NearestUpsampling

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Identity",
    "LeakyReLU",
    "MaxPool2d",
    "NearestUpsampling",
    "ReLU",
    "Sigmoid",
    "Tanh",
    "TransposeConv2d",
    "Upsampling",
]

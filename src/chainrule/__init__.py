"""A deep learning framework on `torch.Tensor` in which every backward pass is written by hand.

Start with `chainrule.module` (the engine), then any file of `chainrule.layers`.
"""

from chainrule.averaging import Average
from chainrule.backends import backend, empty_cache, use_backend, winograd
from chainrule.containers import Residual, Sequential, SkipConcat
from chainrule.fusion import FusedConvolution, fuse
from chainrule.gradcheck import GradientError, gradcheck, gradcheck_direction
from chainrule.layers import (
    ELU,
    GELU,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Embedding,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    NearestUpsampling,
    PixelShuffle,
    PixelUnshuffle,
    ReflectionPad2d,
    ReLU,
    ReplicationPad2d,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    TransposeConv2d,
    Unflatten,
    Upsampling,
    ZeroPad2d,
)
from chainrule.losses import L1, MSE, LogMSE, MSELoss
from chainrule.module import Module, StateDictError, Tape, TapeError, accumulate, parameter
from chainrule.optimizers import SGD, Adam, AdamW, clip_gradients
from chainrule.recording import record
from chainrule.schedules import constant, cosine, linear_ramp_down, step_decay, warmup
from chainrule.serialization import load, save
from chainrule.summary import summary

__all__ = [
    "ELU",
    "GELU",
    "L1",
    "MSE",
    "SGD",
    "Adam",
    "AdamW",
    "Average",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "FusedConvolution",
    "GradientError",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogMSE",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "NearestUpsampling",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReLU",
    "ReflectionPad2d",
    "ReplicationPad2d",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SkipConcat",
    "Softmax",
    "Softplus",
    "StateDictError",
    "Tanh",
    "Tape",
    "TapeError",
    "TransposeConv2d",
    "Unflatten",
    "Upsampling",
    "ZeroPad2d",
    "accumulate",
    "backend",
    "clip_gradients",
    "constant",
    "cosine",
    "empty_cache",
    "fuse",
    "gradcheck",
    "gradcheck_direction",
    "linear_ramp_down",
    "load",
    "parameter",
    "record",
    "save",
    "step_decay",
    "summary",
    "use_backend",
    "warmup",
    "winograd",
]

"""The native backend: float32 on the CPU, by the compiled kernels of `chainrule._native`.

The functions are those of the reference, with the same arguments. Results are in PyTorch's
channels_last layout, (N, C, H, W) in shape and (N, H, W, C) in memory; inputs may have any strides.
What has no kernel of its own runs the reference. How the kernels work: docs/kernels.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule import _native as kernels
from chainrule.ops.geometry import Block, Pair, Window, image_size
from chainrule.ops.reference import (
    absolute_error,
    absolute_error_grad,
    affine,
    affine_grad,
    avg_pool2d,
    avg_pool2d_grad,
    bias_grad,
    channel_statistics,
    concatenate,
    leaky_relu,
    leaky_relu_grad,
    max_pool2d,
    max_pool2d_grad,
    normalize,
    normalize_fixed_grad,
    normalize_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    squared_error,
    squared_error_grad,
    tanh,
    tanh_grad,
    upsample_nearest2d,
    upsample_nearest2d_grad,
)

__all__ = [
    "absolute_error",
    "absolute_error_grad",
    "affine",
    "affine_grad",
    "avg_pool2d",
    "avg_pool2d_grad",
    "bias_grad",
    "block",
    "block_input_grad",
    "block_parameter_grads",
    "channel_statistics",
    "concatenate",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "conv_transpose2d",
    "leaky_relu",
    "leaky_relu_grad",
    "max_pool2d",
    "max_pool2d_grad",
    "normalize",
    "normalize_fixed_grad",
    "normalize_grad",
    "relu",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "squared_error",
    "squared_error_grad",
    "tanh",
    "tanh_grad",
    "upsample_nearest2d",
    "upsample_nearest2d_grad",
]

winograd = True
"""Whether 3x3 convolutions may use Winograd's F(4x4, 3x3); see docs/kernels.md for its rounding."""

FEW_CHANNELS = 8
"""Below this many channels of the output, its gradient is what the weight's gradient gathers."""

_ACTIVATIONS = {"": 0, "relu": 1, "leaky_relu": 2, "sigmoid": 3}


# -- convolution ----------------------------------------------------------------------------------


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, groups: int) -> Tensor:
    return block(x, weight, bias, window.output_size(image_size(x)), Block(window, groups))


def conv2d_input_grad(
    gy: Tensor, weight: Tensor, input_size: Pair, window: Window, groups: int
) -> Tensor:
    return block_input_grad(gy, gy, weight, input_size, Block(window, groups))


def conv2d_weight_grad(x: Tensor, gy: Tensor, window: Window, groups: int) -> Tensor:
    return block_parameter_grads(x, gy, gy, Block(window, groups))[0]


def conv_transpose2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, window: Window, groups: int
) -> Tensor:
    return block(x, weight, bias, size, Block(window, groups, transposed=True))


# -- a convolution with what stands before and after it -------------------------------------------


def block(x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, layers: Block) -> Tensor:
    channels = weight.shape[1] * layers.groups if layers.transposed else weight.shape[0]
    y = _empty(x.shape[0], channels, size)
    kernels.gather(
        _plain(x),
        _image(weight),
        layers.groups,
        0 if bias is None else bias.contiguous().data_ptr(),
        _ACTIVATIONS[layers.activation],
        layers.slope,
        _image(y),
        _geometry(layers),
        layers.transposed,
        winograd,
        torch.get_num_threads(),
    )
    return y


def block_input_grad(
    gy: Tensor, y: Tensor, weight: Tensor, input_size: Pair, layers: Block
) -> Tensor:
    channels = weight.shape[0] if layers.transposed else weight.shape[1] * layers.groups
    gx = _empty(gy.shape[0], channels, input_size)
    kernels.gather(
        _before_activation(gy, y, layers),
        _image(weight),
        layers.groups,
        0,
        0,
        0.0,
        _image(gx),
        _geometry(layers),
        not layers.transposed,
        winograd,
        torch.get_num_threads(),
    )
    return gx


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    groups, kernel = layers.groups, layers.window.kernel
    large, small = (gy, x) if layers.transposed else (x, gy)  # of the convolution's two sides
    gweight = torch.empty(small.shape[1], large.shape[1] // groups, *kernel)
    gbias = torch.empty(gy.shape[1])
    gathered, other = _plain(x), _before_activation(gy, y, layers)
    backward = not layers.transposed and _gathers_gradient(x, gy, layers)
    if layers.transposed or backward:
        gathered, other = other, gathered
        sums = (gbias.data_ptr(), 0)
    else:
        sums = (0, gbias.data_ptr())
    kernels.correlate(
        gathered,
        other,
        _image(gweight),
        groups,
        *sums,
        _geometry(layers),
        backward,
        winograd,
        torch.get_num_threads(),
    )
    return gweight, gbias


def _gathers_gradient(x: Tensor, gy: Tensor, layers: Block) -> bool:
    """Whether the weight's gradient is faster with the parts of x and gy exchanged.

    The channels of one of them fill vectors: not the three of an image that a network returns.
    """
    few = gy.shape[1] < FEW_CHANNELS <= x.shape[1]
    return few and layers.groups == 1 and layers.window.stride == (1, 1)


# -- what the kernels read ------------------------------------------------------------------------


def _empty(n: int, channels: int, size: Pair) -> Tensor:
    return torch.empty(n, channels, *size, dtype=torch.float32, memory_format=torch.channels_last)


def _image(x: Tensor) -> tuple[int, ...]:
    """Address, sizes and strides."""
    return (x.data_ptr(), *x.shape, *x.stride())


def _plain(x: Tensor) -> tuple[object, ...]:
    """x itself, with no activation's gradient to apply."""
    return (_image(x), (), 0, 0.0)


def _before_activation(gy: Tensor, y: Tensor, layers: Block) -> tuple[object, ...]:
    """dL/dz where y = activation(z), computed while it is read."""
    if not layers.activation:
        return _plain(gy)
    return (_image(gy), _image(y), _ACTIVATIONS[layers.activation], layers.slope)


def _geometry(layers: Block) -> tuple[int, ...]:
    window = layers.window
    return (*window.kernel, *window.stride, *window.dilation, *window.padding, *layers.scale)

"""Convolutions, with what is merged into them: docs/kernels.md."""

from __future__ import annotations

from torch import Tensor

import chainrule._native as kernels
from chainrule.backends import reference
from chainrule.backends.block import Block
from chainrule.backends.native.memory import before_activation, empty, identity, nonlinearity
from chainrule.backends.settings import threads, winograd
from chainrule.geometry import Pair


def block(x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, layers: Block) -> Tensor:
    activation = nonlinearity(layers.epilogue)
    if activation is None:
        return reference.block(x, weight, bias, size, layers)
    channels = weight.shape[1] * layers.groups if layers.transposed else weight.shape[0]
    y = empty(x.shape[0], channels, size)
    bias = None if bias is None else bias.resolve_neg().contiguous()
    kernels.gather(
        kernels.Source(x),
        kernels.Image(weight),
        layers.groups,
        0 if bias is None else bias.data_ptr(),
        activation,
        kernels.Image(y),
        _geometry(layers),
        layers.transposed,
        winograd(),
        threads(),
    )
    return y


def block_input_grad(
    gy: Tensor, y: Tensor, weight: Tensor, input_size: Pair, layers: Block
) -> Tensor:
    gz = before_activation(gy, y, layers.epilogue)
    if gz is None:
        return reference.block_input_grad(gy, y, weight, input_size, layers)
    channels = weight.shape[0] if layers.transposed else weight.shape[1] * layers.groups
    gx = empty(gy.shape[0], channels, input_size)
    kernels.gather(
        gz,
        kernels.Image(weight),
        layers.groups,
        0,
        identity(),
        kernels.Image(gx),
        _geometry(layers),
        not layers.transposed,
        winograd(),
        threads(),
    )
    return gx


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    gz = before_activation(gy, y, layers.epilogue)
    if gz is None:
        return reference.block_parameter_grads(x, gy, y, layers)
    groups, kernel = layers.groups, layers.window.kernel
    large, small = (gy, x) if layers.transposed else (x, gy)  # of the convolution's two sides
    gweight = x.new_empty(small.shape[1], large.shape[1] // groups, *kernel)
    gbias = x.new_empty(gy.shape[1])
    sides = (kernels.Source(x), gz)
    sums = (0, gbias.data_ptr())
    kernels.correlate(
        sides[layers.transposed],
        sides[not layers.transposed],
        kernels.Image(gweight),
        groups,
        sums[layers.transposed],
        sums[not layers.transposed],
        _geometry(layers),
        winograd(),
        threads(),
    )
    return gweight, gbias


def _geometry(layers: Block) -> kernels.Geometry:
    window = layers.window
    return kernels.Geometry(
        window.kernel, window.stride, window.dilation, window.padding, layers.scale
    )

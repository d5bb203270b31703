"""Convolution, plain and transposed, with what stands before and after it.

`block` and its gradients do all the work; the others say it in PyTorch's terms.
"""

from __future__ import annotations

from torch import Tensor

from chainrule.backends import on
from chainrule.backends.block import ACTIVATIONS, Block
from chainrule.geometry import IntOrPair, Padding, Pair, Window, image_size, pair, window
from chainrule.ops.checks import (
    GRADIENT,
    check_alike,
    check_bias,
    check_channels,
    check_filters,
    check_fits,
    check_gradient,
    check_images,
    check_output,
    check_pair,
    check_transposed,
    shape,
)


def block(x: Tensor, weight: Tensor, bias: Tensor | None, layers: Block) -> Tensor:
    """[Nearest upsampling,] convolution [and activation] in one, (N, O, Ho, Wo).

    Raises:
        TypeError, ValueError: shapes, dtypes or arguments that don't fit, with the values met;
            upsampling before anything but a convolution of stride 1 and dilation 1.
    """
    name = _name(layers)
    check_images(name, "input", x)
    inputs, outputs = _channels(name, weight, layers)
    check_channels(name, x, inputs, weight)
    check_alike(name, x, weight=weight, bias=bias)
    check_bias(name, bias, outputs)
    size = layers.output_size(image_size(x))
    if layers.transposed:
        check_transposed(name, x, layers, size)
    elif min(size) < 1:
        check_fits(name, x, layers.window, layers.scale)
    return on(x).block(x, weight, bias, size, layers)


def block_input_grad(
    gy: Tensor, y: Tensor, weight: Tensor, input_size: Pair, layers: Block
) -> Tensor:
    """dL/dx of `block`, (N, C, H, W) with (H, W) = input_size, from gy = dL/dy and its output y.

    Without an activation y is not read; give gy instead.

    Raises:
        TypeError, ValueError: gy or y is not of the output's shape or dtype.
    """
    name = _name(layers)
    outputs = _channels(name, weight, layers)[1]
    check_gradient(name, gy, (gy.shape[0], outputs, *layers.output_size(input_size)))
    check_output(name, gy, y)
    check_alike(name, gy, GRADIENT, weight=weight)
    return on(gy).block_input_grad(gy, y, weight, input_size, layers)


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    """dL/dweight and dL/dbias of `block`, from its input x, gy = dL/dy and its output y.

    Together, because both are sums over gy. Without an activation y is not read; give gy instead.

    Raises:
        TypeError, ValueError: gy or y is not of the output's shape or dtype.
    """
    name = _name(layers)
    check_gradient(name, gy, (x.shape[0], gy.shape[1], *layers.output_size(image_size(x))))
    check_output(name, gy, y)
    check_pair(name, x, gy, layers.groups)
    return on(gy).block_parameter_grads(x, gy, y, layers)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation of x (N, C, H, W) with weight (O, C/groups, kh, kw): (N, O, Ho, Wo).

    y[n,o,i,j] = b[o] + sum_{c,u,v} w[o,c,u,v] x[n,c, i*stride + u*dilation - padding, ...]

    Raises:
        TypeError, ValueError: shapes, dtypes or arguments that don't fit, with the values met.
    """
    check_filters("Conv2d", weight, groups)
    return block(x, weight, bias, Block(_sliding(weight, stride, padding, dilation), groups))


def conv2d_input_grad(
    gy: Tensor,
    weight: Tensor,
    input_size: Pair,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """dL/dx of `conv2d`, (N, C, H, W) with (H, W) = input_size, from gy = dL/dy (N, O, Ho, Wo).

    Raises:
        ValueError: gy is not of y's shape.
    """
    check_filters("Conv2d", weight, groups)
    layers = Block(_sliding(weight, stride, padding, dilation), groups)
    return block_input_grad(gy, gy, weight, input_size, layers)


def conv2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    kernel_size: Pair,
    stride: IntOrPair = 1,
    padding: Padding = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """dL/dweight of `conv2d`, (O, C/groups, kh, kw), from x and gy = dL/dy.

    Raises:
        ValueError: gy is not of y's shape.
    """
    layers = Block(window(kernel_size, stride, padding, dilation), groups)
    return block_parameter_grads(x, gy, gy, layers)[0]


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Transposed convolution: `conv2d_input_grad` used forward.

    x (N, C, H, W) with weight (C, O/groups, kh, kw) gives (N, O, Ho, Wo) where
    Ho = (H - 1) * stride - 2 * padding + dilation * (kh - 1) + output_padding + 1.

    Raises:
        TypeError, ValueError: shapes, dtypes or arguments that don't fit, with the values met.
    """
    check_filters("ConvTranspose2d", weight, groups)
    sliding = _sliding(weight, stride, padding, dilation)
    return block(x, weight, bias, _transposed(sliding, output_padding, groups))


def conv_transpose2d_input_grad(
    gy: Tensor,
    weight: Tensor,
    input_size: Pair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """dL/dx of `conv_transpose2d`: a plain convolution of gy (N, O, Ho, Wo) with the same weight.

    Raises:
        ValueError: gy is not of y's shape.
    """
    check_filters("ConvTranspose2d", weight, groups)
    layers = _transposed(_sliding(weight, stride, padding, dilation), output_padding, groups)
    return block_input_grad(gy, gy, weight, input_size, layers)


def conv_transpose2d_weight_grad(
    x: Tensor,
    gy: Tensor,
    kernel_size: Pair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """dL/dweight of `conv_transpose2d`: `conv2d_weight_grad` with x and gy in each other's place.

    Raises:
        ValueError: gy is not of y's shape.
    """
    layers = _transposed(window(kernel_size, stride, padding, dilation), output_padding, groups)
    return block_parameter_grads(x, gy, gy, layers)[0]


def _sliding(weight: Tensor, stride: IntOrPair, padding: Padding, dilation: IntOrPair) -> Window:
    return window(image_size(weight), stride, padding, dilation)


def _transposed(sliding: Window, output_padding: IntOrPair, groups: int) -> Block:
    return Block(sliding, groups, True, pair("output_padding", output_padding, 0))


def _name(layers: Block) -> str:
    return "ConvTranspose2d" if layers.transposed else "Conv2d"


def _channels(name: str, weight: Tensor, layers: Block) -> tuple[int, int]:
    """Channels in and out, of a weight that fits."""
    check_filters(name, weight, layers.groups)
    if layers.epilogue.activation not in ACTIVATIONS:
        names = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(
            f"{name}: the activation must be one of {names}, got {layers.epilogue.activation!r}"
        )
    kernel, plain = layers.window.kernel, layers.window.stride == layers.window.dilation == (1, 1)
    if image_size(weight) != kernel:
        raise ValueError(f"{name}: expected a kernel of {kernel}, the weight is {shape(weight)}")
    if layers.scale != (1, 1) and (layers.transposed or not plain):
        raise ValueError(
            f"{name}: upsampling by {layers.scale} goes before a convolution of stride 1 and "
            f"dilation 1, got {layers.window}"
        )
    first, second = weight.shape[0], weight.shape[1] * layers.groups
    return (first, second) if layers.transposed else (second, first)

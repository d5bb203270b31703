"""Convolution and transposed convolution: the layers with weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Size, Tensor

from chainrule import ops
from chainrule.initializers import initialize
from chainrule.module import Module, Tape, parameter
from chainrule.ops.geometry import Block, IntOrPair, Padding, image_size, pair, window


class Conv2d(Module):
    """2D convolution (cross-correlation, as everywhere in deep learning).

    y[n,o,i,j] = bias[o] + sum_{c,u,v} weight[o,c,u,v] x[n,c, i*stride + u*dilation - padding, ...]

    Gradients: docs/gradients.md#convolution.

    Args:
        in_channels: C, channels of the input.
        out_channels: O, channels of the output.
        kernel_size: int or (vertical, horizontal), like the next three.
        stride: steps between windows.
        padding: zeros added on every side; "same" keeps the image's size (stride 1 only).
        dilation: steps between the elements of a window.
        groups: the channels are split into this many convolutions side by side.
        bias: whether there is a bias.
        weight_init: "normal", "xavier" or "kaiming"; see `chainrule.initializers`.

    Shapes:
        x (N, C, H, W) to y (N, O, Ho, Wo),
        Ho = floor((H + 2 * padding - dilation * (kh - 1) - 1) / stride) + 1.

    Attributes:
        weight: (O, C / groups, kh, kw).
        bias: (O,), or None.

    Raises:
        TypeError, ValueError: arguments out of range, or an input that doesn't fit.

    Example:
        >>> Conv2d(3, 48, 3, stride=2, padding=1)(torch.zeros(16, 3, 32, 32)).shape
        torch.Size([16, 48, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: Padding = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        weight_init: str = "normal",
    ) -> None:
        _check_channels("Conv2d", in_channels, out_channels, groups)
        sliding = window(kernel_size, stride, padding, dilation)
        weight = torch.empty(out_channels, in_channels // groups, *sliding.kernel)
        self.weight = parameter(initialize(weight, weight_init))
        self.bias = parameter(self.weight.new_zeros(out_channels)) if bias else None
        self.stride, self.dilation, self.groups = sliding.stride, sliding.dilation, groups
        self.padding: Padding = padding if isinstance(padding, str) else sliding.padding

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.conv2d(x, self.weight, self.bias, **self._options())
        tape.push(self, x)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (x,) = tape.take(self)
        gweight, gbias = ops.block_parameter_grads(x, gy, gy, self.block())
        tape.add(self.weight, gweight)
        if self.bias is not None:
            tape.add(self.bias, gbias)
        if not tape.wants_gradient(x):
            return None
        return ops.conv2d_input_grad(gy, self.weight, image_size(x), **self._options())

    def block(self) -> Block:
        """The layer without its parameters, for the ops that compute several things at once."""
        sliding = window(image_size(self.weight), self.stride, self.padding, self.dilation)
        return Block(sliding, self.groups)

    def multiply_adds(self, x_shape: Size, y_shape: Size) -> int:
        return y_shape.numel() * self.weight[0].numel()

    def arguments(self) -> str:
        outputs, inputs = self.weight.shape[0], self.weight.shape[1] * self.groups
        return _arguments(self, inputs, outputs)

    def _options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }


class ConvTranspose2d(Module):
    """Transposed 2D convolution: the input gradient of a convolution, used forward to enlarge.

    Every input pixel adds its value times the kernel to the output, at steps of `stride`. Also
    named `TransposeConv2d` and `Upsampling`, as two of the course's reports call it.

    Gradients: docs/gradients.md#transposed-convolution.

    Args:
        in_channels: C, channels of the input.
        out_channels: O, channels of the output.
        kernel_size: int or (vertical, horizontal), like the next four.
        stride: steps between the places where the kernel is added.
        padding: rows and columns cut off on every side of the output.
        output_padding: rows and columns that are added below and right, so that the size that a
            strided convolution rounded down can be met again; smaller than stride or dilation.
        groups: the channels are split into this many transposed convolutions side by side.
        bias: whether there is a bias.
        dilation: steps between the elements of the kernel.
        weight_init: "normal", "xavier" or "kaiming"; see `chainrule.initializers`.

    Shapes:
        x (N, C, H, W) to y (N, O, Ho, Wo),
        Ho = (H - 1) * stride - 2 * padding + dilation * (kh - 1) + output_padding + 1.

    Attributes:
        weight: (C, O / groups, kh, kw).
        bias: (O,), or None.

    Raises:
        TypeError, ValueError: arguments out of range, or an input that doesn't fit.

    Example:
        >>> up = ConvTranspose2d(48, 3, 3, stride=2, padding=1, output_padding=1)
        >>> up(torch.zeros(16, 48, 16, 16)).shape
        torch.Size([16, 3, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        output_padding: IntOrPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrPair = 1,
        *,
        weight_init: str = "normal",
    ) -> None:
        _check_channels("ConvTranspose2d", in_channels, out_channels, groups)
        sliding = window(kernel_size, stride, pair("padding", padding, 0), dilation)
        weight = torch.empty(in_channels, out_channels // groups, *sliding.kernel)
        self.weight = parameter(initialize(weight, weight_init))
        self.bias = parameter(self.weight.new_zeros(out_channels)) if bias else None
        self.stride, self.dilation, self.groups = sliding.stride, sliding.dilation, groups
        self.padding = sliding.padding
        self.output_padding = pair("output_padding", output_padding, 0)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.conv_transpose2d(x, self.weight, self.bias, **self._options())
        tape.push(self, x)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (x,) = tape.take(self)
        gweight, gbias = ops.block_parameter_grads(x, gy, gy, self.block())
        tape.add(self.weight, gweight)
        if self.bias is not None:
            tape.add(self.bias, gbias)
        if not tape.wants_gradient(x):
            return None
        return ops.conv_transpose2d_input_grad(gy, self.weight, image_size(x), **self._options())

    def block(self) -> Block:
        """See `Conv2d.block`."""
        sliding = window(image_size(self.weight), self.stride, self.padding, self.dilation)
        return Block(sliding, self.groups, True, self.output_padding)

    def multiply_adds(self, x_shape: Size, y_shape: Size) -> int:
        return x_shape.numel() * self.weight[0].numel()

    def arguments(self) -> str:
        inputs, outputs = self.weight.shape[0], self.weight.shape[1] * self.groups
        extra = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return _arguments(self, inputs, outputs) + extra

    def _options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "groups": self.groups,
            "dilation": self.dilation,
        }


TransposeConv2d = ConvTranspose2d
Upsampling = ConvTranspose2d


def _check_channels(name: str, in_channels: int, out_channels: int, groups: int) -> None:
    for what, value in (
        ("in_channels", in_channels),
        ("out_channels", out_channels),
        ("groups", groups),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: {what} must be a positive int, got {value!r}")
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide in_channels={in_channels} "
            f"and out_channels={out_channels}"
        )


def _arguments(layer: Conv2d | ConvTranspose2d, inputs: int, outputs: int) -> str:
    parts = [f"{inputs}, {outputs}, kernel_size={image_size(layer.weight)}"]
    defaults = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    parts += [
        f"{name}={getattr(layer, name)!r}"
        for name, default in defaults.items()
        if getattr(layer, name) != default
    ]
    return ", ".join(parts if layer.bias is not None else [*parts, "bias=False"])

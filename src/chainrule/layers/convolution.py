"""Convolution and transposed convolution: the layers with weights."""

from __future__ import annotations

import torch
from torch import Tensor

from chainrule import ops
from chainrule.geometry import IntOrPair, Padding, Pair, image_size, pair, window
from chainrule.initializers import initial_bias, initialize
from chainrule.layers.arguments import check_positive
from chainrule.module import Module, Tape, parameter


class Convolution(Module):
    """What `Conv2d` and `ConvTranspose2d` share: y = block(x, weight, bias).

    Attributes:
        weight, bias: learned; the bias may be None.
        block: all that is said about the convolution but for these two.
    """

    weight: Tensor
    bias: Tensor | None
    block: ops.Block

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.block(x, self.weight, self.bias, self.block)
        tape.push(self, x)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (x,) = tape.take(self)
        return self.gradients(x, gy, gy, self.block, tape)

    def gradients(
        self, x: Tensor, gy: Tensor, y: Tensor, block: ops.Block, tape: Tape
    ) -> Tensor | None:
        """Add up the parameters' gradients of y = block(x, weight, bias); returns dL/dx if wanted.

        Without an activation y is not read; give gy instead.
        """
        if not self.frozen:
            gweight, gbias = ops.block_parameter_grads(x, gy, y, block)
            tape.add(self.weight, gweight)
            if self.bias is not None:
                tape.add(self.bias, gbias)
        if not tape.wants_gradient(x):
            return None
        return ops.block_input_grad(gy, y, self.weight, image_size(x), block)

    @property
    def stride(self) -> Pair:
        return self.block.window.stride

    @property
    def dilation(self) -> Pair:
        return self.block.window.dilation

    @property
    def groups(self) -> int:
        return self.block.groups

    def arguments(self) -> str:
        first, second = self.weight.shape[0], self.weight.shape[1] * self.groups
        channels = (first, second) if self.block.transposed else (second, first)
        shown = [f"{channels[0]}, {channels[1]}, kernel_size={image_size(self.weight)}"]
        defaults = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        shown += [
            f"{name}={getattr(self, name)!r}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        return ", ".join(shown if self.bias is not None else [*shown, "bias=False"])


class Conv2d(Convolution):
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
        self.bias = (
            parameter(initial_bias(self.weight, out_channels, weight_init)) if bias else None
        )
        self.padding: Padding = padding if isinstance(padding, str) else sliding.padding
        self.block = ops.Block(sliding, groups)


class ConvTranspose2d(Convolution):
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
        self.bias = (
            parameter(initial_bias(self.weight, out_channels, weight_init)) if bias else None
        )
        added = pair("output_padding", output_padding, 0)
        self.block = ops.Block(sliding, groups, transposed=True, output_padding=added)
        self.padding = sliding.padding

    @property
    def output_padding(self) -> Pair:
        return self.block.output_padding

    def arguments(self) -> str:
        extra = f", output_padding={self.output_padding}" if any(self.output_padding) else ""
        return super().arguments() + extra


TransposeConv2d = ConvTranspose2d
Upsampling = ConvTranspose2d


def _check_channels(name: str, in_channels: int, out_channels: int, groups: int) -> None:
    check_positive(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide in_channels={in_channels} "
            f"and out_channels={out_channels}"
        )

"""Convolutions of sequences and of volumes, computed by the kernels of images.

Gradients: docs/gradients.md#one-and-three-dimensions.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from chainrule import ops
from chainrule.geometry import LARGEST, Depth, window
from chainrule.initializers import initial_bias, initialize
from chainrule.layers.arguments import check_positive
from chainrule.module import Module, Tape, parameter
from chainrule.ops.checks import check_castable, check_float

Ints = int | tuple[int, ...]


class FlatConvolution(Module):
    """What they share: a weight of any number of dimensions, and the block of images that computes
    with it.

    Attributes:
        weight, bias: learned; the bias may be None.
        block: what the images' convolution is besides its weights.
    """

    weight: Tensor
    bias: Tensor | None
    block: ops.Block

    def _begin(self, weight: Tensor, channels: int, bias: bool) -> None:
        self.weight = parameter(initialize(weight, "normal"))
        self.bias = parameter(initial_bias(weight, channels, "normal")) if bias else None

    def images(self, x: Tensor) -> Tensor:
        """x as images for `block`."""
        raise NotImplementedError

    def filters(self) -> Tensor:
        """The weight as `block` takes it."""
        raise NotImplementedError

    def joined(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The images y as the output for an input of that shape."""
        raise NotImplementedError

    def parted(self, gy: Tensor) -> Tensor:
        """The gradient of `joined`."""
        raise NotImplementedError

    def restored(self, gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The gradient of `images`."""
        raise NotImplementedError

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        self._check(x)
        y = ops.block(self.images(x), self.filters(), self.bias, self.block)
        tape.push(self, x)
        return self.joined(y, x.shape)

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (x,) = tape.take(self)
        gy, images = self.parted(gy), self.images(x)
        if not self.frozen:
            gweight, gbias = ops.block_parameter_grads(images, gy, gy, self.block)
            tape.add(self.weight, gweight.reshape(self.weight.shape))
            if self.bias is not None:
                tape.add(self.bias, gbias)
        if not tape.wants_gradient(x):
            return None
        size = images.shape[2], images.shape[3]
        gradient = ops.block_input_grad(gy, gy, self.filters(), size, self.block)
        return self.restored(gradient, x.shape)

    def _check(self, x: Tensor) -> None:
        name, dims = type(self).__name__, self.weight.dim()
        first, second = self.weight.shape[0], self.weight.shape[1] * self.block.groups
        channels = first if self.block.transposed else second
        check_float(name, "input", x)
        if x.dim() != dims or x.shape[1] != channels or not x.numel():
            axes = ", ".join("DHW"[-(dims - 2) :]) if dims > 3 else "L"
            hint = "; add the batch dimension with x[None]" if x.dim() == dims - 1 else ""
            raise ValueError(
                f"{name}: expected (N, {channels}, {axes}), got {tuple(x.shape)}{hint}"
            )
        check_castable(name, x, weight=self.weight)
        if min(self._output_size(x.shape)) < 1:
            kernel = tuple(self.weight.shape[2:])
            why = f"a kernel of {kernel} doesn't fit into the padded input"
            why = "the padding leaves no output" if self.block.transposed else why
            raise ValueError(f"{name}: {why} (input is {tuple(x.shape)})")

    def _output_size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        raise NotImplementedError


class Sequences(FlatConvolution):
    """What `Conv1d` and `ConvTranspose1d` share: a sequence is an image of one row."""

    def images(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (*x.shape[:2], 1, x.shape[2]))

    def filters(self) -> Tensor:
        return ops.reshape(self.weight, (*self.weight.shape[:2], 1, self.weight.shape[2]))

    def joined(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        return ops.reshape(y, (*y.shape[:2], y.shape[3]))

    def parted(self, gy: Tensor) -> Tensor:
        return self.images(gy)

    def restored(self, gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
        return ops.reshape(gradient, shape)

    def _output_size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.block.output_size((1, shape[2]))

    def arguments(self) -> str:
        first, second = self.weight.shape[0], self.weight.shape[1] * self.block.groups
        channels = (first, second) if self.block.transposed else (second, first)
        sliding = self.block.window
        left, right = sliding.pads[2:]
        shown = {
            "stride": (sliding.stride[1], 1),
            "padding": (left if left == right else "same", 0),
            "output_padding": (self.block.output_padding[1], 0),
            "dilation": (sliding.dilation[1], 1),
            "groups": (self.block.groups, 1),
            "bias": (self.bias is not None, True),
        }
        return _shown(channels, self.weight.shape[2], shown)


class Conv1d(Sequences):
    """Convolution of sequences: y[n,o,i] = bias[o] + sum_{c,u} weight[o,c,u] x[n,c, i*stride +
    u*dilation - padding].

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation, groups, bias: as those of `Conv2d`, of one
            dimension.

    Shapes:
        x (N, C, L) to y (N, O, Lo), Lo = floor((L + 2 * padding - dilation * (k - 1) - 1) / stride)
        + 1.

    Attributes:
        weight: (O, C / groups, k), at first uniform in (-s, s), s = 1 / sqrt(C / groups * k).
        bias: (O,), likewise, or None.

    Raises:
        TypeError, ValueError: arguments out of range, or an input that doesn't fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints | Literal["same", "valid"] = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        _check_channels("Conv1d", in_channels, out_channels, groups)
        kernel, steps, spread = _windows("Conv1d", 1, kernel_size, stride, dilation)
        (before,), (after,) = _pads("Conv1d", padding, kernel, steps, spread)
        sliding = window((1, kernel[0]), (1, steps[0]), 0, (1, spread[0]))
        self.block = ops.Block(sliding._replace(pads=(0, 0, before, after)), groups)
        weight = torch.empty(out_channels, in_channels // groups, *kernel)
        self._begin(weight, out_channels, bias)


class ConvTranspose1d(Sequences):
    """Transposed convolution of sequences: the input gradient of `Conv1d`, used forward.

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, output_padding, groups, bias, dilation: as those of
            `ConvTranspose2d`, of one dimension.

    Shapes:
        x (N, C, L) to y (N, O, Lo),
        Lo = (L - 1) * stride - 2 * padding + dilation * (k - 1) + output_padding + 1.

    Attributes:
        weight: (C, O / groups, k), at first uniform in (-s, s), s = 1 / sqrt(O / groups * k).
        bias: (O,), likewise, or None.

    Raises:
        TypeError, ValueError: arguments out of range, or an input that doesn't fit.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Ints = 1,
    ) -> None:
        name = "ConvTranspose1d"
        _check_channels(name, in_channels, out_channels, groups)
        kernel, steps, spread = _windows(name, 1, kernel_size, stride, dilation)
        (margin,) = _ints(name, "padding", padding, 1, 0)
        (added,) = _ints(name, "output_padding", output_padding, 1, 0)
        if added >= max(steps[0], spread[0]):
            raise ValueError(
                f"{name}: output_padding {added} must be smaller than the stride {steps[0]} or the "
                f"dilation {spread[0]}"
            )
        sliding = window((1, kernel[0]), (1, steps[0]), (0, margin), (1, spread[0]))
        self.block = ops.Block(sliding, groups, transposed=True, output_padding=(0, added))
        weight = torch.empty(in_channels, out_channels // groups, *kernel)
        self._begin(weight, out_channels, bias)


class Conv3d(FlatConvolution):
    """Convolution of volumes, (N, C, D, H, W), of the form of `Conv2d`.

    The slices under each window's depth are laid side by side as channels: then it is a convolution
    of images with kd times the channels. While it runs, the input takes kd times its memory.

    Args:
        in_channels, out_channels: C and O.
        kernel_size: int or (depth, vertical, horizontal), like the next three.
        stride, padding, dilation, groups, bias: as those of `Conv2d`.

    Shapes:
        x (N, C, D, H, W) to y (N, O, Do, Ho, Wo), each size as that of `Conv2d`.

    Attributes:
        weight: (O, C / groups, kd, kh, kw), at first uniform in (-s, s), s = 1 / sqrt(C / groups *
            kd * kh * kw).
        bias: (O,), likewise, or None.

    Raises:
        TypeError, ValueError: arguments out of range, or an input that doesn't fit.

    Example:
        >>> Conv3d(1, 8, 3, padding=1)(torch.zeros(2, 1, 9, 16, 16)).shape
        torch.Size([2, 8, 9, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Ints,
        stride: Ints = 1,
        padding: Ints | Literal["same", "valid"] = 0,
        dilation: Ints = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        _check_channels("Conv3d", in_channels, out_channels, groups)
        kernel, steps, spread = _windows("Conv3d", 3, kernel_size, stride, dilation)
        before, after = _pads("Conv3d", padding, kernel, steps, spread)
        self.depth = Depth(kernel[0], steps[0], spread[0], before[0], after[0])
        sliding = window((kernel[1], kernel[2]), (steps[1], steps[2]), 0, (spread[1], spread[2]))
        pads = (before[1], after[1], before[2], after[2])
        self.block = ops.Block(sliding._replace(pads=pads), groups)
        weight = torch.empty(out_channels, in_channels // groups, *kernel)
        self._begin(weight, out_channels, bias)

    def images(self, x: Tensor) -> Tensor:
        return ops.depth_windows(x, self.depth)

    def filters(self) -> Tensor:
        outputs, inputs, depth, *kernel = self.weight.shape
        return ops.reshape(self.weight, (outputs, inputs * depth, *kernel))

    def joined(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        slices = ops.reshape(y, (shape[0], self.depth.count(shape[2]), *y.shape[1:]))
        return ops.permute(slices, (0, 2, 1, 3, 4))

    def parted(self, gy: Tensor) -> Tensor:
        slices = ops.permute(gy, (0, 2, 1, 3, 4))
        return ops.reshape(slices, (slices.shape[0] * slices.shape[1], *slices.shape[2:]))

    def restored(self, gradient: Tensor, shape: tuple[int, ...]) -> Tensor:
        return ops.depth_windows_grad(gradient, shape, self.depth)

    def _output_size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.depth.count(shape[2]), *self.block.output_size((shape[3], shape[4]))

    def arguments(self) -> str:
        sliding, depth = self.block.window, self.depth
        before = (depth.before, sliding.pads[0], sliding.pads[2])
        after = (depth.after, sliding.pads[1], sliding.pads[3])
        shown = {
            "stride": ((depth.stride, *sliding.stride), (1, 1, 1)),
            "padding": (before if before == after else "same", (0, 0, 0)),
            "dilation": ((depth.dilation, *sliding.dilation), (1, 1, 1)),
            "groups": (self.block.groups, 1),
            "bias": (self.bias is not None, True),
        }
        channels = (self.weight.shape[1] * self.block.groups, self.weight.shape[0])
        return _shown(channels, tuple(self.weight.shape[2:]), shown)


def _shown(
    channels: tuple[int, int], kernel: Ints, values: dict[str, tuple[object, object]]
) -> str:
    """The arguments that differ from their defaults; each value comes with its default."""
    differing = [f", {name}={got!r}" for name, (got, default) in values.items() if got != default]
    return f"{channels[0]}, {channels[1]}, kernel_size={kernel}" + "".join(differing)


def _check_channels(name: str, in_channels: int, out_channels: int, groups: int) -> None:
    check_positive(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if math.gcd(in_channels, out_channels) % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide in_channels={in_channels} "
            f"and out_channels={out_channels}"
        )


def _ints(name: str, what: str, value: Ints, count: int, least: int) -> tuple[int, ...]:
    """`value` for each of `count` dimensions."""
    each = (value,) * count if isinstance(value, int) else tuple(value)
    if len(each) != count or not all(type(one) is int and least <= one <= LARGEST for one in each):
        several = "" if count == 1 else f" or {count} ints"
        raise ValueError(f"{name}: {what} must be an int{several} from {least}, got {value!r}")
    return each


def _windows(
    name: str, count: int, kernel_size: Ints, stride: Ints, dilation: Ints
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return (
        _ints(name, "kernel_size", kernel_size, count, 1),
        _ints(name, "stride", stride, count, 1),
        _ints(name, "dilation", dilation, count, 1),
    )


def _pads(
    name: str,
    padding: Ints | str,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before the first and after the last value, along each dimension."""
    if padding == "same":
        if set(stride) != {1}:
            raise ValueError(f'{name}: padding="same" needs stride 1, got stride {stride}')
        whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        return tuple(n // 2 for n in whole), tuple(n - n // 2 for n in whole)
    if isinstance(padding, str) and padding != "valid":
        raise ValueError(f'{name}: padding must be ints, "same" or "valid", got {padding!r}')
    each = _ints(name, "padding", 0 if isinstance(padding, str) else padding, len(kernel), 0)
    return each, each

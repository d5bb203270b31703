"""What the ops refuse. The only place with checks of shapes, dtypes and devices.

The kernels read memory as these say: shape, dtype and device of every tensor, of gradients too. An
error names the op, what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from chainrule.backends.block import Block
from chainrule.backends.replay import check_again
from chainrule.geometry import IntOrPair, Pair, Window, pair, window
from chainrule.ops.casting import casting

GRADIENT = "output's gradient"


def shape(x: Tensor) -> str:
    return str(tuple(x.shape))


def check_float(name: str, what: str, x: Tensor) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected the {what} to be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(
            f"{name}: expected the {what} to be of a float dtype, got {x.dtype}; "
            "convert it with .float()"
        )


def check_features(name: str, x: Tensor, features: int) -> None:
    check_float(name, "input", x)
    if x.dim() == 0 or x.shape[-1] != features:
        raise ValueError(
            f"{name}: expected {features} values in the last dimension, got an input of {shape(x)}"
        )


def check_dimension(name: str, x: Tensor, dim: int) -> None:
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"{name}: there is no dimension {dim} in an input of {shape(x)}")


def check_indices(name: str, what: str, x: Tensor, count: int, ignored: int | None = None) -> None:
    """Integers in [0, count), or `ignored`; the values are looked at on the CPU only, elsewhere it
    would wait."""
    if not isinstance(x, Tensor) or x.dtype not in (torch.int64, torch.int32):
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name}: expected the {what} to be of int64 or int32, got {kind}")
    if x.is_cpu:
        check_again(partial(_check_values, name, what, x, count, ignored))


def _check_values(name: str, what: str, x: Tensor, count: int, ignored: int | None) -> None:
    if ignored is not None:
        x = x[x != ignored]
    if not x.numel():
        return
    least, largest = map(int, x.aminmax())
    if least < 0 or largest >= count:
        met = least if least < 0 else largest
        raise ValueError(f"{name}: the {what} must lie in 0 to {count - 1}, got {met}")


def check_images(name: str, what: str, x: Tensor) -> None:
    check_float(name, what, x)
    if x.dim() != 4:
        hint = "; add the batch dimension with x[None]" if x.dim() == 3 else ""
        raise ValueError(f"{name}: expected the {what} to be (N, C, H, W), got {shape(x)}{hint}")
    if x.numel() == 0:
        raise ValueError(f"{name}: the {what} is empty, its shape is {shape(x)}")


def check_filters(name: str, weight: Tensor, groups: int) -> None:
    check_images(name, "weight", weight)
    if groups < 1 or weight.shape[0] % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide the channels; the weight is {shape(weight)}"
        )


def check_channels(name: str, x: Tensor, channels: int, weight: Tensor) -> None:
    if x.shape[1] != channels:
        raise ValueError(
            f"{name}: expected {channels} input channels (weight is {shape(weight)}), "
            f"got {x.shape[1]} (input is {shape(x)})"
        )


def check_alike(name: str, x: Tensor, which: str = "input", /, **others: Tensor | None) -> None:
    for what, other in others.items():
        if other is None:
            continue
        if other.dtype != x.dtype:
            raise TypeError(
                f"{name}: the {which} is {x.dtype} and the {what} {other.dtype}; "
                "convert one of them with .to(dtype)"
            )
        _check_device(name, x, which, what, other)


def check_castable(name: str, x: Tensor, /, **others: Tensor | None) -> None:
    """`check_alike` before ops that take all of them in one type while `autocast` is on."""
    for what, other in others.items():
        if other is not None and {x.dtype, other.dtype} == {torch.float32, casting()}:
            _check_device(name, x, "input", what, other)
        else:
            check_alike(name, x, **{what: other})


def _check_device(name: str, x: Tensor, which: str, what: str, other: Tensor) -> None:
    if other.device != x.device:
        raise ValueError(
            f"{name}: the {which} is on {x.device} and the {what} on {other.device}; "
            "move one of them with .to(device)"
        )


def check_bias(name: str, bias: Tensor | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"{name}: expected a bias of shape ({channels},), got {shape(bias)}")


def check_fits(name: str, x: Tensor, sliding: Window, scale: Pair = (1, 1)) -> None:
    """Whether a window fits into x, enlarged by `scale`."""
    size = x.shape[2] * scale[0], x.shape[3] * scale[1]
    if min(sliding.output_size(size)) < 1:
        raise ValueError(
            f"{name}: the window spans {sliding.span} but the padded input is only "
            f"{sliding.padded(size)} (input is {shape(x)})"
        )


def check_transposed(name: str, x: Tensor, layers: Block, size: Pair) -> None:
    """Whether a transposed convolution has an output, of `size`."""
    sliding, output_padding = layers.window, layers.output_padding
    for added, step, spread in zip(output_padding, sliding.stride, sliding.dilation, strict=True):
        if added >= max(step, spread):
            raise ValueError(
                f"{name}: output_padding {output_padding} must be smaller than the stride "
                f"{sliding.stride} or the dilation {sliding.dilation}"
            )
    if min(size) < 1:
        raise ValueError(
            f"{name}: the padding leaves an output of {size} (input is {shape(x)}, the window "
            f"spans {sliding.span})"
        )


def pooling_window(
    name: str,
    x: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair,
    padding: IntOrPair,
    dilation: IntOrPair,
) -> Window:
    check_images(name, "input", x)
    sliding = window(kernel_size, stride, pair("padding", padding, 0), dilation)
    for added, extent in zip(sliding.padding, sliding.kernel, strict=True):
        if added > extent // 2:
            raise ValueError(
                f"{name}: padding {padding} must be at most half of kernel_size {kernel_size}"
            )
    check_fits(name, x, sliding)
    return sliding


def check_gradient(name: str, gy: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(gy.shape) != expected:
        raise ValueError(
            f"{name}: expected the output's gradient to have the output's shape {expected}, "
            f"got {shape(gy)}"
        )


def check_output(name: str, gy: Tensor, y: Tensor) -> None:
    check_gradient(name, gy, tuple(y.shape))
    check_alike(name, gy, GRADIENT, output=y)


def check_input(name: str, gy: Tensor, x: Tensor) -> None:
    """Of layers whose output has the input's shape."""
    check_gradient(name, gy, tuple(x.shape))
    check_alike(name, gy, GRADIENT, input=x)


def check_pair(name: str, x: Tensor, gy: Tensor, groups: int) -> None:
    """What a weight's gradient is made of."""
    check_alike(name, x, **{GRADIENT: gy})
    if groups < 1 or x.shape[1] % groups or gy.shape[1] % groups:
        raise ValueError(
            f"{name}: groups={groups} must divide the channels; the input is {shape(x)}, the "
            f"{GRADIENT} {shape(gy)}"
        )


def check_batch_norm(x: Tensor, channels: int) -> None:
    check_images("BatchNorm2d", "input", x)
    if x.shape[1] != channels:
        raise ValueError(
            f"BatchNorm2d: expected {channels} channels, got {x.shape[1]} (input is {shape(x)})"
        )


def check_target(name: str, prediction: Tensor, target: Tensor) -> None:
    """Raise TypeError or ValueError unless a loss can compare the two; `name` is the loss's."""
    check_float(name, "prediction", prediction)
    check_float(name, "target", target)
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: prediction {shape(prediction)} and target {shape(target)} "
            "must have the same shape"
        )
    if prediction.numel() == 0:
        raise ValueError(f"{name}: the prediction is empty, its shape is {shape(prediction)}")
    check_alike(name, prediction, target=target)


def check_step(name: str, values: Sequence[Tensor], **others: Sequence[Tensor]) -> None:
    """Whether each value has one of each of the others, alike; a list may be empty instead."""
    for what, tensors in others.items():
        if not tensors:
            continue
        for value, other in zip(values, tensors, strict=True):
            if other.shape != value.shape:
                raise ValueError(
                    f"{name}: a parameter of shape {shape(value)} has a {what} of {shape(other)}"
                )
            if other.dtype != value.dtype or other.device != value.device:
                check_alike(name, value, "parameter", **{what: other})

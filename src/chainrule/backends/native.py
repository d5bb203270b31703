"""The native backend: float32 on the CPU, by the compiled kernels of `chainrule._native`.

Where a kernel gets an address, the tensor must have a name here until it has returned; an `Image`
or a `Source` keeps its tensor itself. Other Python threads run while a kernel does.

The functions are those of the reference, with the same arguments; what has no kernel of its own is
missing here, or hands over to the reference. Results are in PyTorch's channels_last layout, (N, C,
H, W) in shape and (N, H, W, C) in memory; inputs may have any strides. How the kernels work:
docs/kernels.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

import chainrule._native as kernels
from chainrule.backends import reference
from chainrule.backends.block import ACTIVATIONS, Block, Epilogue
from chainrule.backends.settings import threads, winograd
from chainrule.geometry import Pair, Window, image_size

SERVES = (("cpu", torch.float32),)


def empty_cache() -> int:
    """Give back the memory that kernels and their results left, to the system; returns bytes."""
    return kernels.empty_cache()


# -- convolution ----------------------------------------------------------------------------------


def block(x: Tensor, weight: Tensor, bias: Tensor | None, size: Pair, layers: Block) -> Tensor:
    activation = _activation(layers.epilogue)
    if activation is None:
        return reference.block(x, weight, bias, size, layers)
    channels = weight.shape[1] * layers.groups if layers.transposed else weight.shape[0]
    y = _empty(x.shape[0], channels, size)
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
    gz = _before_activation(gy, y, layers.epilogue)
    if gz is None:
        return reference.block_input_grad(gy, y, weight, input_size, layers)
    channels = weight.shape[0] if layers.transposed else weight.shape[1] * layers.groups
    gx = _empty(gy.shape[0], channels, input_size)
    kernels.gather(
        gz,
        kernels.Image(weight),
        layers.groups,
        0,
        _NO_ACTIVATION,
        kernels.Image(gx),
        _geometry(layers),
        not layers.transposed,
        winograd(),
        threads(),
    )
    return gx


def block_parameter_grads(x: Tensor, gy: Tensor, y: Tensor, layers: Block) -> tuple[Tensor, Tensor]:
    gz = _before_activation(gy, y, layers.epilogue)
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


# -- pooling and resampling -----------------------------------------------------------------------


def max_pool2d(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    x = _channels_last(x)
    y = _empty(x.shape[0], x.shape[1], window.output_size(image_size(x)))
    places = torch.empty_like(y, dtype=torch.int32)
    shape = _pooling(window)
    kernels.max_pool(kernels.Image(x), shape, kernels.Image(y), places.data_ptr(), threads())
    return y, places


def max_pool2d_grad(gy: Tensor, places: Tensor, input_size: Pair, window: Window) -> Tensor:
    gx = _empty(gy.shape[0], gy.shape[1], input_size)
    places = places.int().contiguous(memory_format=torch.channels_last)
    shape = _pooling(window)
    kernels.max_pool_gradient(
        kernels.Image(gy), places.data_ptr(), shape, kernels.Image(gx), threads()
    )
    return gx


def avg_pool2d(x: Tensor, window: Window, count_include_pad: bool) -> Tensor:
    x = _channels_last(x)
    y = _empty(x.shape[0], x.shape[1], window.output_size(image_size(x)))
    shape = _pooling(window, count_include_pad)
    kernels.average_pool(kernels.Image(x), shape, kernels.Image(y), threads())
    return y


def avg_pool2d_grad(
    gy: Tensor, input_size: Pair, window: Window, count_include_pad: bool
) -> Tensor:
    gx = _empty(gy.shape[0], gy.shape[1], input_size)
    shape = _pooling(window, count_include_pad)
    kernels.average_pool_gradient(kernels.Image(gy), shape, kernels.Image(gx), threads())
    return gx


def upsample_nearest2d(x: Tensor, scale: Pair) -> Tensor:
    x = _channels_last(x)
    y = _empty(x.shape[0], x.shape[1], (x.shape[2] * scale[0], x.shape[3] * scale[1]))
    kernels.upsample(kernels.Image(x), *scale, kernels.Image(y), threads())
    return y


def upsample_nearest2d_grad(gy: Tensor, scale: Pair) -> Tensor:
    gy = _channels_last(gy)
    size = (gy.shape[2] // scale[0], gy.shape[3] // scale[1])
    gx = _empty(gy.shape[0], gy.shape[1], size)
    kernels.upsample_gradient(kernels.Image(gy), *scale, kernels.Image(gx), threads())
    return gx


def add(a: Tensor, b: Tensor) -> Tensor:
    if _alike(a, b):
        total = _empty_like(a)
        kernels.add(a.data_ptr(), b.data_ptr(), total.data_ptr(), a.numel(), threads())
        return total
    if a.dim() != 4:
        return reference.add(a, b)
    total = _empty(a.shape[0], a.shape[1], image_size(a))
    kernels.add_images(kernels.Image(a), kernels.Image(b), kernels.Image(total), threads())
    return total


def concatenate(a: Tensor, b: Tensor) -> Tensor:
    joined = _empty(a.shape[0], a.shape[1] + b.shape[1], image_size(a))
    a, b = _channels_last(a), _channels_last(b)
    kernels.concatenate(kernels.Image(a), kernels.Image(b), kernels.Image(joined), threads())
    return joined


# -- activations ----------------------------------------------------------------------------------


def activation(x: Tensor, epilogue: Epilogue) -> Tensor:
    kind = _activation(epilogue)
    if kind is None or not _dense(x):
        return reference.activation(x, epilogue)
    y = _empty_like(x)
    kernels.activate(x.data_ptr(), y.data_ptr(), x.numel(), kind, threads())
    return y


def activation_grad(gy: Tensor, y: Tensor, epilogue: Epilogue) -> Tensor:
    kind = _activation(epilogue)
    if kind is None or not _alike(gy, y):
        return reference.activation_grad(gy, y, epilogue)
    gx = _empty_like(gy)
    kernels.deactivate(gy.data_ptr(), y.data_ptr(), gx.data_ptr(), gy.numel(), kind, threads())
    return gx


# -- losses ---------------------------------------------------------------------------------------


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    images = _two_images(prediction, target)
    if images is None:
        return reference.squared_error(prediction, target)
    return as_tensor("squared_error", *images, threads())


def squared_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    images = _two_images(prediction, target)
    if images is None or (isinstance(scale, Tensor) and scale.dim()):
        return reference.squared_error_grad(prediction, target, scale)
    if _alike(prediction, target):
        gradient = _empty_like(prediction)
        out = _rows(gradient)
    else:
        gradient = _empty(prediction.shape[0], prediction.shape[1], image_size(prediction))
        out = kernels.Image(gradient)
    kernels.squared_error_gradient(*images, 2 * float(scale), out, threads())
    return gradient


def as_tensor(kernel: str, *arguments: Any) -> Tensor:
    """What the kernel of this name returns, as a scalar tensor; replay.py has another one."""
    return torch.tensor(getattr(kernels, kernel)(*arguments), dtype=torch.float32)


def _two_images(a: Tensor, b: Tensor) -> tuple[kernels.Image, kernels.Image] | None:
    """Both as images whose values are met in the same order; None if they can't be."""
    if _alike(a, b):
        return _rows(a), _rows(b)
    return (kernels.Image(a), kernels.Image(b)) if a.dim() == 4 else None


def _rows(x: Tensor) -> kernels.Image:
    """Dense memory as an image of one channel, a sample a row."""
    return kernels.Image(x, x.shape[0] if x.dim() else 1, x.numel())


# -- gradients and optimizers ---------------------------------------------------------------------
# Not PyTorch's own either: its threads go on watching for work for milliseconds after each of its
# parallel operations, on processors that the kernels' threads could use.


def accumulate(total: Tensor, gradient: Tensor) -> None:
    if not _alike(total, gradient):
        return reference.accumulate(total, gradient)
    address = total.data_ptr()
    kernels.add(address, gradient.data_ptr(), address, total.numel(), threads())
    return None


def zero(values: list[Tensor]) -> None:
    if not all(map(_dense, values)):
        return _one_by_one(zero, reference.zero, (values,), ())
    kernels.zero(_addresses(values), [value.numel() for value in values], threads())
    return None


def sgd_step(
    values: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor],
    first: list[bool],
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    if not _all_alike(values, gradients, velocities):
        lists, settings = (
            (values, gradients, velocities, first),
            (lr, momentum, dampening, weight_decay, nesterov),
        )
        return _one_by_one(sgd_step, reference.sgd_step, lists, settings)
    kernels.sgd(
        _addresses(values),
        _addresses(gradients),
        _addresses(velocities),
        first,
        [value.numel() for value in values],
        kernels.Sgd(
            rate=lr,
            momentum=momentum,
            fresh=1 - dampening,
            decay=weight_decay,
            nesterov=nesterov,
        ),
        threads(),
    )
    return None


def adam_step(
    values: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    keep: float,
    steps: int,
) -> None:
    if not _all_alike(values, gradients, means, squares):
        lists, settings = (
            (values, gradients, means, squares),
            (lr, betas, eps, weight_decay, keep, steps),
        )
        return _one_by_one(adam_step, reference.adam_step, lists, settings)
    kernels.adam(
        _addresses(values),
        _addresses(gradients),
        _addresses(means),
        _addresses(squares),
        [value.numel() for value in values],
        kernels.Adam(
            rate=lr / (1 - betas[0] ** steps),
            beta2=betas[1],
            fresh1=1 - betas[0],
            fresh2=1 - betas[1],
            epsilon=eps,
            scale=(1 - betas[1] ** steps) ** -0.5,
            decay=weight_decay,
            keep=keep,
        ),
        threads(),
    )
    return None


def _addresses(tensors: list[Tensor]) -> list[int]:
    return [x.data_ptr() for x in tensors]


def _all_alike(values: list[Tensor], *others: list[Tensor]) -> bool:
    """Whether each value and its others fill their memory in the same order."""
    if not all(map(_dense, values)):
        return False
    for tensors in others:
        for value, other in zip(values, tensors):  # noqa: B905 (or none: no velocities)
            if other.stride() != value.stride() or other.is_neg():
                return False
    return True


def _one_by_one(
    ours: Callable[..., None],
    theirs: Callable[..., None],
    lists: tuple[list[Any], ...],
    settings: tuple[Any, ...],
) -> None:
    """`ours` for each value by itself, so that only those go to `theirs` that must."""
    if len(lists[0]) == 1:
        return theirs(*lists, *settings)
    for place in range(len(lists[0])):
        ours(*(each[place : place + 1] for each in lists), *settings)
    return None


# -- what the kernels read ------------------------------------------------------------------------


def _dense(x: Tensor) -> bool:
    """Whether x fills its memory without gaps, and with its own values: not with -x."""
    if x.is_neg():
        return False
    if x.is_contiguous():
        return True
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _alike(a: Tensor, b: Tensor) -> bool:
    """Whether a and b fill their memory in the same order."""
    return a.stride() == b.stride() and _dense(a) and not b.is_neg()


def _channels_last(x: Tensor) -> Tensor:
    """x with the channels of a pixel side by side."""
    if x.stride(1) == 1 or x.shape[1] == 1:
        return x
    return x.contiguous(memory_format=torch.channels_last)


def _pooling(window: Window, count_padding: bool = False) -> kernels.Pooling:
    return kernels.Pooling(
        window.kernel, window.stride, window.dilation, window.padding, count_padding
    )


def _empty(n: int, channels: int, size: Pair) -> Tensor:
    """A channels_last tensor of the kernels' own memory, which is reused: see native/memory.cpp."""
    return kernels.empty(n, channels, *size)


def _empty_like(x: Tensor) -> Tensor:
    """A tensor with x's sizes and strides, which are dense; of the kernels' memory if it can be."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return _empty(x.shape[0], x.shape[1], image_size(x))
    return torch.empty_like(x)


_NO_ACTIVATION = kernels.Activation(0, 0.0)


@lru_cache
def _activation(epilogue: Epilogue) -> kernels.Activation | None:
    """As the kernels take it; None if they don't have it."""
    number = ACTIVATIONS[epilogue.activation].kernel
    return None if number is None else kernels.Activation(number, epilogue.slope)


def _before_activation(gy: Tensor, y: Tensor, epilogue: Epilogue) -> kernels.Source | None:
    """dL/dz where y = activation(z), computed while it is read; None if no kernel can."""
    if not epilogue.activation:
        return kernels.Source(gy)
    activation = _activation(epilogue)
    return None if activation is None else kernels.Source(gy, y, activation)


def _geometry(layers: Block) -> kernels.Geometry:
    window = layers.window
    return kernels.Geometry(
        window.kernel, window.stride, window.dilation, window.padding, layers.scale
    )

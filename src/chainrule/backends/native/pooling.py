"""Pooling and resampling of images, and images side by side."""

from __future__ import annotations

import torch
from torch import Tensor

import chainrule._native as kernels
from chainrule.backends import reference
from chainrule.backends.native.memory import alike, channels_last, empty, empty_like
from chainrule.backends.settings import threads
from chainrule.geometry import Pair, Window, image_size


def max_pool2d(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    x = channels_last(x)
    y = empty(x.shape[0], x.shape[1], window.output_size(image_size(x)))
    places = torch.empty_like(y, dtype=torch.int32)
    shape = _pooling(window)
    kernels.max_pool(kernels.Image(x), shape, kernels.Image(y), places.data_ptr(), threads())
    return y, places


def max_pool2d_grad(gy: Tensor, places: Tensor, input_size: Pair, window: Window) -> Tensor:
    gx = empty(gy.shape[0], gy.shape[1], input_size)
    places = places.int().contiguous(memory_format=torch.channels_last)
    shape = _pooling(window)
    kernels.max_pool_gradient(
        kernels.Image(gy), places.data_ptr(), shape, kernels.Image(gx), threads()
    )
    return gx


def avg_pool2d(x: Tensor, window: Window, count_include_pad: bool) -> Tensor:
    x = channels_last(x)
    y = empty(x.shape[0], x.shape[1], window.output_size(image_size(x)))
    shape = _pooling(window, count_include_pad)
    kernels.average_pool(kernels.Image(x), shape, kernels.Image(y), threads())
    return y


def avg_pool2d_grad(
    gy: Tensor, input_size: Pair, window: Window, count_include_pad: bool
) -> Tensor:
    gx = empty(gy.shape[0], gy.shape[1], input_size)
    shape = _pooling(window, count_include_pad)
    kernels.average_pool_gradient(kernels.Image(gy), shape, kernels.Image(gx), threads())
    return gx


def upsample_nearest2d(x: Tensor, scale: Pair) -> Tensor:
    x = channels_last(x)
    y = empty(x.shape[0], x.shape[1], (x.shape[2] * scale[0], x.shape[3] * scale[1]))
    kernels.upsample(kernels.Image(x), *scale, kernels.Image(y), threads())
    return y


def upsample_nearest2d_grad(gy: Tensor, scale: Pair) -> Tensor:
    gy = channels_last(gy)
    size = (gy.shape[2] // scale[0], gy.shape[3] // scale[1])
    gx = empty(gy.shape[0], gy.shape[1], size)
    kernels.upsample_gradient(kernels.Image(gy), *scale, kernels.Image(gx), threads())
    return gx


def add(a: Tensor, b: Tensor) -> Tensor:
    if alike(a, b):
        total = empty_like(a)
        kernels.add(a.data_ptr(), b.data_ptr(), total.data_ptr(), a.numel(), threads())
        return total
    if a.dim() != 4:
        return reference.add(a, b)
    total = empty(a.shape[0], a.shape[1], image_size(a))
    kernels.add_images(kernels.Image(a), kernels.Image(b), kernels.Image(total), threads())
    return total


def concatenate(a: Tensor, b: Tensor) -> Tensor:
    joined = empty(a.shape[0], a.shape[1] + b.shape[1], image_size(a))
    a, b = channels_last(a), channels_last(b)
    kernels.concatenate(kernels.Image(a), kernels.Image(b), kernels.Image(joined), threads())
    return joined


def _pooling(window: Window, count_padding: bool = False) -> kernels.Pooling:
    return kernels.Pooling(
        window.kernel, window.stride, window.dilation, window.padding, count_padding
    )

"""What the kernels read and write: tensors that fill their memory, and those that are made so.

Where a kernel gets an address, the tensor must have a name here until it has returned; an `Image`
or a `Source` keeps its tensor itself. Other Python threads run while a kernel does.
"""

from __future__ import annotations

import atexit

import torch
from torch import Tensor

import chainrule._native as kernels
from chainrule.backends.block import ACTIVATIONS, Epilogue
from chainrule.geometry import Pair, image_size


def dense(x: Tensor) -> bool:
    """Whether x fills its memory without gaps, and with its own values: not with -x."""
    if x.is_neg():
        return False
    if x.is_contiguous():
        return True
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether a and b fill their memory in the same order."""
    return a.stride() == b.stride() and dense(a) and not b.is_neg()


def channels_last(x: Tensor) -> Tensor:
    """x with the channels of a pixel side by side."""
    if x.stride(1) == 1 or x.shape[1] == 1:
        return x
    return x.contiguous(memory_format=torch.channels_last)


def empty(n: int, channels: int, size: Pair) -> Tensor:
    """A channels_last tensor of the kernels' own memory, which is reused: see native/memory.cpp."""
    return kernels.empty(n, channels, *size)


def empty_like(x: Tensor) -> Tensor:
    """A tensor with x's sizes and strides, which are dense; of the kernels' memory if it can be."""
    if x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last):
        return empty(x.shape[0], x.shape[1], image_size(x))
    return fresh_like(x)


def fresh(beside: Tensor, *shape: int) -> Tensor:
    """A dense tensor of this shape, from PyTorch, which keeps small memory, too; replay.py has
    another one, whose memory is its own."""
    return beside.new_empty(shape)


def fresh_like(x: Tensor) -> Tensor:
    """The same, with x's sizes and strides, which are dense."""
    return torch.empty_like(x)


_activations: dict[Epilogue, kernels.Activation | None] = {}
atexit.register(_activations.clear)  # while the kernels' types are still there


def identity() -> kernels.Activation:
    """No activation, as the kernels take it."""
    found = nonlinearity(Epilogue())
    assert found is not None
    return found


def nonlinearity(epilogue: Epilogue) -> kernels.Activation | None:
    """As the kernels take it; None if they don't have it."""
    if epilogue not in _activations:
        number = ACTIVATIONS[epilogue.activation].kernel
        known = None if number is None else kernels.Activation(number, epilogue.slope)
        _activations[epilogue] = known
    return _activations[epilogue]


def before_activation(gy: Tensor, y: Tensor, epilogue: Epilogue) -> kernels.Source | None:
    """dL/dz where y = activation(z), computed while it is read; None if no kernel can."""
    if not epilogue.activation:
        return kernels.Source(gy)
    activation = nonlinearity(epilogue)
    return None if activation is None else kernels.Source(gy, y, activation)


def solid(x: Tensor) -> Tensor:
    """x in the order of its dimensions, without gaps, and with its own values."""
    return x.resolve_neg().contiguous()

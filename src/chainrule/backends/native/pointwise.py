"""Activations and errors: one pass over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import chainrule._native as kernels
from chainrule.backends import reference
from chainrule.backends.block import Epilogue
from chainrule.backends.native.memory import (
    alike,
    dense,
    empty,
    empty_like,
    fresh,
    nonlinearity,
)
from chainrule.backends.settings import threads
from chainrule.geometry import image_size


def activation(x: Tensor, epilogue: Epilogue) -> Tensor:
    kind = nonlinearity(epilogue)
    if kind is None or not dense(x):
        return reference.activation(x, epilogue)
    y = empty_like(x)
    kernels.activate(x.data_ptr(), y.data_ptr(), x.numel(), kind, threads())
    return y


def activation_grad(gy: Tensor, y: Tensor, epilogue: Epilogue) -> Tensor:
    kind = nonlinearity(epilogue)
    if kind is None or not alike(gy, y):
        return reference.activation_grad(gy, y, epilogue)
    gx = empty_like(gy)
    kernels.deactivate(gy.data_ptr(), y.data_ptr(), gx.data_ptr(), gy.numel(), kind, threads())
    return gx


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return _error("squared_error", prediction, target)


def squared_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    return _error_grad("squared_error", prediction, target, scale, 2)


def absolute_error(prediction: Tensor, target: Tensor) -> Tensor:
    return _error("absolute_error", prediction, target)


def absolute_error_grad(prediction: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    return _error_grad("absolute_error", prediction, target, scale, 1)


def _error(op: str, prediction: Tensor, target: Tensor) -> Tensor:
    images = _two_images(prediction, target)
    if images is None:
        return getattr(reference, op)(prediction, target)
    return as_tensor(op, *images, threads())


def _error_grad(
    op: str, prediction: Tensor, target: Tensor, scale: float | Tensor, slope: int
) -> Tensor:
    """`slope` is what the kernel leaves out of the gradient."""
    images = _two_images(prediction, target)
    if images is None or (isinstance(scale, Tensor) and scale.dim()):
        return getattr(reference, f"{op}_grad")(prediction, target, scale)
    gradient, out = _beside(prediction, target)
    getattr(kernels, f"{op}_gradient")(*images, slope * float(scale), out, threads())
    return gradient


def image_errors(prediction: Tensor, target: Tensor) -> Tensor:
    images = _two_images(prediction, target)
    if images is None or not prediction.numel():
        return reference.image_errors(prediction, target)
    each = fresh(prediction, len(prediction))
    kernels.image_errors(*images, len(prediction), each.data_ptr(), threads())
    return each


def image_error_grad(prediction: Tensor, target: Tensor, factors: Tensor) -> Tensor:
    images = _two_images(prediction, target)
    if images is None or not prediction.numel() or not dense(factors):
        return reference.image_error_grad(prediction, target, factors)
    gradient, out = _beside(prediction, target)
    count, where = len(prediction), factors.data_ptr()
    kernels.image_errors_gradient(*images, count, where, out, threads())
    return gradient


def _beside(prediction: Tensor, target: Tensor) -> tuple[Tensor, kernels.Image]:
    """Memory for a gradient, as a tensor and as an image."""
    if alike(prediction, target):
        gradient = empty_like(prediction)
        return gradient, _rows(gradient)
    gradient = empty(prediction.shape[0], prediction.shape[1], image_size(prediction))
    return gradient, kernels.Image(gradient)


def as_tensor(kernel: str, *arguments: Any) -> Tensor:
    """What the kernel of this name returns, as a scalar tensor; replay.py has another one."""
    return torch.tensor(getattr(kernels, kernel)(*arguments), dtype=torch.float32)


def _two_images(a: Tensor, b: Tensor) -> tuple[kernels.Image, kernels.Image] | None:
    """Both as images whose values are met in the same order; None if they can't be."""
    if alike(a, b):
        return _rows(a), _rows(b)
    return (kernels.Image(a), kernels.Image(b)) if a.dim() == 4 else None


def _rows(x: Tensor) -> kernels.Image:
    """Dense memory as an image of one channel, a sample a row."""
    return kernels.Image(x, x.shape[0] if x.dim() else 1, x.numel())

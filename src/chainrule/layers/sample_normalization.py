"""Normalizations of one sample, alike in training and evaluation.

Gradients: docs/gradients.md#normalization-of-one-sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from chainrule import ops
from chainrule.layers.arguments import check_positive
from chainrule.module import Module, Tape, parameter
from chainrule.ops.checks import check_float, check_images


class SampleNormalization(Module):
    """What they share: y = weight * xhat + bias, xhat normalized over the values of a group.

    A subclass says which values make a group, in `grouped`.

    Attributes:
        weight, bias: at first 1 and 0, or None.
        eps: added to the variance; None is the dtype's smallest relative step.
        normalize, gradient: the pair of ops.
    """

    normalize: ClassVar[Callable[..., tuple[Tensor, Tensor]]] = staticmethod(ops.standardize)
    gradient: ClassVar[Callable[..., Tensor]] = staticmethod(ops.standardize_grad)

    weight: Tensor | None
    bias: Tensor | None
    eps: float | None

    def grouped(self, x: Tensor) -> tuple[Tensor, tuple[int, ...], int]:
        """The checked x in a shape whose dimensions so and so are a group; and where the weight's
        dimensions begin in x."""
        raise NotImplementedError(f"{type(self).__name__} has no grouped(x)")

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        groups, over, dim = self.grouped(x)
        eps = self.eps
        if eps is None:  # of the type that it is computed in
            eps = torch.finfo(torch.float32 if x.dtype == ops.casting() else x.dtype).eps
        xhat, scale = type(self).normalize(type(self).__name__, groups, over, eps)
        tape.push(self, xhat, scale, over, dim, x.shape)
        y = xhat.reshape(x.shape)
        if self.weight is None:
            return y
        return ops.scale_shift(type(self).__name__, y, self.weight, self.bias, dim)

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        xhat, scale, over, dim, shape = tape.take(self)
        if self.weight is not None:
            gy, gweight, gbias = ops.scale_shift_grad(gy, xhat.reshape(shape), self.weight, dim)
            tape.add(self.weight, gweight)
            if self.bias is not None:
                tape.add(self.bias, gbias)
        gx = type(self).gradient(gy.reshape(xhat.shape), xhat, scale, over)
        return gx.reshape(shape)


class LayerNorm(SampleNormalization):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, over the last dimensions. Ba et al. 2016.

    Args:
        normalized_shape: the sizes of these dimensions; an int is the last one's.
        eps: added to the variance.
        elementwise_affine: whether there are a weight and a bias.
        bias: false leaves the bias alone out.

    Shapes:
        x (..., *normalized_shape) to y of the same shape.

    Attributes:
        weight, bias: of normalized_shape, at first 1 and 0, or None.

    Raises:
        ValueError: sizes that are not positive, or an input that ends in others.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        self.normalized_shape = _sizes(type(self).__name__, normalized_shape)
        self.eps = eps
        learned = elementwise_affine
        self.weight = parameter(torch.ones(self.normalized_shape)) if learned else None
        self.bias = parameter(torch.zeros(self.normalized_shape)) if learned and bias else None

    def grouped(self, x: Tensor) -> tuple[Tensor, tuple[int, ...], int]:
        return x, *_last(type(self).__name__, x, self.normalized_shape)

    def arguments(self) -> str:
        affine = "" if self.weight is not None else ", elementwise_affine=False"
        bias = ", bias=False" if self.weight is not None and self.bias is None else ""
        return f"{self.normalized_shape}, eps={self.eps}{affine}{bias}"


class LayerNorm2d(SampleNormalization):
    """Layer normalization of images, over the channels of each pixel, as in ConvNeXt and NAFNet.

    Args:
        num_channels: C.
        eps: added to the variance.

    Shapes:
        x (N, C, H, W) to y of the same shape.

    Attributes:
        weight, bias: (C,), at first 1 and 0.

    Raises:
        ValueError: another number of channels.
    """

    def __init__(self, num_channels: int, eps: float = 1e-5) -> None:
        check_positive("LayerNorm2d", num_channels=num_channels)
        self.eps = eps
        self.weight = parameter(torch.ones(num_channels))
        self.bias = parameter(torch.zeros(num_channels))

    def grouped(self, x: Tensor) -> tuple[Tensor, tuple[int, ...], int]:
        assert self.weight is not None
        _check_channels("LayerNorm2d", x, len(self.weight))
        return x, (1,), 1

    def arguments(self) -> str:
        assert self.weight is not None
        return f"{len(self.weight)}, eps={self.eps}"


class RMSNorm(SampleNormalization):
    """y = weight * x / sqrt(mean(x^2) + eps), over the last dimensions. Zhang and Sennrich 2019.

    Args:
        normalized_shape: the sizes of these dimensions; an int is the last one's.
        eps: added to the mean square; None is the dtype's smallest relative step.
        elementwise_affine: whether there is a weight.

    Shapes:
        x (..., *normalized_shape) to y of the same shape.

    Attributes:
        weight: of normalized_shape, at first 1, or None.

    Raises:
        ValueError: sizes that are not positive, or an input that ends in others.
    """

    normalize = staticmethod(ops.rms_normalize)
    gradient = staticmethod(ops.rms_normalize_grad)

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        self.normalized_shape = _sizes("RMSNorm", normalized_shape)
        self.eps = eps
        learned = elementwise_affine
        self.weight = parameter(torch.ones(self.normalized_shape)) if learned else None
        self.bias = None

    def grouped(self, x: Tensor) -> tuple[Tensor, tuple[int, ...], int]:
        return x, *_last("RMSNorm", x, self.normalized_shape)

    def arguments(self) -> str:
        affine = "" if self.weight is not None else ", elementwise_affine=False"
        return f"{self.normalized_shape}, eps={self.eps}{affine}"


class GroupNorm(SampleNormalization):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, over groups of channels. Wu and He 2018.

    Args:
        num_groups: G, which divides C; 1 normalizes each sample as a whole.
        num_channels: C.
        eps: added to the variance.
        affine: whether there are a weight and a bias.

    Shapes:
        x (N, C, ...) to y of the same shape.

    Attributes:
        weight, bias: (C,), at first 1 and 0, or None.

    Raises:
        ValueError: groups that don't divide the channels, or another number of channels.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        check_positive("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = parameter(torch.ones(num_channels)) if affine else None
        self.bias = parameter(torch.zeros(num_channels)) if affine else None

    def grouped(self, x: Tensor) -> tuple[Tensor, tuple[int, ...], int]:
        if x.dim() < 2 or x.shape[1] != self.num_channels:
            raise ValueError(
                f"GroupNorm: expected (N, {self.num_channels}, ...), got {tuple(x.shape)}"
            )
        return x.reshape(x.shape[0], self.num_groups, -1), (2,), 1

    def arguments(self) -> str:
        affine = "" if self.weight is not None else ", affine=False"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}{affine}"


class InstanceNorm2d(SampleNormalization):
    """y = weight * (x - mean) / sqrt(var + eps) + bias, over each channel of each image.

    With running statistics, which are averages over images and batches, evaluation normalizes by
    them instead. Ulyanov et al. 2016.

    Args:
        num_features: C, the channels.
        eps: added to the variance.
        momentum: weight of the newest batch in the running averages.
        affine: whether there are a weight and a bias.
        track_running_stats: whether there are running statistics.

    Shapes:
        x (N, C, H, W) to y of the same shape.

    Attributes:
        weight, bias: (C,), at first 1 and 0, or None.
        running_mean, running_var: (C,), or None; the variance is the unbiased one.
        num_batches_tracked: int64 scalar that stays 0, as in PyTorch, or None.

    Raises:
        ValueError: another number of channels; images of a single pixel, whose variance is 0.
    """

    buffers: ClassVar[tuple[str, ...]] = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
    ) -> None:
        check_positive("InstanceNorm2d", num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = parameter(torch.ones(num_features)) if affine else None
        self.bias = parameter(torch.zeros(num_features)) if affine else None
        self.running_mean = torch.zeros(num_features) if track_running_stats else None
        self.running_var = torch.ones(num_features) if track_running_stats else None
        self.num_batches_tracked = torch.tensor(0) if track_running_stats else None

    def grouped(self, x: Tensor) -> tuple[Tensor, tuple[int, ...], int]:
        if x.shape[2] * x.shape[3] == 1:
            raise ValueError(
                f"InstanceNorm2d: needs more than one pixel per image, got {tuple(x.shape)}"
            )
        return x, (2, 3), 1

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        _check_channels("InstanceNorm2d", x, self.num_features)
        if self.running_mean is None or self.running_var is None:
            return super().run(x, tape)
        if self.training:
            y = super().run(x, tape)
            values = x.to(self.running_mean.dtype)
            self.running_mean.lerp_(values.mean((2, 3)).mean(0), self.momentum)
            self.running_var.lerp_(values.var((2, 3)).mean(0), self.momentum)
            return y
        assert self.eps is not None
        scale = (self.running_var + self.eps).rsqrt()
        xhat = ops.normalize(x, self.running_mean, scale)
        tape.push(self, xhat, scale, None, 1, x.shape)
        if self.weight is None:
            return xhat
        return ops.scale_shift("InstanceNorm2d", xhat, self.weight, self.bias, 1)

    @staticmethod
    def gradient(
        gxhat: Tensor, xhat: Tensor, scale: Tensor, over: tuple[int, ...] | None
    ) -> Tensor:
        """dL/dx; over None is by running averages, which don't depend on x."""
        if over is None:
            return ops.normalize_fixed_grad(gxhat, scale)
        return ops.standardize_grad(gxhat, xhat, scale, over)

    def arguments(self) -> str:
        affine = ", affine=True" if self.weight is not None else ""
        tracking = ", track_running_stats=True" if self.running_mean is not None else ""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}{affine}{tracking}"


def _sizes(name: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"{name}: normalized_shape must be positive, got {normalized_shape!r}")
    return sizes


def _last(name: str, x: Tensor, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The last dimensions, which must be of these sizes, and the first of them."""
    check_float(name, "input", x)
    first = x.dim() - len(sizes)
    if first < 0 or x.shape[first:] != sizes:
        raise ValueError(f"{name}: expected an input that ends in {sizes}, got {tuple(x.shape)}")
    return tuple(range(first, x.dim())), first


def _check_channels(name: str, x: Tensor, channels: int) -> None:
    check_images(name, "input", x)
    if x.shape[1] != channels:
        raise ValueError(
            f"{name}: expected {channels} channels, got {x.shape[1]} (input is {tuple(x.shape)})"
        )

"""Mini-project 2: the course's framework and its denoiser, on `chainrule`'s reference ops.

The course allowed Tensor methods, `empty`, `cat`, `arange`, `fold`, `unfold` and the standard
library. The reference ops keep that rule, so everything here runs on them, whichever backend the
rest of the process uses. The layers take PyTorch's arguments; what they can't do, they refuse.

Importing this module turns PyTorch's autograd off for the whole thread: the course prescribed it.
`torch.set_grad_enabled(True)` turns it on again, and nothing here will mind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

import chainrule
from chainrule import use_backend
from chainrule.geometry import IntOrPair, Padding
from chainrule.optimizers import Parameters

try:
    from ..course_model import CourseModel
except ImportError:  # the folder above is on the path itself, and so is no package
    from course_model import CourseModel  # pyright: ignore[reportMissingImports]

torch.set_grad_enabled(False)

Kind = TypeVar("Kind")


def _on_reference(*methods: str) -> Callable[[type[Kind]], type[Kind]]:
    """Class decorator: these methods, and all that they call, run on the reference ops."""

    def decorate(kind: type[Kind]) -> type[Kind]:
        for name in methods:
            setattr(kind, name, _with_reference(getattr(kind, name)))
        return kind

    return decorate


def _with_reference(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def on_reference(*arguments: Any, **options: Any) -> Any:
        with use_backend("reference"):
            return method(*arguments, **options)

    return on_reference


@_on_reference("train", "predict")
class Model(CourseModel):
    """The denoiser of the shape that the course prescribed, for colour images; trained by Adam.

    Two convolutions of stride 2, two upsamplings (transposed convolutions, or nearest upsampling
    and a convolution), a ReLU between any two, a sigmoid at the end. The width is free.

    Example:
        >>> model = Model()
        >>> model.train(noisy, as_noisy, num_epochs=1)   # uint8 (50000, 3, 32, 32) each
        >>> model.predict(noisy[:10]).shape
        torch.Size([10, 3, 32, 32])
    """

    best = Path(__file__).resolve().with_name("bestmodel.pth")
    fallback = "zhao"
    learning_rate = 2e-3
    batch_size = 16


# -- the framework, with PyTorch's arguments -------------------------------------------------------


@_on_reference("run", "back")
class Module(chainrule.Module):
    """The base of the course's modules: a subclass has `forward`, `backward` and `param`.

    In a `Sequential` it runs between the others. A subclass may have `run` and `back` in their
    place, as all modules here (docs/your-own-layer.md).

    Example:
        >>> class Double(Module):
        ...     def forward(self, x):
        ...         return 2 * x
        ...     def backward(self, gy):
        ...         return 2 * gy
        >>> Sequential(Double(), ReLU())(torch.tensor([-1.0, 1.0]))
        tensor([0., 2.])
    """

    def run(self, *args: Any, **kwargs: Any) -> Any:
        *inputs, tape = args
        if type(self).forward is chainrule.Module.forward:
            return super().run(*args)
        y = self.forward(*inputs)
        tape.push(self)  # after it: what `forward` keeps in attributes is then this pass's
        return y

    def back(self, *args: Any, **kwargs: Any) -> Any:
        gy, tape = args
        tape.take(self)
        if type(self).backward is chainrule.Module.backward:
            raise NotImplementedError(f"{type(self).__name__} has a forward, but no backward")
        return self.backward(gy)


def _plain(kind: Any) -> Any:
    """A module of chainrule that takes PyTorch's arguments as it is."""
    derived = type(kind.__name__, (kind, Module), {"__doc__": kind.__doc__, "__module__": __name__})
    return _on_reference("run", "back")(derived)


AvgPool2d = _plain(chainrule.AvgPool2d)
BatchNorm2d = _plain(chainrule.BatchNorm2d)
CrossEntropyLoss = _plain(chainrule.CrossEntropyLoss)
Dropout = _plain(chainrule.Dropout)
Flatten = _plain(chainrule.Flatten)
Linear = _plain(chainrule.Linear)
MaxPool2d = _plain(chainrule.MaxPool2d)
Softmax = _plain(chainrule.Softmax)
Tanh = _plain(chainrule.Tanh)


@_on_reference("run", "back")
class Conv2d(chainrule.Conv2d, Module):
    """`chainrule.Conv2d` with the arguments of `torch.nn.Conv2d`.

    Raises:
        ValueError: a padding_mode other than "zeros", or as `chainrule.Conv2d`.
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
        padding_mode: str = "zeros",
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _require("Conv2d", "padding_mode", padding_mode, "zeros")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self.to(*_given(device, dtype))


@_on_reference("run", "back")
class ConvTranspose2d(chainrule.ConvTranspose2d, Module):
    """`chainrule.ConvTranspose2d` with the arguments of `torch.nn.ConvTranspose2d`.

    Also named `TransposeConv2d` and `Upsampling`.

    Raises:
        ValueError: a padding_mode other than "zeros", or as `chainrule.ConvTranspose2d`.
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
        padding_mode: str = "zeros",
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        _require("ConvTranspose2d", "padding_mode", padding_mode, "zeros")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            output_padding,
            groups,
            bias,
            dilation,
        )
        self.to(*_given(device, dtype))


TransposeConv2d = ConvTranspose2d
Upsampling = ConvTranspose2d


@_on_reference("run", "back")
class NearestUpsampling(chainrule.NearestUpsampling, Module):
    """`chainrule.NearestUpsampling`: repeats each pixel, `NearestUpsampling(scale_factor=2)`."""


class Upsample(NearestUpsampling):
    """Nearest upsampling with the arguments of `torch.nn.Upsample`.

    Args:
        scale_factor: a whole number (2 or 2.0), or two: (vertical, horizontal).

    Raises:
        TypeError: no scale_factor, or none that is whole.
        ValueError: a size, a mode other than "nearest", or align_corners; or a factor below 1.
    """

    def __init__(
        self,
        size: None = None,
        scale_factor: float | tuple[float, float] | None = None,
        mode: str = "nearest",
        align_corners: None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        if size is not None:
            raise ValueError(f"Upsample: size={size!r} is not supported; give a scale_factor")
        _require("Upsample", "mode", mode, "nearest")
        _require("Upsample", "align_corners", align_corners, None)
        super().__init__(_whole(scale_factor))


@_on_reference("run", "back")
class ReLU(chainrule.ReLU, Module):
    """`chainrule.ReLU` with the argument of `torch.nn.ReLU`.

    Raises:
        ValueError: inplace=True.
    """

    def __init__(self, inplace: bool = False) -> None:
        _require("ReLU", "inplace", inplace, False)


@_on_reference("run", "back")
class LeakyReLU(chainrule.LeakyReLU, Module):
    """`chainrule.LeakyReLU` with the arguments of `torch.nn.LeakyReLU`.

    Raises:
        ValueError: inplace=True, or a negative slope below 0.
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        _require("LeakyReLU", "inplace", inplace, False)
        super().__init__(negative_slope)


@_on_reference("run", "back")
class Sigmoid(chainrule.Sigmoid, Module):
    """`chainrule.Sigmoid`."""


@_on_reference("run", "back")
class Sequential(chainrule.Sequential, Module):
    """`chainrule.Sequential`: modules in order, or one mapping of names to modules."""

    def param(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The pairs of the modules' own `param`, which a module of the course's kind writes."""
        pairs = (pair for module in self for pair in module.param())
        return [*{id(pair[0]): pair for pair in pairs}.values()]


@_on_reference("run", "back")
class MSE(chainrule.MSE, Module):
    """`chainrule.MSE` with the arguments of `torch.nn.MSELoss`. Also named `MSELoss`.

    Raises:
        ValueError: size_average or reduce, which PyTorch has given up; or a reduction other than
            "mean", "sum" and "none".
    """

    def __init__(
        self, size_average: None = None, reduce: None = None, reduction: str = "mean"
    ) -> None:
        for name, value in (("size_average", size_average), ("reduce", reduce)):
            if value is not None:
                raise ValueError(f"MSE: {name} is not supported; write reduction={reduction!r}")
        super().__init__(reduction)


MSELoss = MSE


@_on_reference("step")
class SGD(chainrule.SGD):
    """`chainrule.SGD` with the arguments of `torch.optim.SGD`.

    Args:
        params: what `Module.param()` or `Module.parameters()` gives.
        foreach, fused: ways to compute the same, which this one has no use for.

    Raises:
        ValueError: maximize or differentiable, or as `chainrule.SGD`.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        _require("SGD", "maximize", maximize, False)
        _require("SGD", "differentiable", differentiable, False)
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov)


@_on_reference("step")
class Adam(chainrule.Adam):
    """`chainrule.Adam` with the arguments of `torch.optim.Adam`.

    Args:
        params: what `Module.param()` or `Module.parameters()` gives.
        foreach, capturable, fused: ways to compute the same, which this one has no use for.

    Raises:
        ValueError: amsgrad, maximize, differentiable or decoupled_weight_decay (which is
            `chainrule.AdamW`), or as `chainrule.Adam`.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        _require("Adam", "amsgrad", amsgrad, False)
        _require("Adam", "maximize", maximize, False)
        _require("Adam", "differentiable", differentiable, False)
        _require("Adam", "decoupled_weight_decay", decoupled_weight_decay, False)
        super().__init__(params, lr, betas, eps, weight_decay)


def _require(layer: str, name: str, value: object, only: object) -> None:
    if value != only:
        raise ValueError(f"{layer}: {name}={value!r} is not supported; leave it at {only!r}")


def _given(*targets: Any) -> list[Any]:
    return [target for target in targets if target is not None]


def _whole(factor: Any) -> Any:
    """The factor with whole floats as ints: PyTorch takes 2.0 for 2."""
    if isinstance(factor, tuple | list):
        return tuple(_whole(one) for one in factor)
    return int(factor) if isinstance(factor, float) and factor.is_integer() else factor

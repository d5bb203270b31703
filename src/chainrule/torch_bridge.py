"""The one door to autograd: a module of ours as a `torch.nn.Module`.

Its forward pass is our `run`, its gradient our `back`; autograd only passes them on. No other file
of the package may know of `torch.nn` or autograd.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from chainrule.module import Module, as_tuple

# Backward passes borrow `.grad` of our parameters, and autograd may call several at once.
_BORROWED = threading.Lock()


class TorchModule(nn.Module):
    """A chainrule module that PyTorch takes for one of its own; see `as_torch`.

    Attributes:
        source: the chainrule module. Its parameters are the memory of these ones.
    """

    def __init__(self, source: Module, known: dict[int, Any]) -> None:
        super().__init__()
        self.source = source
        self.training = source.training
        for name, value in vars(source).items():
            if not isinstance(value, Tensor):
                continue
            # Not register_buffer and the like, which refuse names that are methods, as "half".
            if name in source.buffers:
                self._buffers[name] = value
            else:
                self._parameters[name] = _shared(value, source.frozen, known)
        for name, child in source.named_children():
            if id(child) not in known:
                known[id(child)] = TorchModule(child, known)
            _put(self, name, known[id(child)])

    def forward(self, *inputs: Tensor) -> Any:
        """What the chainrule module computes, as a part of autograd's graph.

        Raises:
            RuntimeError: in a replica of `DataParallel`; use `DistributedDataParallel`.
            TypeError, ValueError: as the chainrule module.
        """
        if getattr(self, "_is_replica", False):
            raise RuntimeError(
                "a chainrule module can't be replicated by DataParallel, whose threads would share "
                "it; use DistributedDataParallel"
            )
        device = inputs[0].device.type if inputs and isinstance(inputs[0], Tensor) else "cpu"
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._pass(*map(self._converted, inputs))
        return self._pass(*inputs)

    def train(self, mode: bool = True) -> TorchModule:
        super().train(mode)
        self.source.training = mode
        return self

    def extra_repr(self) -> str:
        return self.source.arguments()

    def _get_name(self) -> str:
        return type(self.source).__name__

    def _pass(self, *inputs: Tensor) -> Any:
        parameters, ours = self._tied()
        followed = any(x.requires_grad for x in (*inputs, *parameters) if isinstance(x, Tensor))
        try:
            if not (followed and torch.is_grad_enabled()):
                return self.source.infer(*inputs)
            return _Pass.apply(self.source, ours, len(inputs), *inputs, *parameters)
        finally:
            self._take_buffers()

    def _tied(self) -> tuple[list[nn.Parameter], list[Tensor]]:
        """The parameters here, each once, and the source's, which have their memory and versions.

        They part when PyTorch converts or replaces those here, and after a copy.
        """
        own: dict[nn.Parameter, Tensor] = {}
        for mirror in self._mirrors():
            source, parameters = mirror.source, cast("dict[str, nn.Parameter]", mirror._parameters)
            for name, theirs in parameters.items():
                if theirs not in own:
                    own[theirs] = _tied_to(theirs, vars(source)[name])
                setattr(source, name, own[theirs])
            for name, buffer in mirror._buffers.items():
                setattr(source, name, buffer)
            frozen = bool(parameters) and not any(p.requires_grad for p in parameters.values())
            if frozen != source.frozen:
                source.freeze(frozen)
        return [*own], [*own.values()]

    def _take_buffers(self) -> None:
        """Those that the pass replaced."""
        for mirror in self._mirrors():
            for name in mirror._buffers:
                mirror._buffers[name] = vars(mirror.source)[name]

    def _mirrors(self) -> Iterator[TorchModule]:
        return (each for each in self.modules() if isinstance(each, TorchModule))

    def _converted(self, x: Tensor) -> Tensor:
        dtypes = (value.dtype for value in self.parameters() if value.is_floating_point())
        return x.to(next(dtypes, torch.float32)) if x.is_floating_point() else x


class _Pass(torch.autograd.Function):
    """One pass of a module: its inputs and parameters go in, its outputs come out."""

    @staticmethod
    def forward(
        ctx: Any, source: Module, parameters: list[Tensor], count: int, *tensors: Tensor
    ) -> Any:
        y, ctx.back = source.pullback(*tensors[:count])
        ctx.parameters, ctx.count = parameters, count
        ctx.places = [
            place
            for place, x in enumerate(tensors[:count])
            if x.is_floating_point() and place not in source.constants
        ]
        ctx.returns_tuple = isinstance(y, tuple)
        ctx.floating = [each.is_floating_point() for each in as_tuple(y)]
        ctx.mark_non_differentiable(*(x for x in as_tuple(y) if not x.is_floating_point()))
        return y

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> Any:
        gy = tuple(
            each if known else None for each, known in zip(gradients, ctx.floating, strict=True)
        )
        wanted = any(ctx.needs_input_grad[3 : 3 + ctx.count])
        with _BORROWED:
            kept = [value.grad for value in ctx.parameters]
            try:
                for value in ctx.parameters:
                    value.grad = None
                with torch.autocast(gradients[0].device.type, enabled=False):  # as forward ran
                    gx = ctx.back(gy if ctx.returns_tuple else gy[0], input_gradient=wanted)
                found = [value.grad for value in ctx.parameters]
            finally:
                for value, gradient in zip(ctx.parameters, kept, strict=True):
                    value.grad = gradient
        if not isinstance(gx, tuple):
            gx = tuple(gx if place in ctx.places[:1] else None for place in range(ctx.count))
        return None, None, None, *gx, *found


def as_torch(module: Module) -> TorchModule:
    """The module as a `torch.nn.Module`: for PyTorch's losses, containers, hooks, data parallelism.

    Its gradient is our backward pass. Names and values of its state dict are ours, and so is the
    memory: a step of an optimizer over its parameters is a step of `module`. What is done to the
    parameters (`requires_grad_(False)`, `.to(...)`, `load_state_dict`) is done to `module` at the
    next pass, `train` and `eval` at once.

    Under `torch.autocast` it computes in its parameters' dtype, as PyTorch does with operations
    that it has no rule for. There is no second derivative.

    Args:
        module: any module, a loss too.

    Raises:
        TypeError: it is no chainrule module.

    Example:
        >>> model = as_torch(Sequential(Conv2d(3, 8, 3), ReLU()))
        >>> x, target = torch.rand(1, 3, 8, 8), torch.rand(1, 8, 6, 6)
        >>> torch.nn.functional.mse_loss(model(x), target).backward()
        >>> [name for name, value in model.named_parameters() if value.grad is not None]
        ['0.weight', '0.bias']
    """
    if not isinstance(module, Module):
        raise TypeError(f"as_torch: expected a chainrule module, got {type(module).__name__}")
    return TorchModule(module, {})


def _shared(value: Tensor, frozen: bool, known: dict[int, Any]) -> nn.Parameter:
    if id(value) not in known:
        learns = value.is_floating_point() and not frozen
        known[id(value)] = nn.Parameter(value.detach(), requires_grad=learns)
    return known[id(value)]


def _tied_to(theirs: nn.Parameter, ours: Tensor) -> Tensor:
    if theirs.data_ptr() == ours.data_ptr() and theirs.dtype == ours.dtype:
        return ours
    return theirs.detach()


def _put(owner: nn.Module, name: str, child: nn.Module) -> None:
    """The child at the end of the way that its name describes."""
    first, _, rest = name.partition(".")
    if not rest:
        owner._modules[first] = child
        return
    _put(cast("nn.Module", owner._modules.setdefault(first, nn.Module())), rest, child)

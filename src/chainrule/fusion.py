"""Fusion: layers that follow each other, computed as one, so that nothing is written between them.

    [NearestUpsampling] + Conv2d + [ReLU, LeakyReLU or Sigmoid]
    ConvTranspose2d + [ReLU, LeakyReLU or Sigmoid]

becomes a single step. The bias and the activation are applied where the convolution stores its
result; the activation's gradient where the convolution's gradients read theirs; and the enlarged
image is never made (docs/kernels.md#upsampling). Same parameters, same names, same numbers within
rounding.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor

from chainrule import ops
from chainrule.backends.block import ACTIVATIONS, Block, Epilogue
from chainrule.containers import Sequential, steps_of
from chainrule.layers import activation as activations
from chainrule.layers.activation import Activation
from chainrule.layers.convolution import Conv2d, Convolution, ConvTranspose2d
from chainrule.layers.resampling import NearestUpsampling
from chainrule.module import Module, Tape

# Those that the kernels apply where they store a result.
_ACTIVATIONS = {getattr(activations, one.layer) for one in ACTIVATIONS.values() if one.kernel}


class FusedConvolution(Module):
    """[Nearest upsampling,] convolution [and activation] as one step of a Sequential.

    Its layers stay where they are in the model, with their parameters and names.

    Args:
        layer: the convolution, transposed or not.
        upsampling: what stands before it; only before a Conv2d of stride 1, dilation 1 and one
            group.
        activation: what stands after it.
    """

    def __init__(
        self,
        layer: Convolution,
        upsampling: NearestUpsampling | None = None,
        activation: Activation | None = None,
    ) -> None:
        self.layer, self.upsampling, self.activation = layer, upsampling, activation
        self._block = _block(layer, upsampling, activation)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        y = ops.block(x, self.layer.weight, self.layer.bias, self._block)
        tape.push(self.layer, x, None if self.activation is None else y)
        return y

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        x, y = tape.take(self.layer)
        return self.layer.gradients(x, gy, gy if y is None else y, self._block, tape)

    def merged(self) -> list[Module]:
        """The layers that this step computes, in their order."""
        return [one for one in (self.upsampling, self.layer, self.activation) if one is not None]

    def arguments(self) -> str:
        return " + ".join(type(one).__name__ for one in self.merged())


def fuse(model: Module) -> Module:
    """The same model with neighbouring layers of every `Sequential` merged where they can be.

    The containers are new; the layers, and so the parameters, are the model's own: training one
    trains the other. A model that has been fused already comes out the same. Summaries name what
    was merged.

    Example:
        >>> [type(step).__name__ for step in fuse(Sequential(Conv2d(3, 8, 3), ReLU())).steps]
        ['FusedConvolution']
    """
    return _fused(model, {})


def _fused(value: Any, done: dict[int, Module]) -> Any:
    """`value` with every container in it replaced; a module met twice stays one."""
    if isinstance(value, dict):
        return {name: _fused(item, done) for name, item in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(_fused(item, done) for item in value)
    if not isinstance(value, Module) or not any(True for _ in value.named_children()):
        return value
    if id(value) not in done:
        twin = done[id(value)] = copy.copy(value)
        for name, item in [*vars(twin).items()]:
            setattr(twin, name, _fused(item, done))
        if isinstance(twin, Sequential):
            twin.steps = _merged(steps_of(twin))
    return done[id(value)]


def _merged(modules: list[Module]) -> list[Module]:
    steps: list[Module] = []
    while modules:
        taken, step = _next_step(modules)
        steps.append(step)
        modules = modules[taken:]
    return steps


def _next_step(modules: list[Module]) -> tuple[int, Module]:
    """How many of the first modules become one step, and that step."""
    upsampling = modules[0] if type(modules[0]) is NearestUpsampling else None
    at = 0 if upsampling is None else 1
    layer = modules[at] if at < len(modules) else None
    if type(layer) is not Conv2d and (upsampling or type(layer) is not ConvTranspose2d):
        return 1, modules[0]
    assert isinstance(layer, Convolution)
    if upsampling and (layer.stride, layer.dilation, layer.groups) != ((1, 1), (1, 1), 1):
        return 1, modules[0]
    after = modules[at + 1] if at + 1 < len(modules) else None
    activation = after if isinstance(after, Activation) and type(after) in _ACTIVATIONS else None
    if upsampling is None and activation is None:
        return 1, layer
    step = FusedConvolution(layer, upsampling, activation)
    return len(step.merged()), step


def _block(
    layer: Convolution, upsampling: NearestUpsampling | None, activation: Activation | None
) -> Block:
    return layer.block._replace(
        scale=(1, 1) if upsampling is None else upsampling.scale_factor,
        epilogue=Epilogue() if activation is None else activation.epilogue,
    )

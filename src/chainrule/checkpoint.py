"""Activation checkpointing: memory for time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from chainrule.module import Module, Tape


class Checkpoint(Module):
    """y = f(x), of which only x is kept: the backward pass computes f's activations again.

    In a network of n such parts of equal size the tape holds their n inputs and the activations of
    one part, in place of all. The price is one more forward pass. Chen et al. 2016, "Training deep
    nets with sublinear memory cost"; docs/gradients.md#checkpoints.

    The second run draws the same random numbers as the first, and leaves the running statistics of
    normalizations, and the generators, as if there had been one.

    Args:
        inner: any module; of several inputs and outputs too.

    Example:
        >>> part = Sequential(Conv2d(8, 8, 3, padding=1), GELU(), Conv2d(8, 8, 3, padding=1))
        >>> for model in (Sequential(part, part), Sequential(Checkpoint(part), Checkpoint(part))):
        ...     print(str(summary(model, (1, 8, 64, 64))).splitlines()[-1])
        memory: training 777.1 KiB, inference 388.6 KiB
        memory: training 521.1 KiB (256.0 KiB less by checkpoints), inference 516.6 KiB
    """

    def __init__(self, inner: Module) -> None:
        self.inner = inner

    def run(self, *arguments: Any) -> Any:
        *inputs, tape = arguments
        del arguments
        generators = _generators(inputs[0].device) if tape.keep else {}
        y = self.inner.run(*inputs, tape.forgetful())
        tape.push_whole(self, *inputs, generators)
        return y

    def back(self, gy: Any, tape: Tape) -> Any:
        *inputs, generators = tape.take(self)
        with _again(self.inner, generators):
            self.inner.run(*inputs, tape)
        del inputs
        gx = self.inner.back(gy, tape)
        return tape.check_missing(self.inner) if gx is None else gx


_States = dict[torch.device, Tensor]


def _generators(device: torch.device) -> _States:
    """The state of what draws random numbers for tensors of this device."""
    states = {torch.device("cpu"): torch.get_rng_state()}
    if device.type == "cuda":
        states[device] = torch.cuda.get_rng_state(device)
    return states


@contextlib.contextmanager
def _again(module: Module, generators: _States) -> Iterator[None]:
    """While `module` runs a second time: the same draws, and no second update of its buffers."""
    buffers = [
        (each, name, value)
        for each in {id(each): each for _, each in module.named_modules()}.values()
        for name, value in vars(each).items()
        if name in each.buffers and isinstance(value, Tensor)
    ]
    devices = [device for device in generators if device.type == "cuda"]
    with torch.random.fork_rng(devices):
        for device, state in generators.items():
            if device.type == "cuda":
                torch.cuda.set_rng_state(state, device)
            else:
                torch.set_rng_state(state)
        for owner, name, value in buffers:
            setattr(owner, name, value.clone())
        try:
            yield
        finally:
            for owner, name, value in buffers:
                setattr(owner, name, value)

"""A step without Python: what one call computed is recorded, and runs again with other values.

    gradients = capture(function, x, y)
    loss = gradients(x, y)                  # the same numbers as function(x, y), to the bit

Between the kernels of a small network Python takes a good part of the time, to check shapes that
were checked before and to keep a tape of layers that are the same each time. A recorded call is the
list of its kernels, with the memory that they read and write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chainrule import ops
from chainrule.backends import backend, winograd
from chainrule.backends.graphs import graphed
from chainrule.backends.replay import Calls, CaptureError, recording
from chainrule.backends.settings import threads

__all__ = ["CaptureError", "Captured", "capture"]


def capture(function: Callable[..., Any], *inputs: Tensor) -> Captured:
    """Record what `function(*inputs)` computes, to compute it again with inputs of the same shapes.

    The function runs once, on copies of the inputs, and what it changes is changed. It may run
    passes forward and backward, add to gradients and set them to zero, and draw random numbers.
    What it must not do: read a value, as `float(loss)` does, for Python's decisions aren't
    recorded; step an optimizer, whose rates and counts of steps Python keeps; or make gradients,
    which are there unless they were set to None.

    On a CUDA device the call becomes a CUDA graph, for which the function is called twice: kernels
    are compiled the first time, and recorded the second, when they compute nothing.

    Args:
        function: of tensors; returns a tensor or a tuple of them.
        inputs: tensors as those that will come: shapes, strides, dtypes.

    Raises:
        CaptureError: the function does what can't be recorded, or the inputs are on a device that
            records nothing; the message says what.
        TypeError: an input is no tensor, or the function returns something else.

    Example:
        >>> layer = chainrule.Conv2d(1, 1, 3)
        >>> double = chainrule.capture(lambda x: 2 * layer.infer(x), torch.zeros(1, 1, 8, 8))
        >>> x = torch.rand(1, 1, 8, 8)
        >>> torch.equal(double(x), 2 * layer.infer(x))
        True
    """
    for x in inputs:
        if not isinstance(x, Tensor):
            raise TypeError(f"capture: expected the inputs to be tensors, got {type(x).__name__}")
    own = tuple(_copy(x) for x in inputs)
    with torch.no_grad():
        for x in own:
            if x.device.type not in ("cpu", "cuda"):
                raise CaptureError(
                    f"no call on {x.device} can be recorded, but on the CPU and on CUDA devices; "
                    "call the function itself"
                )
        if any(x.is_cuda for x in own):
            calls, outputs = graphed(function, own)
            return Captured(own, outputs, calls)
        with recording() as calls:
            outputs = function(*own)
    return Captured(own, outputs, calls)


class Captured:
    """A recorded call: `captured(*inputs)` computes what the function would.

    One thread at a time: calls share the memory between inputs and outputs.

    Attributes:
        inputs: the tensors that it reads; who fills them, `captured.inputs[0][:] = batch`, may
            hand them over without a copy.
        outputs: what the function returned when it was recorded. The next call writes over it.
    """

    def __init__(self, inputs: tuple[Tensor, ...], outputs: Any, calls: Calls) -> None:
        self.inputs, self.outputs = inputs, outputs
        self._outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for y in self._outputs:
            if not isinstance(y, Tensor):
                raise TypeError(
                    "capture: the function must return a tensor or a tuple of them, got "
                    f"{type(y).__name__}"
                )
        self._single = not isinstance(outputs, tuple)
        self._calls = calls
        self._conditions = _conditions()
        self._held = [*_held_by(calls)]

    def __call__(self, *inputs: Tensor) -> Any:
        """The outputs for these inputs, in memory of their own.

        Raises:
            CaptureError: another number, shape, layout or dtype of inputs; a parameter was
                replaced, its gradient set to None, or a layer frozen or set to another mode; or
                threads, backend or Winograd's algorithm were set otherwise since.
        """
        self._check(inputs)
        with torch.no_grad():
            for own, x in zip(self.inputs, inputs, strict=True):
                if x is not own:
                    ops.copy(own, x)
            for call in self._calls.list:
                call()
            outputs = tuple([_copy(y) for y in self._outputs])
        return outputs[0] if self._single else outputs

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps for what lies between inputs and outputs, these included."""
        return self._calls.nbytes

    def __len__(self) -> int:
        """How many kernels and operations of PyTorch it runs."""
        return len(self._calls.list)

    def _check(self, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs) != len(self.inputs):
            raise CaptureError(
                f"this call was recorded with {len(self.inputs)} inputs, and got {len(inputs)}"
            )
        for own, x in zip(self.inputs, inputs, strict=True):
            if x.shape != own.shape or x.dtype != own.dtype or x.device != own.device:
                raise CaptureError(
                    f"this call was recorded with an input of shape {tuple(own.shape)}, "
                    f"{own.dtype} on {own.device}, and got {tuple(x.shape)}, {x.dtype} on "
                    f"{x.device}; capture another"
                )
        if _conditions() != self._conditions:
            raise CaptureError(
                f"this call was recorded with {self._conditions}, and it is {_conditions()} now; "
                "capture it again"
            )
        for held in self._held:
            held.check()


class _Conditions(NamedTuple):
    """What results depend on besides the inputs."""

    backend: str
    threads: int
    winograd: bool

    def __str__(self) -> str:
        with_or_without = "with" if self.winograd else "without"
        return (
            f"the {self.backend} backend, {self.threads} threads and {with_or_without} Winograd's "
            "algorithm"
        )


def _conditions() -> _Conditions:
    return _Conditions(backend(), threads(), winograd())


class _Held(NamedTuple):
    """A module's attribute that a recorded call reads or writes, as it was."""

    place: str
    attributes: dict[str, Any]
    name: str
    value: Tensor
    address: int
    gradient: Tensor | None

    def check(self) -> None:
        value = self.value
        if self.attributes.get(self.name) is not value or value.data_ptr() != self.address:
            self._refuse("was replaced")
        if value.grad is not self.gradient:
            self._refuse("has another gradient, or none")

    def _refuse(self, what: str) -> None:
        raise CaptureError(
            f"{self.place} {what} since this call was recorded; change values in place, with "
            "zero_grad() and load_state_dict(), or capture it again"
        )


class _Mode(NamedTuple):
    """A module's mode, as it was."""

    place: str
    module: Any
    training: bool
    frozen: bool

    def check(self) -> None:
        module = self.module
        if module.training is not self.training or module.frozen is not self.frozen:
            raise CaptureError(
                f"{self.place or type(module).__name__} was frozen, thawed, or set to another mode "
                "since this call was recorded; capture it again"
            )


def _held_by(calls: Calls) -> Any:
    seen: set[int] = set()
    for root in calls.roots.values():
        for place, module in root.named_modules():
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield _Mode(place, module, module.training, module.frozen)
            for name, value in vars(module).items():
                if isinstance(value, Tensor):
                    full = f"{place}.{name}" if place else name
                    yield _Held(full, vars(module), name, value, value.data_ptr(), value.grad)


def _copy(x: Tensor) -> Tensor:
    """x in memory of its own, dense and of the same order."""
    copy = torch.empty_like(x, memory_format=torch.preserve_format)
    ops.copy(copy, x)
    return copy

"""What a recorded call computed, as a list of kernels and PyTorch's operations to run again.

    with recording() as calls:
        ...                     # computes as ever, here and in this thread
    for call in calls.list:
        call()

Nothing is allocated anew: each call writes where it wrote the first time, so `calls` owns all that
lies between what goes in and what comes out.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from chainrule.backends.table import REFERENCE, Ops, around

_calls: ContextVar[Calls | None] = ContextVar("chainrule_calls", default=None)


class CaptureError(RuntimeError):
    """A call can't be recorded, or not be run again as it was recorded."""


class Calls:
    """What ran, in order, and the memory that it wrote.

    Attributes:
        list: functions without arguments; called in order they compute all of it again.
        owned: what keeps that memory.
        roots: the modules whose passes ran.
    """

    def __init__(self) -> None:
        self.list: list[Callable[[], object]] = []
        self.owned: list[Any] = []
        self.roots: dict[int, Any] = {}
        self.looks = False  # a check is at work, which doesn't compute anything

    @property
    def nbytes(self) -> int:
        """Bytes of that memory: of kernels the most that was in use at once."""
        return sum(each.nbytes for each in self.owned)


def recorded() -> Calls | None:
    """The recording that runs in this context, if one does."""
    return _calls.get()


def refuse(sentence: str) -> None:
    """Raise CaptureError if a call is being recorded that would not repeat what happens now."""
    if _calls.get() is not None:
        raise CaptureError(sentence)


def check_again(check: Callable[[], object]) -> None:
    """Run a check, which reads values and raises or not; a call that is being recorded repeats it
    each time, before what is recorded next."""
    calls = _calls.get()
    if calls is None:
        check()
        return
    calls.looks = True
    try:
        check()
    finally:
        calls.looks = False
    calls.list.append(check)


@contextmanager
def recording() -> Iterator[Calls]:
    """Record what is computed meanwhile, in this thread.

    Raises:
        CaptureError: something ran that can't be run again: a value was read, or a backend that is
            not ours computed.
    """
    calls = Calls()
    with noting(calls), around(partial(_recorded, calls)), _Operations(calls):
        yield calls


@contextmanager
def noting(calls: Calls) -> Iterator[None]:
    """Whoever asks `recorded` or calls `refuse` meanwhile, in this thread, meets this recording."""
    refuse("a call that is being recorded can't record another one")
    token = _calls.set(calls)
    try:
        yield
    finally:
        _calls.reset(token)


def _recorded(calls: Calls, ops: Ops) -> Ops:
    """These ops, but their kernels tell `calls`."""
    if ops is REFERENCE.ops:  # all of it is PyTorch's operations, which are met by themselves
        return ops
    if ops.name != "native":
        return Ops(ops.name, _Unseen(ops.name))
    return Ops("native", _native_through(_Kernels(calls)))


class _Unseen:
    """A backend whose kernels nobody notes; it may be there, as long as it computes nothing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, op: str) -> Callable[..., Any]:
        def unseen(*_: Any, **__: Any) -> Any:
            raise CaptureError(
                f"the backend {self._name!r} computes unseen; only ours can be recorded"
            )

        return unseen


def _native_through(kernels: _Kernels) -> SimpleNamespace:
    """The binding to the kernels once more, its functions calling these."""
    importlib.import_module("chainrule.backends.native")
    modules = [
        module
        for name, module in [*sys.modules.items()]
        if name == _BINDING or name.startswith(f"{_BINDING}.")
    ]
    others: dict[str, Any] = {name: getattr(kernels, name) for name in _OTHERS}
    spaces = {module.__name__: {**vars(module), **others, "kernels": kernels} for module in modules}
    again: dict[int, FunctionType] = {}
    for module in modules:
        for name, value in vars(module).items():
            space = spaces.get(getattr(value, "__module__", ""))
            if isinstance(value, FunctionType) and space is not None and name not in _OTHERS:
                again[id(value)] = twin = FunctionType(
                    value.__code__, space, value.__name__, value.__defaults__, value.__closure__
                )
                twin.__kwdefaults__ = value.__kwdefaults__
    for space in spaces.values():
        space.update({name: again.get(id(value), value) for name, value in space.items()})
    return SimpleNamespace(**spaces[_BINDING])


_BINDING = "chainrule.backends.native"
_OTHERS = ("as_tensor", "fresh", "fresh_like")
"""What the binding does otherwise while it is recorded: methods of `_Kernels`."""


class _Kernels:
    """`chainrule._native`, whose functions are noted when they are called."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        calls.owned.append(self)
        self._native: Any = importlib.import_module("chainrule._native")
        self._arena = self._native.Arena()

    def __getattr__(self, name: str) -> Any:
        kernel = getattr(self._native, name)
        if isinstance(kernel, type):  # what stands between Python and the kernels: no work
            return kernel

        def run(*arguments: Any) -> Any:
            value = kernel(*arguments)
            if value is not None:
                raise CaptureError(f"the kernel {name} returns a value to Python")
            self._calls.list.append(partial(kernel, *_borrowed(arguments)))

        return run

    def empty(self, *shape: int) -> Tensor:
        return self._arena.empty(*shape)

    def fresh(self, beside: Tensor, *shape: int) -> Tensor:
        """A dense tensor of the arena's memory."""
        return self.empty(1, 1, 1, math.prod(shape)).view(shape)

    def fresh_like(self, x: Tensor) -> Tensor:
        """The same, with x's sizes and strides."""
        return self.fresh(x, x.numel()).as_strided(x.shape, x.stride())

    @property
    def nbytes(self) -> int:
        return int(self._arena.bytes)

    def as_tensor(self, name: str, *arguments: Any) -> Tensor:
        """What a kernel returns, as a scalar tensor."""
        kernel = getattr(self._native, name)
        value = torch.tensor(kernel(*arguments), dtype=torch.float32)
        addresses = _borrowed(arguments)
        self._calls.list.append(lambda: value.fill_(kernel(*addresses)))
        self._calls.owned.append(value)
        return value


def _borrowed(arguments: tuple[Any, ...]) -> list[Any]:
    """The arguments without their tensors, so that what isn't needed any more is used again."""
    return [x.borrowed() if hasattr(x, "borrowed") else x for x in arguments]


class _Operations(TorchDispatchMode):
    """PyTorch's operations, below everything that is made of them."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        computes = func.namespace == "aten" and func.__name__ not in _CONSTANT
        if self._calls.looks or func.is_view or not computes:
            return func(*args, **kwargs)
        if torch.Tag.data_dependent_output in func.tags:
            raise CaptureError(
                f"{func} reads a value, and what follows might depend on it; return the tensor and "
                "read it outside of the recorded call"
            )
        if torch.Tag.dynamic_output_shape in func.tags:
            raise CaptureError(f"the shape of what {func} returns depends on values")
        made = func(*args, **kwargs)
        results = [each for each in _flat(made) if isinstance(each, Tensor)]
        self._calls.owned += results
        if func.__name__.startswith("empty") or func.__name__.startswith("new_empty"):
            return made
        if func._schema.is_mutable:
            self._calls.list.append(partial(func, *args, **kwargs))
        elif len(results) == len(_flat(made)):
            self._calls.list.append(partial(_again, func, args, kwargs, results))
        else:
            raise CaptureError(f"{func} returns something else than tensors")
        return made


_CONSTANT = {"lift_fresh.default"}
"""What makes a tensor of numbers that Python has: they don't change."""


def _again(func: Any, args: Any, kwargs: Any, results: list[Tensor]) -> None:
    for result, made in zip(results, _flat(func(*args, **kwargs)), strict=True):
        result.copy_(made)


def _flat(made: Any) -> list[Any]:
    return [*made] if isinstance(made, tuple | list) else [made]

"""Which op computes in which type, while `autocast` is on: the table, and what applies it.

    in the low type     convolutions, linear layers, attention: products, which are most of the work
    in float32          normalization, softmax, losses, recurrences, pooled means: sums
    in the wider one    whatever joins two tensors, such as `add` and the gradients

Everything else computes in the type that it gets. float64 is never touched.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

_LOW = {"attention", "block", "conv2d", "conv_transpose2d", "linear"}
_FLOAT32 = {
    *("absolute_error", "absolute_errors", "charbonnier_error", "charbonnier_errors"),
    *("huber_error", "huber_errors", "power_error", "power_errors"),
    *("image_error", "image_errors", "squared_error", "squared_errors"),
    *("binary_cross_entropy", "cross_entropy", "soft_cross_entropy", "softmax", "softplus"),
    *("affine", "channel_statistics", "normalize", "normalize_fixed", "rms_normalize"),
    *("scale_shift", "standardize"),
    *("adaptive_avg_pool2d", "avg_pool2d", "gru", "lstm"),
    *("piecewise_linear", "piecewise_linear_inverse"),
}
"""Gradients go with what they are gradients of."""

_JOINING = {"add", "concatenate", "multiply", "shift"}
_GRADIENT = re.compile("(_input|_weight|_parameter)?_grads?$")

_low: ContextVar[torch.dtype | None] = ContextVar("chainrule_autocast", default=None)
_open = 0  # contexts anywhere: while there are none, ops don't ask
_counting = threading.Lock()


@contextmanager
def autocast(dtype: torch.dtype | None = torch.bfloat16) -> Iterator[None]:
    """`with autocast(torch.bfloat16): ...` computes products in a type of half the size, the rest
    as exactly as before, here and nowhere else.

    Convolutions, linear layers and attention take their inputs and weights in `dtype` and return
    it; normalization, softmax, losses and recurrences compute in float32. Weights and gradients
    stay what they are, float32: nothing of the model changes. A backward pass computes as its
    forward pass did, wherever it is called. As with `use_backend` the choice holds in this thread.

    bfloat16 has the range of float32. float16 hasn't: small gradients vanish, unless the loss is
    multiplied before; see `LossScaler`.

    Args:
        dtype: torch.bfloat16 or torch.float16; None or torch.float32 for nothing of this.

    Raises:
        ValueError: another dtype.

    Example:
        >>> layer = chainrule.Conv2d(1, 2, 3)
        >>> with chainrule.autocast(torch.bfloat16):
        ...     y = layer.forward(torch.rand(1, 1, 8, 8))
        >>> gx = layer.backward(torch.ones_like(y))
        >>> y.dtype, gx.dtype, layer.weight.grad.dtype
        (torch.bfloat16, torch.float32, torch.float32)
    """
    if dtype not in (torch.bfloat16, torch.float16, torch.float32, None):
        raise ValueError(f"autocast: choose torch.bfloat16 or torch.float16, got {dtype}")
    with casting_to(None if dtype == torch.float32 else dtype):
        yield


@contextmanager
def casting_to(dtype: torch.dtype | None) -> Iterator[None]:
    """`autocast` without its checks."""
    global _open
    with _counting:
        _open += 1
    token = _low.set(dtype)
    try:
        yield
    finally:
        _low.reset(token)
        with _counting:
            _open -= 1


def casting() -> torch.dtype | None:
    """The low type of this context, or None."""
    return _low.get() if _open else None


def castable(op: Callable[..., Any]) -> Callable[..., Any]:
    """The op, which takes its tensors in the type that the table says."""
    name = op.__name__
    wanted = _wanted_by(name)
    if wanted is None:
        return op

    @functools.wraps(op)
    def run(*args: Any, **kwargs: Any) -> Any:
        low = _low.get() if _open else None
        if low is None:
            return op(*args, **kwargs)
        tensors = [*_tensors((*args, *kwargs.values()))]
        dtype = wanted(low, tensors)
        own = (torch.float32, low)
        return op(
            *(_cast(value, dtype, own) for value in args),
            **{key: _cast(value, dtype, own) for key, value in kwargs.items()},
        )

    return run


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which gets its tensors in float32 while `autocast` is on, and whose ops compute
    in the type that they get: for a `run` or `back` with sums that it makes itself."""

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        low = casting()
        if low is None:
            return function(*args)
        with casting_to(None):
            return function(*(_cast(value, torch.float32, (low,)) for value in args))

    return run


_Wanted = Callable[[torch.dtype, list[Tensor]], torch.dtype]


def _wanted_by(name: str) -> _Wanted | None:
    """How an op's type follows from the low one and the tensors that it is given."""
    family = _GRADIENT.sub("", name)
    if family in _LOW:
        return lambda low, _: low
    if family in _FLOAT32:
        return lambda low, _: torch.float32
    if name == "accumulate":  # in place
        return lambda low, tensors: tensors[0].dtype
    if family in _JOINING or family != name:
        return _widest
    return None


def _widest(low: torch.dtype, tensors: list[Tensor]) -> torch.dtype:
    return torch.float32 if any(x.dtype == torch.float32 for x in tensors) else low


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif type(value) in (list, tuple):
            yield from _tensors(value)


def _cast(value: Any, dtype: torch.dtype, own: tuple[torch.dtype, ...]) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.dtype in own else value
    if type(value) in (list, tuple):
        return type(value)(_cast(each, dtype, own) for each in value)
    return value

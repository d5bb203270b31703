"""What `torch.profiler` sees: a range for each pass of a model, and in it one for each op.

    with torch.profiler.profile() as profile:
        model(x)
    print(profile.key_averages().table(sort_by="cpu_time_total"))

Without a profiler that runs, a pass asks once whether there is one, and that is all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from torch.autograd import _profiler_enabled  # pyright: ignore[reportPrivateImportUsage]
from torch.profiler import record_function

from chainrule.backends import reference
from chainrule.backends.table import Ops, around

profiler_runs: Callable[[], bool] = _profiler_enabled


@contextmanager
def ranges(name: str) -> Iterator[None]:
    """A range of this name, and in it one of `chainrule::conv2d` or the like around each op."""
    with record_function(f"chainrule::{name}"), around(_ranged):
        yield


@functools.cache
def _ranged(ops: Ops) -> Ops:
    named = {op: _in_range(op, getattr(ops, op)) for op in reference.__all__}
    return Ops(ops.name, SimpleNamespace(**named))


def _in_range(op: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(*arguments: Any) -> Any:
        with record_function(f"chainrule::{op}"):
            return function(*arguments)

    return compute

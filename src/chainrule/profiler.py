"""Where the time of a pass goes: `with profile() as found: ...`, then `print(found)`.

Each op is timed where it is called, and its cost counted as `chainrule.record` counts it; so what
isn't in the table is Python between the ops. `torch.profiler` sees the same ops as ranges
(`chainrule.profiling`), without their costs.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from chainrule.backends import reference
from chainrule.backends.record import Op, Recorder
from chainrule.backends.settings import threads
from chainrule.backends.table import Ops, around


@dataclass(frozen=True)
class Timed:
    """An op that ran: what it was, which backend computed it, when it began and how long it took,
    both in seconds; the first began at 0."""

    op: Op
    backend: str
    start: float
    seconds: float

    @property
    def shapes(self) -> str:
        """Of its inputs, and what came out: "16x3x32x32, 48x3x3x3 -> 16x48x16x16"."""
        given = ", ".join(_shape(value.shape) for value in self.op.inputs.values())
        return f"{given} -> {', '.join(_shape(value.shape) for value in self.op.outputs)}"


@dataclass
class Line:
    """All calls of one op with the same shapes.

    Attributes:
        op, shapes, backend: what ran.
        calls: how often.
        seconds: of all calls.
        multiply_adds, nbytes: of all calls; bytes are those read and written.
    """

    op: str
    shapes: str
    backend: str
    calls: int = 0
    seconds: float = 0.0
    multiply_adds: int = 0
    nbytes: int = 0

    @property
    def gflops(self) -> float:
        """Thousand million operations a second of the direct algorithm, a multiplication and an
        addition being two: with Winograd's, which needs fewer, there may be more than the peak."""
        return 2e-9 * self.multiply_adds / self.seconds if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        """Thousand million bytes a second."""
        return 1e-9 * self.nbytes / self.seconds if self.seconds else 0.0


@dataclass
class Profile:
    """What `profile` found. `str()` is a table, the longest first.

    Attributes:
        calls: each op that ran, in order.
        seconds: from the first line of the `with` block to its last.
    """

    calls: list[Timed] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def lines(self) -> list[Line]:
        """The ops by name and shapes, that with the most time first."""
        lines: dict[tuple[str, str, str], Line] = {}
        for call in self.calls:
            key = (call.op.name, call.shapes, call.backend)
            line = lines.setdefault(key, Line(*key))
            line.calls += 1
            line.seconds += call.seconds
            line.multiply_adds += call.op.multiply_adds
            line.nbytes += call.op.bytes_read + call.op.bytes_written
        return sorted(lines.values(), key=lambda line: -line.seconds)

    def as_json(self) -> dict[str, Any]:
        """The lines and what they are measured by, of plain numbers and strings."""
        peak = _peak()
        return {
            "seconds": self.seconds,
            "seconds_in_ops": sum(call.seconds for call in self.calls),
            "threads": threads(),
            "peak_gflops": peak,
            "ops": [
                {
                    **vars(line),
                    "gflops": line.gflops,
                    "share_of_peak": line.gflops / peak if peak else None,
                }
                for line in self.lines
            ],
        }

    def write_trace(self, path: str | Path) -> None:
        """Write the calls as a trace for chrome://tracing or ui.perfetto.dev, which draw them."""
        events = [
            {
                "name": call.op.name,
                "cat": call.backend,
                "ph": "X",
                "ts": 1e6 * call.start,
                "dur": 1e6 * call.seconds,
                "pid": 0,
                "tid": 0,
                "args": {
                    "shapes": call.shapes,
                    "multiply_adds": call.op.multiply_adds,
                    "bytes": call.op.bytes_read + call.op.bytes_written,
                },
            }
            for call in self.calls
        ]
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))

    def __str__(self) -> str:
        peak = _peak()
        rows = [("op", "calls", "ms", "share", "GFLOP/s", "of peak", "GB/s", "backend", "shapes")]
        for line in self.lines:
            rows.append(
                (
                    line.op,
                    str(line.calls),
                    f"{1e3 * line.seconds:.3f}",
                    f"{line.seconds / self.seconds:.0%}" if self.seconds else "",
                    f"{line.gflops:.1f}" if line.multiply_adds else "",
                    f"{line.gflops / peak:.0%}" if peak and line.multiply_adds else "",
                    f"{line.gbytes:.1f}",
                    line.backend,
                    line.shapes if len(line.shapes) <= _WIDEST else line.shapes[:_WIDEST] + "...",
                )
            )
        between = self.seconds - sum(call.seconds for call in self.calls)
        rows.append(("between ops", "", f"{1e3 * between:.3f}", "", "", "", "", "", ""))
        if self.seconds:
            rows[-1] = (*rows[-1][:3], f"{between / self.seconds:.0%}", *rows[-1][4:])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        of = f"; at most {peak:.0f} GFLOP/s, multiply-adds in registers" if peak else ""
        told = f"{1e3 * self.seconds:.3f} ms with {threads()} threads{of}"
        return "\n".join([*(_aligned(row, widths) for row in rows), told])


_WIDEST = 60
"""Characters of shapes in the table."""


@contextmanager
def profile() -> Iterator[Profile]:
    """Time every op that is computed meanwhile in this thread.

    To look at each costs some microseconds more than its time, which count as "between ops". What
    `chainrule.capture` recorded runs without ops, and isn't seen. On a GPU each op is waited for.

    Example:
        >>> layer, x = chainrule.Conv2d(3, 8, 3), torch.rand(1, 3, 16, 16)
        >>> with chainrule.profile() as found:
        ...     y = layer.infer(x)
        >>> [(line.op, line.calls, line.shapes) for line in found.lines]
        [('block', 1, '1x3x16x16, 8x3x3x3, 8 -> 1x8x14x14')]
    """
    found = Profile()
    recorder = Recorder()
    begun = time.perf_counter()
    try:
        with around(functools.partial(_timed, found, recorder, begun)):
            yield found
    finally:
        found.seconds = time.perf_counter() - begun


def _timed(found: Profile, recorder: Recorder, begun: float, ops: Ops) -> Ops:
    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def compute(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            _wait(arguments)
            seconds = time.perf_counter() - start
            op = recorder.note(name, arguments, result)
            found.calls.append(Timed(op, ops.name, start - begun, seconds))
            return result

        return compute

    named = {name: timed(name, getattr(ops, name)) for name in reference.__all__}
    return Ops(ops.name, SimpleNamespace(**named))


def _wait(arguments: tuple[Any, ...]) -> None:
    """A GPU's op is only begun when its call returns."""
    for x in arguments:
        if isinstance(x, Tensor) and x.is_cuda:
            torch.cuda.synchronize(x.device)
            return


def _peak() -> float | None:
    """Thousand million operations a second that the threads can do at most; None unknown."""
    try:
        from chainrule._native import fma_peak  # absent where nothing could be compiled
    except ImportError:
        return None
    return 1e-9 * _measured(fma_peak, threads())


@functools.cache
def _measured(peak: Callable[[int], float], count: int) -> float:
    return peak(count)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    """Numbers to the right; the last column ends where it ends."""
    cells = [
        cell.ljust(width) if place in (0, 7, 8) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()

"""What a recorded call computed on a CUDA device, as one graph that the driver launches.

    calls, outputs = graphed(function, inputs)
    calls.list[0]()             # computes `outputs` from what `inputs` hold now

`replay` notes each kernel of a call on the CPU; here the driver does, and Python is left out of all
of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from chainrule.backends.replay import Calls, CaptureError, noting


class _Graph(Calls):
    """A list with the launch of one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    @property
    def nbytes(self) -> int:
        return self.bytes


def graphed(function: Callable[..., Any], inputs: tuple[Tensor, ...]) -> tuple[Calls, Any]:
    """Record `function(*inputs)` and return it with its outputs, computed once.

    It runs twice: by itself, which compiles and tunes kernels and copies to the device what they
    look up, and while the driver records, which computes nothing.

    Raises:
        CaptureError: it does what a graph can't hold, such as reading a value.
    """
    calls, device = _Graph(), inputs[0].device
    graph = torch.cuda.CUDAGraph()
    with noting(calls), torch.cuda.device(device):
        first = _warmed(function, inputs, device)
        before = torch.cuda.memory_reserved(device)
        try:
            # Other threads may go on allocating.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = function(*inputs)
        except CaptureError:
            raise
        except RuntimeError as error:
            raise CaptureError(
                f"{device} can't record this call ({str(error).splitlines()[0]}); return tensors "
                "and read them outside, and make none of numbers within"
            ) from error
        calls.bytes = max(torch.cuda.memory_reserved(device) - before, 0)
    calls.list.append(graph.replay)
    calls.owned.append(graph)
    for y, value in zip(_tensors(outputs), _tensors(first), strict=True):
        y.copy_(value)
    return calls, outputs


def _warmed(function: Callable[..., Any], inputs: tuple[Tensor, ...], device: torch.device) -> Any:
    """What the function returns; on a stream of its own, as what is recorded later."""
    computing: Any = torch.cuda.current_stream(device)
    aside: Any = torch.cuda.Stream(device)
    aside.wait_stream(computing)
    with torch.cuda.stream(aside):
        outputs = function(*inputs)
    computing.wait_stream(aside)
    torch.cuda.synchronize(device)
    return outputs


def _tensors(outputs: Any) -> list[Tensor]:
    values = outputs if isinstance(outputs, tuple) else (outputs,)
    return [value for value in values if isinstance(value, Tensor)]

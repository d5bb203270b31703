"""Captured calls on CUDA devices. Where there is none, a driver is made up that knows what a graph
does with a function: it lets it run without computing, and computes when the graph is launched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from chainrule import MSE, CaptureError, Conv2d, ReLU, Sequential, capture, capturing
from chainrule.backends.graphs import graphed


class Driver(TorchDispatchMode):
    """Notes what runs in `graph`; `replay` runs it, into the same tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
        if func.is_view:
            return func(*args, **(kwargs or {}))
        before = [x.clone() if isinstance(x, Tensor) else x for x in args]
        made = func(*args, **(kwargs or {}))
        self.noted.append((func, args, kwargs or {}, made))
        if func._schema.is_mutable:
            args[0].copy_(before[0])  # recording computes nothing
        elif isinstance(made, Tensor) and made.is_floating_point():
            made.fill_(float("nan"))
        return made

    def replay(self) -> None:
        for func, args, kwargs, made in self.noted:
            again = func(*args, **kwargs)
            if not func._schema.is_mutable and isinstance(made, Tensor):
                made.copy_(again)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    driver = Driver()

    class Stream:
        def __init__(self, *_: Any) -> None: ...

        def wait_stream(self, other: Any) -> None: ...

    @contextlib.contextmanager
    def graph(which: Driver, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        with which:
            yield

    for name, stand_in in {
        "CUDAGraph": lambda: driver,
        "graph": graph,
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "device": lambda device: contextlib.nullcontext(),
        "synchronize": lambda device: None,
        "memory_reserved": lambda device: len(driver.noted) * 2**20,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(
        capturing, "recording", lambda: pytest.fail("it is the driver that records")
    )
    monkeypatch.setattr(Tensor, "is_cuda", True, raising=False)
    return driver


def training() -> tuple[Any, Any, Tensor, Tensor]:
    torch.manual_seed(0)
    model, loss = Sequential(Conv2d(2, 3, 3), ReLU()).double(), MSE()

    def passes(x: Tensor, y: Tensor) -> Tensor:
        model.zero_grad()
        value = loss.forward(model.forward(x), y)
        model.backward(loss.backward(), input_gradient=False)
        return value

    random = torch.Generator().manual_seed(1)
    x, y = (torch.rand(2, 3 - i, 6 - 2 * j, 6 - 2 * j, generator=random).double()
            for i, j in ((1, 0), (0, 1)))  # fmt: skip
    return model, passes, x, y


def gradients(model: Any) -> list[Tensor]:
    return [value.grad.clone() for value in model.parameters()]


def test_a_graph_computes_what_the_call_does_with_new_inputs(driver):
    model, passes, x, y = training()
    expected = [(float(passes(x / n, y)), gradients(model)) for n in (1, 2)]
    captured = capture(passes, x, y)
    assert float(captured.outputs) == expected[0][0]  # computed while kernels were compiled
    assert len(captured) == 1
    assert captured.nbytes > 0
    for n in (2, 1):
        loss, expected_gradients = expected[n - 1]
        assert float(captured(x / n, y)) == loss
        assert all(map(torch.equal, gradients(model), expected_gradients))


def test_a_parameter_that_was_replaced_is_met(driver):
    model, passes, x, y = training()
    captured = capture(passes, x, y)
    model[0].weight = model[0].weight.clone()
    with pytest.raises(CaptureError, match="weight was replaced since"):
        captured(x, y)


def test_what_a_graph_can_not_hold_is_one_sentence(driver):
    x = torch.ones(2)
    told = r"cpu can't record this call \(operation not permitted when stream is capturing\);"
    with pytest.raises(CaptureError, match=told):
        graphed(lambda x: x * float(x.sum()), (x,))


def test_devices_that_record_nothing_say_so():
    with pytest.raises(CaptureError, match="no call on meta can be recorded, but on the CPU and"):
        capture(lambda x: x + 1, torch.ones(2, device="meta"))

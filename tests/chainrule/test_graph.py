"""Graphs: against PyTorch's autograd, central differences, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chainrule import (
    Add,
    Channels,
    Concatenate,
    Conv2d,
    Graph,
    Identity,
    Linear,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Subtract,
    Tanh,
    Tape,
    fuse,
    gradcheck,
    gradcheck_direction,
    summary,
)
from chainrule.tape import gradient_of


def diamond() -> Graph:
    """One node has three readers, one is an output too, and the input is read at the end again."""
    return Graph(
        "x",
        {
            "stem": (Sequential(Conv2d(2, 3, 3, padding=1), Sigmoid()), "x"),
            "left": (Conv2d(3, 3, 1), "stem"),
            "right": (Conv2d(3, 3, 3, padding=1), "stem"),
            "sum": (Add(), "left", "right", "stem"),
            "all": (Concatenate(), "sum", "x", "stem"),
            "head": (Conv2d(8, 2, 1), "all"),
            "change": (Subtract(), "x", "head"),
        },
    )


class TwinDiamond(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Sigmoid())
        self.left = nn.Conv2d(3, 3, 1)
        self.right = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        total = self.left(stem) + self.right(stem) + stem
        return x - self.head(torch.cat((total, x, stem), 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_graph_equals_its_twin(assert_twin, dtype):
    assert_twin(diamond(), TwinDiamond(), torch.randn(2, 2, 5, 7, dtype=dtype))


def test_a_graph_passes_gradcheck():
    gradcheck_direction(diamond(), torch.randn(2, 2, 5, 7))


@pytest.mark.parametrize(
    ("module", "count"), [(Add(), 2), (Add(), 4), (Concatenate(), 3), (Subtract(), 2)]
)
def test_what_joins_passes_gradcheck(module, count):
    gradcheck(module, *(torch.randn(2, 3, 2, 3) for _ in range(count)))


def test_channels_pass_gradcheck_and_are_those_asked_for():
    gradcheck(Channels(1, 3), torch.randn(2, 4, 2, 3))
    x = torch.randn(2, 4, 2, 3)
    assert torch.equal(Channels(1, 3)(x), x[:, 1:3])


def test_concatenate_takes_vectors_and_channels_of_different_number():
    y = Concatenate()(torch.zeros(2, 3), torch.ones(2, 1), torch.zeros(2, 2))
    assert y.sum(0).tolist() == [0, 0, 0, 2, 0, 0]


def test_fuse_walks_through_a_graph_and_changes_no_number(assert_near):
    graph = Graph(
        "x",
        {
            "a": (Sequential(Conv2d(1, 2, 3, padding=1), ReLU()), "x"),
            "b": (Sequential(Conv2d(1, 2, 1), ReLU()), "x"),
            "y": (Add(), "a", "b"),
        },
    )
    fused = fuse(graph)
    x = torch.randn(1, 1, 5, 5)
    assert [row.layer for row in summary(fused, (1, 1, 5, 5)).rows][:2] == ["Conv2d + ReLU"] * 2
    assert list(fused.state_dict()) == list(graph.state_dict())
    assert_near(fused(x), graph(x))


class Halves(Module):
    """Two outputs."""

    def run(self, x: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        tape.push(self)
        return x[:, :1] * 2, x[:, 1:] * 3

    def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Tensor:
        tape.take(self)
        return torch.cat((gy[0] * 2, gy[1] * 3), 1)


def test_one_value_of_several_is_read_by_its_place():
    graph = Graph("x", {"halves": (Halves(), "x"), "y": (Tanh(), "halves.1")})
    x = torch.randn(2, 3)
    assert torch.equal(graph(x), (x[:, 1:] * 3).tanh())
    gradcheck(graph, x)  # the gradient of what nobody reads is zero


def test_all_values_of_several_are_as_many_arguments():
    graph = Graph(
        "x",
        {"halves": (Halves(), "x"), "y": (Add(), "halves"), "z": (Concatenate(), "halves.0", "y")},
        outputs=("z", "halves"),
    )
    y = graph(torch.randn(2, 2))
    assert [tuple(each.shape) for each in y] == [(2, 2), (2, 1), (2, 1)]
    gradcheck(graph, torch.randn(2, 2))


def test_several_inputs_and_outputs():
    graph = Graph(
        ("a", "b"),
        {"sum": (Add(), "a", "b"), "difference": (Subtract(), "a", "sum")},
        outputs=("sum", "difference"),
    )
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    total, difference = graph(a, b)
    assert torch.equal(total, a + b)
    assert torch.equal(difference, a - (a + b))
    gradcheck(graph, a, b)


def recurrent(steps: int) -> Graph:
    """h_t = tanh(W h_(t-1) + x_t), unrolled: one Linear at every step."""
    cell = Linear(3, 3)
    nodes: dict[str, tuple[Any, ...]] = {}
    state = "h"
    for step in range(steps):
        nodes[f"turned{step}"] = (cell, state)
        nodes[f"moved{step}"] = (Add(), f"turned{step}", f"x{step}")
        state = f"state{step}"
        nodes[state] = (Tanh(), f"moved{step}")
    return Graph(("h", *(f"x{step}" for step in range(steps))), nodes)


def test_a_module_at_several_nodes_has_one_set_of_weights_and_the_sum_of_their_gradients():
    graph = recurrent(3)
    assert len(graph.parameters()) == 2
    inputs = [torch.randn(2, 3) for _ in range(4)]
    gradcheck(graph, *inputs)

    graph.to(torch.float32).zero_grad()
    weight, bias = (value.detach().clone().requires_grad_() for value in graph.parameters())
    state, *given = (x.float() for x in inputs)
    for x in given:
        state = (state @ weight.t() + bias + x).tanh()
    state.sum().backward()
    graph(*(x.float() for x in inputs))
    graph.backward(torch.ones(2, 3))
    ours = graph.parameters()
    torch.testing.assert_close(ours[0].grad, weight.grad)
    torch.testing.assert_close(ours[1].grad, bias.grad)


def test_a_shared_parameter_is_final_once_and_last():
    graph, told = recurrent(3), list[Tensor]()
    graph(*(torch.randn(2, 3) for _ in range(4)))
    graph.backward(torch.ones(2, 3), listener=told.append)
    assert {id(value) for value in told} == {id(value) for value in graph.parameters()}
    assert len(told) == 2


def test_the_input_gradient_can_be_waived_all_the_same():
    graph = diamond()
    x = torch.randn(1, 2, 5, 5)
    graph(x)
    graph.backward(torch.ones(1, 2, 5, 5))
    expected = [value.grad.clone() for value in graph.parameters() if value.grad is not None]
    graph.zero_grad()
    graph(x)
    assert graph.backward(torch.ones(1, 2, 5, 5), input_gradient=False) is None
    for value, gradient in zip(graph.parameters(), expected, strict=True):
        assert torch.equal(gradient_of(value), gradient)


class Twice(Module):
    """(x, x): no gradient of its own."""

    def run(self, x: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        return x, x

    def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Tensor:
        raise AssertionError("nobody wants this gradient")


@pytest.mark.parametrize("before", [(Identity(), "a"), (Twice(), "a.0")])
def test_what_hands_the_input_on_is_not_asked_for_a_gradient_that_was_waived(before):
    module, reads = before
    layer = Linear(3, 2)
    model, x = Graph("x", {"a": (module, "x"), "y": (layer, reads)}), torch.randn(4, 3)
    gy = torch.randn_like(model.forward(x))
    assert model.backward(gy, input_gradient=False) is None
    assert torch.allclose(gradient_of(layer.weight), gy.T @ x, atol=1e-5)


def test_in_inference_a_value_is_freed_once_its_last_reader_has_run(live_bytes):
    x = torch.zeros(1, 1, 64, 64)
    nodes = {str(i): (Tanh(), str(i - 1) if i else "x") for i in range(8)}
    chain = Graph("x", nodes)
    before, most = live_bytes(), 0

    class Watch(Identity):
        def run(self, x: Tensor, tape: Tape) -> Tensor:
            nonlocal most
            most = max(most, live_bytes() - before)
            return x

    watched = Graph("x", {**nodes, "watch": (Watch(), "7")})
    watched.infer(x)
    assert most <= 2 * x.nbytes
    del chain


def test_a_shape_error_names_the_node():
    graph = Graph("x", {"small": (Conv2d(1, 1, 3), "x"), "join": (Add(), "x", "small")})
    with pytest.raises(ValueError, match=r"^join: Add: .*\(1, 1, 5, 5\) and \(1, 1, 3, 3\)"):
        graph(torch.zeros(1, 1, 5, 5))


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: Graph("x", {}), ValueError, "no nodes"),
        (lambda: Graph("x", {"y": (Tanh(), "z")}), ValueError, "reads 'z', which is neither"),
        (lambda: Graph("x", {"y": (Tanh(), "y")}), ValueError, "reads 'y', which is neither"),
        (lambda: Graph("x", {"x": (Tanh(), "x")}), ValueError, "there are two 'x'"),
        (lambda: Graph("x", {"a.b": (Tanh(), "x")}), ValueError, "without dots"),
        (lambda: Graph("x", {"y": (Tanh(),)}), ValueError, "reads nothing"),
        (lambda: Graph("x", {"y": ("x",)}), TypeError, "must be (module, *names"),
        (lambda: Graph("x", {"y": (Tanh(), "x"), "z": (Tanh(), "x")}), ValueError, "reads 'y';"),
        (lambda: Graph(("x", "u"), {"y": (Tanh(), "x")}), ValueError, "nothing reads 'u'"),
        (lambda: Graph("x", {"y": (Tanh(), "x")}, "q"), ValueError, "an output reads 'q'"),
        (
            lambda: Graph("x", {"y": (Tanh(), "x")})(torch.zeros(1), torch.zeros(1)),
            TypeError,
            "1 i",
        ),
        (lambda: Graph("x", {"y": (Tanh(), "x.1")})(torch.zeros(1)), ValueError, "x has 1 values"),
        (lambda: Add()(torch.zeros(1)), ValueError, "at least two inputs"),
        (lambda: Subtract()(torch.zeros(1), torch.zeros(2)), ValueError, "must be the same"),
        (
            lambda: Concatenate()(torch.zeros(1, 2, 3), torch.zeros(1, 2, 4)),
            ValueError,
            "only the channels may differ",
        ),
        (lambda: Channels(2, 2), ValueError, "none from 2 to 2"),
        (lambda: Channels(0, 3)(torch.zeros(1, 2)), ValueError, "at least 3"),
    ],
)
def test_what_is_refused(make: Callable[[], object], error, sentence):
    with pytest.raises(error, match=re.escape(sentence)):
        make()

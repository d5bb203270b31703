"""`as_torch`: PyTorch's tools take a module of ours for one of their own."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from chainrule import (
    MSE,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Embedding,
    Graph,
    Linear,
    Module,
    ReLU,
    Sequential,
    Tape,
    TapeError,
    as_torch,
    parameter,
)


def network() -> Sequential:
    return Sequential(
        {"encode": Sequential(Conv2d(3, 4, 3), BatchNorm2d(4), ReLU()), "out": Conv2d(4, 2, 1)}
    )


def twin_of(ours: Sequential) -> nn.Module:
    encode = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    twin = nn.Sequential()
    twin.add_module("encode", encode)
    twin.add_module("out", nn.Conv2d(4, 2, 1))
    twin.load_state_dict(ours.state_dict())
    return twin


def test_among_modules_of_torch_it_trains_as_its_twin(assert_near):
    ours = network()
    first, last = nn.Conv2d(1, 3, 1), nn.Conv2d(2, 1, 1)
    theirs = nn.Sequential(copy.deepcopy(first), twin_of(ours), copy.deepcopy(last))
    mixed = nn.Sequential(first, as_torch(ours), last)
    assert [*mixed.state_dict()] == [*theirs.state_dict()]
    steps = [torch.optim.SGD(each.parameters(), 0.1, 0.9) for each in (mixed, theirs)]
    x = torch.rand(2, 1, 8, 8)
    for _ in range(3):
        target = torch.rand(2, 1, 6, 6)
        for model, optimizer in zip((mixed, theirs), steps, strict=True):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), target).backward()
            optimizer.step()
    for name, value in mixed.state_dict().items():
        assert_near(value, theirs.state_dict()[name], name)
    assert_near(ours.eval().infer(first(x).detach()), mixed[1].eval()(first(x)).detach())


def test_gradients_add_up_and_leave_ours_alone(assert_near):
    ours = network().eval()
    bridge, x = as_torch(ours), torch.randn(1, 3, 6, 6, requires_grad=True)
    (bridge(x).sum() + 2 * bridge(x).sum()).backward()
    assert all(value.grad is not None and not value.grad.any() for value in ours.parameters())
    y = ours(x)
    gx = ours.backward(torch.full_like(y, 3))
    assert_near(x.grad, gx)
    for theirs, own in zip(bridge.parameters(), ours.parameters(), strict=True):
        assert_near(theirs.grad, own.grad)


def test_without_a_reader_no_graph_is_built():
    bridge = as_torch(network())
    x = torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        assert not bridge(x).requires_grad
    assert bridge(x).requires_grad
    assert not bridge.requires_grad_(False)(x).requires_grad


def test_a_frozen_parameter_has_no_gradient_on_either_side():
    ours = network()
    bridge = as_torch(ours)
    bridge.get_submodule("encode").requires_grad_(False)
    bridge(torch.randn(2, 3, 6, 6)).sum().backward()
    found = {name for name, value in bridge.named_parameters() if value.grad is not None}
    assert found == {"out.weight", "out.bias"}
    assert [each.frozen for each in ours.modules()] == [False, False, True, True, False, False]
    bridge.requires_grad_()
    bridge(torch.randn(2, 3, 6, 6)).sum().backward()
    assert all(value.grad is not None for value in bridge.parameters())
    assert not as_torch(Linear(2, 2).requires_grad_(False)).weight.requires_grad


@pytest.mark.parametrize(
    "change",
    [
        lambda bridge: bridge.double(),
        lambda bridge: bridge.load_state_dict(
            as_torch(network()).double().state_dict(), True, True
        ),
    ],
)
def test_what_pytorch_converts_or_replaces_reaches_ours(assert_near, change):
    ours = network()
    bridge = as_torch(ours)
    change(bridge)
    bridge.eval()
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    y = bridge(x)
    y.sum().backward()
    assert y.dtype == torch.float64
    assert_near(ours.infer(x), y.detach())
    for name, value in bridge.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
    with torch.no_grad():
        bridge.get_parameter("out.bias").add_(1)
    assert_near(ours.infer(x), y.detach() + 1)


def test_a_step_between_the_passes_is_noticed():
    bridge = as_torch(network()).double()
    y = bridge(torch.randn(2, 3, 6, 6, dtype=torch.float64))
    with torch.no_grad():
        bridge.get_parameter("out.weight").mul_(2)
    with pytest.raises(TapeError, match=r"out: .* its weight was changed after the forward pass"):
        y.sum().backward()


def test_modes_reach_every_module():
    ours = Sequential(Dropout(0.5), network())
    bridge = as_torch(ours)
    bridge.eval()
    assert not any(module.training for module in ours.modules())
    bridge.get_submodule("1").train()
    assert [module.training for module in ours] == [False, True]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda bridge: pickle.loads(pickle.dumps(bridge))]
)
def test_a_copy_learns_alone(copied):
    bridge = as_torch(network())
    before = copy.deepcopy(bridge.state_dict())
    twin = copied(bridge)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    x = torch.randn(2, 3, 6, 6)
    twin(x).square().sum().backward()
    optimizer.step()
    assert torch.equal(twin(x), as_torch(twin.source)(x))
    assert not torch.equal(twin.state_dict()["out.weight"], before["out.weight"])
    for name, value in bridge.state_dict().items():
        assert torch.equal(value, before[name])


class Tied(Module):
    """One weight at two places, and a module whose name is a method of torch.nn.Module."""

    def __init__(self) -> None:
        first, second = Linear(3, 3), Linear(3, 3)
        second.weight = first.weight
        self.blocks = {"half": first, "again": [second]}
        self.layers = first, second
        self.scale = parameter(torch.ones(3))

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        for layer in self.layers:
            x = layer.run(x, tape)
        tape.push(self, x)
        return x * self.scale

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (x,) = tape.take(self)
        tape.add(self.scale, (gy * x).sum(0))
        first, second = self.layers
        between = second.back(gy * self.scale, tape)
        assert between is not None
        return first.back(between, tape)


def test_shared_parameters_stay_one(assert_near):
    ours = Tied()
    bridge = as_torch(ours)
    assert [name for name, _ in bridge.named_parameters()] == [
        name for name, _ in ours.named_parameters()
    ]
    assert {*bridge.state_dict()} == {*ours.state_dict()}
    bridge.double()
    x = torch.randn(2, 3, dtype=torch.float64)
    bridge(x).sum().backward()
    ours.zero_grad()
    y = ours(x)
    ours.backward(torch.ones_like(y))
    assert ours.layers[0].weight is ours.layers[1].weight
    for name, value in ours.named_parameters():
        assert_near(dict(bridge.named_parameters())[name].grad, value.grad, name)


def test_several_inputs_integers_and_losses(assert_near):
    graph = as_torch(
        Graph(
            ("word", "x"),
            {"table": (Embedding(5, 3), "word"), "line": (Linear(3, 3), "x")},
            outputs=("table", "line"),
        )
    )
    x = torch.randn(2, 3, requires_grad=True)
    first, second = graph(torch.tensor([1, 4]), x)
    (first.sum() + second.sum()).backward()
    assert_near(x.grad, graph.get_parameter("line.weight").sum(0).expand(2, 3))
    prediction, target = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3)
    as_torch(MSE())(prediction, target).backward()
    assert_near(prediction.grad, 2 * (prediction - target) / 6)


def test_under_autocast_it_computes_in_its_parameters_dtype():
    bridge = as_torch(network())
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    with torch.autocast("cpu"):
        y = bridge(x.bfloat16())
        y.sum().backward()
    assert y.dtype == torch.float32
    assert x.grad is not None


def test_it_runs_under_distributed_data_parallel(assert_near, tmp_path: Path):
    where = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", init_method=where, rank=0, world_size=1)
    try:
        ours = network()
        expected = as_torch(copy.deepcopy(ours))
        model = DistributedDataParallel(as_torch(ours))
        x = torch.randn(2, 3, 6, 6)
        for each in (model, expected):
            each(x).square().sum().backward()
        for theirs, own in zip(model.parameters(), expected.parameters(), strict=True):
            assert_near(theirs.grad, own.grad)
    finally:
        torch.distributed.destroy_process_group()


def test_what_it_can_not_do_is_said():
    with pytest.raises(TypeError, match="expected a chainrule module, got Linear"):
        as_torch(nn.Linear(1, 1))  # type: ignore[arg-type]
    replica = as_torch(Linear(1, 1))._replicate_for_data_parallel()
    with pytest.raises(RuntimeError, match="use DistributedDataParallel"):
        replica(torch.ones(1, 1))


def test_it_prints_as_ours():
    assert "(out): Conv2d(4, 2, kernel_size=(1, 1))" in repr(as_torch(network()))

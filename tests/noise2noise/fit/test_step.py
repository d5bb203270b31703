"""One training step: what it changes, and what it leaves alone."""

from __future__ import annotations

import math

import pytest
import torch

from chainrule import MSE, SGD, Adam, Conv2d, ReLU, Sequential, fuse
from noise2noise.fit import Steps, step


@pytest.fixture
def layer() -> Conv2d:
    return Conv2d(1, 1, 3, padding=1)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 1, 8, 8, generator=random) for _ in range(2))
    return x, y


def test_a_step_goes_down_the_gradient_of_this_batch_alone(layer, batch):
    x, y = batch
    weight = layer.weight.clone().requires_grad_()
    bias = layer.bias.clone().requires_grad_()
    expected = (torch.nn.functional.conv2d(x, weight, bias, padding=1) - y).square().mean()
    expected.backward()
    optimizer = SGD(layer.parameters(), lr=0.1)
    for value in layer.parameters():
        value.grad = torch.full_like(value, 7)  # left over from something else
    loss = step(fuse(layer), MSE(), optimizer, x, y)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert weight.grad is not None
    torch.testing.assert_close(layer.weight, weight.detach() - 0.1 * weight.grad)


def test_a_loss_that_is_not_finite_changes_nothing(layer, batch):
    x, y = batch
    optimizer = SGD(layer.parameters(), lr=0.1, momentum=0.9)
    before = [value.clone() for value in layer.parameters()]
    assert math.isinf(step(layer, MSE(), optimizer, x, torch.full_like(y, torch.inf)))
    assert optimizer.steps == 0
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), before, strict=True))


def test_gradients_are_clipped_together(layer, batch):
    before = [value.clone() for value in layer.parameters()]
    step(layer, MSE(), SGD(layer.parameters(), lr=1.0), *batch, clip_norm=1e-3)
    moved = [a - b for a, b in zip(layer.parameters(), before, strict=True)]
    norm = math.sqrt(sum(float(value.square().sum()) for value in moved))
    assert norm == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("clip_norm", [None, 1e-2])
def test_steps_are_the_steps_to_the_bit(clip_norm):
    """Through capturing, a batch of another size, weights that were loaded, and back."""
    random = torch.Generator().manual_seed(0)
    sizes = [2, 2, 2, 2, 2, 1, 2, 2, 1, 1, 1, 1, 2]
    data = [torch.rand(2, size, 1, 8, 8, generator=random) for size in sizes]
    found = []
    for captured in (False, True):
        torch.manual_seed(1)
        model = fuse(Sequential(Conv2d(1, 4, 3, padding=1), ReLU(), Conv2d(4, 1, 3, padding=1)))
        optimizer = Adam(model.parameters(), lr=0.01)
        steps = Steps(model, MSE(), optimizer, clip_norm)
        losses = []
        for place, (x, y) in enumerate(data):
            if place == 7:
                model.load_state_dict({k: v / 2 for k, v in model.state_dict().items()})
            optimizer.lr = 0.01 / (place + 1)
            loss = steps(x, y) if captured else step(model, MSE(), optimizer, x, y, clip_norm)
            losses.append(loss)
        found.append((losses, model.parameters()))
    assert found[0][0] == found[1][0]
    assert all(map(torch.equal, found[0][1], found[1][1]))


def test_steps_that_are_captured_change_nothing_where_the_loss_is_not_finite(layer, batch):
    x, y = batch
    optimizer = SGD(layer.parameters(), lr=0.1, momentum=0.9)
    steps = Steps(layer, MSE(), optimizer)
    for _ in range(4):
        assert math.isfinite(steps(x, y))
    before = [value.clone() for value in layer.parameters()]
    assert math.isinf(steps(x, torch.full_like(y, torch.inf)))
    assert optimizer.steps == 4
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), before, strict=True))


def test_steps_go_on_where_a_loss_reads_values(layer, batch):
    class Reads(MSE):
        def run(self, prediction, target, tape):
            assert float(prediction.sum()) == float(prediction.sum())
            return super().run(prediction, target, tape)

    steps = Steps(layer, Reads(), SGD(layer.parameters(), lr=0.1))
    losses = [steps(*batch) for _ in range(6)]
    assert losses == sorted(losses, reverse=True)

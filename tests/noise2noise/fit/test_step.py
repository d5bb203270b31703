"""One training step: what it changes, and what it leaves alone."""

from __future__ import annotations

import math

import pytest
import torch

from chainrule import MSE, SGD, Conv2d, fuse
from noise2noise.fit import step


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

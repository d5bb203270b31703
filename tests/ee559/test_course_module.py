"""The course's `Module`: what students wrote on it runs between ours."""

from typing import Any

import pytest
import torch
from torch import Tensor

from chainrule import TapeError


def assert_near(got: Tensor, expected: Tensor | None) -> None:
    assert expected is not None
    assert torch.allclose(got, expected, atol=1e-6)


def scale_of(second: Any) -> Any:
    """A module as the course describes them."""

    class Scale(second.Module):
        def __init__(self):
            self.factor, self.gradient = torch.full((1,), 2.0), torch.zeros(1)

        def forward(self, x):
            self.x = x
            return self.factor * x

        def backward(self, gy):
            self.gradient += (gy * self.x).sum()
            return self.factor * gy

        def param(self):
            return [(self.factor, self.gradient)]

    return Scale()


def test_every_class_of_the_framework_is_one_of_its_modules(second: Any):
    names = "Conv2d TransposeConv2d Upsample ReLU Sigmoid Sequential MSE Linear Tanh Flatten"
    for name in names.split():
        assert issubclass(getattr(second, name), second.Module)


def test_a_module_of_the_courses_kind_learns_in_a_sequential(second: Any):
    scale, linear = scale_of(second), second.Linear(3, 2)
    model = second.Sequential(linear, second.Tanh(), scale)
    optimizer, loss = second.SGD(model.param(), lr=0.1), second.MSE()
    assert [value for value, _ in model.param()] == [linear.weight, linear.bias, scale.factor]
    for _ in range(2):  # the second pass finds what the first one left in attributes
        x, target = torch.rand(4, 3), torch.rand(4, 2)
        source = x.clone().requires_grad_()
        weights = [value.clone().requires_grad_() for value, _ in model.param()]
        expected = (
            (weights[2] * (source @ weights[0].T + weights[1]).tanh() - target).square().mean()
        )
        expected.backward()
        model.zero_grad()
        assert torch.allclose(loss.forward(model.forward(x), target), expected)
        assert_near(model.backward(loss.backward()), source.grad)
        for (_, gradient), weight in zip(model.param(), weights, strict=True):
            assert_near(gradient, weight.grad)
        before = float(scale.factor)
        optimizer.step()
        assert float(scale.factor) == pytest.approx(before - 0.1 * float(scale.gradient))


def test_a_module_of_the_courses_kind_works_alone(second: Any):
    scale = scale_of(second)
    assert torch.equal(scale(torch.ones(2)), torch.full((2,), 2.0))
    assert torch.equal(scale.backward(torch.ones(2)), torch.full((2,), 2.0))
    assert float(scale.gradient) == 2


def test_half_a_module_says_what_is_missing(second: Any):
    class Forward(second.Module):
        def forward(self, x):
            return x

    class Nothing(second.Module):
        pass

    net = second.Sequential(Forward())
    net.forward(torch.ones(1))
    with pytest.raises(NotImplementedError, match="Forward has a forward, but no backward"):
        net.backward(torch.ones(1))
    with pytest.raises(NotImplementedError, match="Nothing has no run"):
        Nothing().forward(torch.ones(1))
    with pytest.raises(TapeError, match="backward needs a forward pass"):
        second.ReLU().backward(torch.ones(1))

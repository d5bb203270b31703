"""gradcheck finds planted errors, says where, and touches nothing."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from chainrule import (
    MSE,
    BatchNorm2d,
    Conv2d,
    GradientError,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Tape,
    TapeError,
    accumulate,
    gradcheck,
    ops,
    parameter,
)
from chainrule.gradcheck import gradcheck_direction


class Square(Module):
    """y = weight * x^2, channel by channel: right, and the base of all that is wrong below."""

    def __init__(self) -> None:
        self.weight = parameter(torch.linspace(0.5, 1.5, 3).reshape(3, 1, 1))

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        tape.push(self, x)
        return self.weight * x * x

    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        (x,) = tape.take(self)
        self.give(self.weight_gradient(gy, x))
        return self.input_gradient(gy, x)

    def weight_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        return (gy * x * x).sum((0, 2, 3)).reshape(3, 1, 1)

    def input_gradient(self, gy: Tensor, x: Tensor) -> Tensor | None:
        return 2 * gy * self.weight * x

    def give(self, gradient: Tensor) -> None:
        accumulate(self.weight, gradient)


class WrongFactor(Square):
    def input_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        return gy * self.weight * x


class WrongSign(Square):
    def weight_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        return -super().weight_gradient(gy, x)


class SlightlyWrong(Square):
    def input_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        return 1.002 * 2 * gy * self.weight * x


class WrongAtOneIndex(Square):
    def input_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        gradient = 2 * gy * self.weight * x
        gradient[1, 2, 0, 1] += 0.01
        return gradient


class WrongAtOneParameter(Square):
    def weight_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        gradient = super().weight_gradient(gy, x)
        gradient[1, 0, 0] *= 1.01
        return gradient


class Overwrites(Square):
    def give(self, gradient: Tensor) -> None:
        assert self.weight.grad is not None
        self.weight.grad.copy_(gradient)


class Replaces(Square):
    def give(self, gradient: Tensor) -> None:
        self.weight.grad = gradient


def assume_contiguous(values: Tensor) -> Tensor:
    """Read memory as if the values lay side by side in it."""
    strides = torch.empty(values.shape).stride()
    return values.as_strided(values.shape, strides, values.storage_offset())


class AssumesContiguousGradient(Square):
    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:
        return super().back(assume_contiguous(gy), tape)


class AssumesContiguousInput(Square):
    def input_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        return 2 * gy * self.weight * assume_contiguous(x)


class SpoilsTheGradientItWasGiven(Square):
    def input_gradient(self, gy: Tensor, x: Tensor) -> Tensor:
        return gy.mul_(2 * self.weight * x)


class Centre(Module):
    """y = x - mean(x), with a gradient that only an output gradient of ones would not expose."""

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return x - x.mean()

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        return torch.zeros_like(gy)


X = torch.linspace(-2, 3, 24).reshape(2, 3, 2, 2)


def test_right_gradients_pass():
    gradcheck(Square(), X)
    gradcheck_direction(Square(), X)


@pytest.mark.parametrize(
    ("module", "argument"),
    [
        (WrongFactor(), "input"),
        (SlightlyWrong(), "input"),
        (WrongSign(), "weight"),
        (WrongAtOneIndex(), "input"),
        (WrongAtOneParameter(), "weight"),
        (Overwrites(), "weight"),
        (Replaces(), "weight"),
        (AssumesContiguousGradient(), None),
        (AssumesContiguousInput(), None),
        (SpoilsTheGradientItWasGiven(), None),
        (Centre(), "input"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Module) else None,
)
def test_wrong_gradients_are_found_and_named(module, argument):
    with pytest.raises(GradientError) as caught:
        gradcheck(module, X)
    error = caught.value
    if argument is not None:
        assert error.argument == argument
    assert error.index is not None
    start = (
        f"{type(module).__name__}: the gradient of {error.argument} at index {error.index} is "
        f"{error.analytic:.9g} by back, but {error.numeric:.9g} by "
    )
    assert str(error).startswith(start)


@pytest.mark.parametrize("module", [WrongFactor(), WrongSign(), Overwrites(), Replaces()])
def test_wrong_gradients_are_found_along_a_direction(module):
    with pytest.raises(GradientError):
        gradcheck_direction(module, X)


def test_the_message_gives_place_and_both_values():
    with pytest.raises(GradientError) as caught:
        gradcheck(WrongAtOneIndex(), X)
    error = caught.value
    assert error.index == (1, 2, 0, 1)
    assert error.analytic - error.numeric == pytest.approx(0.01, rel=1e-4)

    with pytest.raises(GradientError, match=re.escape("at index (1, 0, 0) is ")) as caught:
        gradcheck(WrongAtOneParameter(), X)
    assert caught.value.analytic / caught.value.numeric == pytest.approx(1.01)

    message = "by the rule that a second backward pass adds to .grad"
    with pytest.raises(GradientError, match=re.escape(message)) as caught:
        gradcheck(Overwrites(), X)
    assert caught.value.numeric == pytest.approx(2 * caught.value.analytic)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (None, TapeError, "Bad(): back returned None, but its input's gradient is wanted"),
        (
            torch.ones(3, 1, 1),
            ValueError,
            "Bad: back returned a gradient of shape (3, 1, 1) for an input of shape (2, 3, 2, 2)",
        ),
    ],
)
def test_an_input_gradient_that_is_missing_or_of_another_shape_is_told(returned, error, message):
    class Bad(Square):
        def input_gradient(self, gy: Tensor, x: Tensor) -> Tensor | None:
            return returned

    with pytest.raises(error, match=re.escape(message)):
        gradcheck(Bad(), X)


def test_the_module_and_its_inputs_are_not_touched():
    net = Sequential(Conv2d(2, 3, 3), ReLU(), Conv2d(3, 1, 1))
    x = torch.randn(2, 2, 5, 4)
    y = net.forward(x)
    net.backward(torch.ones_like(y))
    net.forward(x)
    values = [value.clone() for pair in net.param() for value in pair]
    kept = x.clone()
    gradcheck(net, x)
    gradcheck_direction(net, x)
    assert torch.equal(x, kept)
    assert all(map(torch.equal, [value for pair in net.param() for value in pair], values))
    assert {value.dtype for value in net.parameters()} == {torch.float32}
    net.backward(torch.ones_like(y))  # the pass that waited is still there


def test_a_loss_is_checked_in_its_prediction():
    class Halved(MSE):
        error_grad = staticmethod(lambda a, b, scale: 0.5 * ops.squared_error_grad(a, b, scale))

    gradcheck(MSE(), torch.randn(3, 4), torch.randn(3, 4))
    with pytest.raises(GradientError, match="Halved: the gradient of input at index"):
        gradcheck(Halved(), torch.randn(3, 4), torch.randn(3, 4))


def test_a_large_network_raises_no_false_alarm():
    layers = [Conv2d(8, 8, 3, padding=1, weight_init="kaiming") for _ in range(4)]
    net = Sequential(BatchNorm2d(8), *[part for layer in layers for part in (layer, Sigmoid())])
    gradcheck_direction(net, 100 * torch.randn(4, 8, 24, 24))


# -- several inputs and outputs -------------------------------------------------------------------


class Pick(Module):
    """(a[index] * b, a + weight): two inputs of floats, one of integers, two outputs."""

    def __init__(self) -> None:
        self.weight = parameter(torch.tensor(1.5))

    def run(self, a: Tensor, index: Tensor, b: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        tape.push(self, a, index, b)
        return a[index] * b, a + self.weight

    def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Any:
        a, index, b = tape.take(self)
        first, second = gy
        tape.add(self.weight, second.sum())
        ga = second.clone().index_add_(0, index, first * b)
        return ga, None, first * a[index]


PICKED = torch.randn(3, 2), torch.tensor([2, 0, 2, 1]), torch.randn(4, 2)


def test_a_module_of_three_inputs_two_gradients_and_two_outputs_is_checked():
    gradcheck(Pick(), *PICKED)
    gradcheck_direction(Pick(), *PICKED)


@pytest.mark.parametrize("place", [0, 2])
def test_a_wrong_gradient_of_one_of_several_inputs_is_found_and_named(place):
    class Wrong(Pick):
        def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Any:
            gradients = [*super().back(gy, tape)]
            gradients[place] = gradients[place] * 1.01
            return tuple(gradients)

    for check in (gradcheck, gradcheck_direction):
        with pytest.raises(GradientError, match=f"the gradient of input {place} ") as caught:
            check(Wrong(), *PICKED)
        assert caught.value.argument == f"input {place}"


def test_a_gradient_that_is_missing_among_several_is_told():
    class Missing(Pick):
        def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Any:
            ga, _, _ = super().back(gy, tape)
            return ga, None, None

    class Alone(Pick):
        def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Any:
            return super().back(gy, tape)[0]

    with pytest.raises(TapeError, match="back returned None for input 2, but its gradient is want"):
        gradcheck(Missing(), *PICKED)
    with pytest.raises(ValueError, match="Alone: back returned one gradient for 2 inputs"):
        gradcheck(Alone(), *PICKED)


def test_a_shape_in_the_place_of_an_input_is_told():
    with pytest.raises(TypeError, match=r"expected tensors .* torch\.randn\(1, 3, 8, 8\)"):
        gradcheck(Conv2d(3, 1, 1), (1, 3, 8, 8))  # type: ignore[arg-type]

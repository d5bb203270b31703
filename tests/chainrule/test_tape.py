"""The tape's watch over what a pass computed with, and its word on which gradients are final."""

import copy
import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from chainrule import (
    MSE,
    SGD,
    Adam,
    BatchNorm2d,
    Conv2d,
    Identity,
    LeakyReLU,
    Module,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    Tape,
    TapeError,
    fuse,
    ops,
    parameter,
)


def net() -> Sequential:
    return Sequential(
        Conv2d(3, 4, 3, padding=1), ReLU(), BatchNorm2d(4), Residual(Conv2d(4, 4, 1)), Sigmoid()
    )


X = torch.rand(2, 3, 5, 6)


# -- tensors and parameters that change while a pass is open --------------------------------------


@pytest.mark.parametrize("make", [net, lambda: fuse(net())])
def test_an_output_changed_in_place_is_refused_by_the_name_of_the_layer_that_kept_it(make):
    model = make()
    y = model.forward(X)
    y.mul_(255)
    message = r"^4: Sigmoid\(\): the output, of shape \(2, 4, 5, 6\), was changed in place after"
    with pytest.raises(TapeError, match=message):
        model.backward(torch.ones_like(y))


@pytest.mark.parametrize("make", [net, lambda: fuse(net())])
def test_an_input_changed_in_place_is_refused(make):
    model, x = make(), X.clone()
    y = model.forward(x)
    x[0, 0, 0, 0] = 9
    message = r"^0: Conv2d\(3, 4, .*\): the input, of shape \(2, 3, 5, 6\), was changed in place"
    with pytest.raises(TapeError, match=message):
        model.backward(torch.ones_like(y))


def test_a_prediction_changed_in_place_is_refused_by_its_loss():
    loss, prediction = MSE(), X.clone()
    loss.forward(prediction, X)
    prediction.clamp_(0.2, 0.8)
    with pytest.raises(TapeError, match=r"^MSE\(.*\): the input, .* use y = y \* 2, or run back"):
        loss.backward()


class Halved(Module):
    """y = x / 2, which keeps something of its own."""

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        self.own = torch.full_like(x, 0.5)
        tape.push(self, self.own)
        return x * self.own

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        (own,) = tape.take(self)
        return gy * own


def test_something_else_that_a_layer_kept_is_refused_too():
    model = Halved()
    y = model.forward(torch.ones(2))
    model.own.zero_()
    with pytest.raises(TapeError, match=r"Halved\(\): a tensor that it kept, of shape \(2,\), was"):
        model.backward(y)


def test_tensors_kept_in_a_list_are_watched_too():
    class Kept(Module):
        def run(self, x: Tensor, tape: Tape) -> Tensor:
            tape.push(self, [x, (x.exp(),)])
            return x.exp()

        def back(self, gy: Tensor, tape: Tape) -> Tensor:
            ((_, (y,)),) = tape.take(self)
            return gy * y

    module, x = Kept(), X.clone()
    module.forward(x)
    x.zero_()
    with pytest.raises(TapeError, match="the input"):
        module.backward(X)


def step_by_ours(model: Module) -> None:
    SGD(model.param(), lr=0.1).step()


def step_by_ours_with_averages(model: Module) -> None:
    Adam(model.param(), lr=0.1).step()


def step_by_torch(model: Module) -> None:
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def loaded(model: Module) -> None:
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})


def converted(model: Module) -> None:
    model.to(torch.float64).to(torch.float32)


def written_by_a_kernel(model: Module) -> None:
    for value in model.parameters():
        ops.zero([value])


def replaced(model: Module) -> None:
    conv = next(each for _, each in model.named_modules() if isinstance(each, Conv2d))
    conv.weight = parameter(conv.weight.clone())


@pytest.mark.parametrize("make", [net, lambda: fuse(net())])
@pytest.mark.parametrize(
    "change",
    [
        step_by_ours,
        step_by_ours_with_averages,
        step_by_torch,
        loaded,
        converted,
        written_by_a_kernel,
        replaced,
    ],
)
def test_parameters_changed_between_forward_and_backward_are_refused(make, change):
    model = make()
    y = model.forward(X)
    change(model)
    with pytest.raises(TapeError, match=r"its weight was changed after the forward pass, say by"):
        model.backward(torch.ones_like(y))


def test_a_step_between_two_open_passes_is_refused_and_the_place_named():
    model = net()
    optimizer = SGD(model.param(), lr=0.1)
    (y, first), (_, second) = model.pullback(X), model.pullback(X)
    first(torch.ones_like(y))
    optimizer.step()
    with pytest.raises(TapeError, match=r"^3\.inner: Conv2d\(4, 4, .*\): its weight was changed"):
        second(torch.ones_like(y))


def test_what_a_pass_does_not_need_may_change():
    model, x = Sequential(Conv2d(3, 4, 1), ReLU(), Conv2d(4, 4, 1)), X.clone()
    expected = copy.deepcopy(model)
    gy = torch.ones_like(expected.forward(x))
    expected.backward(gy)
    y = model.forward(x)
    y.mul_(255)  # kept by nobody: the convolution keeps its input
    model.zero_grad()
    model.infer(x)
    model.backward(gy)
    for (_, mine), (_, other) in zip(model.param(), expected.param(), strict=True):
        assert torch.equal(mine, other)


def test_two_open_passes_in_training_may_both_move_the_running_averages():
    model = Sequential(BatchNorm2d(3), ReLU())
    (y, first), (_, second) = model.pullback(X), model.pullback(X)
    assert torch.equal(first(torch.ones_like(y)), second(torch.ones_like(y)))


def test_passes_within_inference_mode_work():
    model = net()
    y = model.forward(X)
    expected = model.backward(torch.ones_like(y))
    with torch.inference_mode():
        y = model.forward(X)
        assert torch.equal(model.backward(torch.ones_like(y)), expected)


# -- gradients that are missing -------------------------------------------------------------------


class Forgetful(ReLU):
    def back(self, gy: Tensor, tape: Tape) -> Tensor | None:  # type: ignore[override]
        super().back(gy, tape)


class Bias(Module):
    """Keeps nothing."""

    def __init__(self) -> None:
        self.bias = parameter(torch.zeros(()))

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return x + self.bias

    def back(self, gy: Tensor, tape: Tape) -> Tensor:
        tape.add(self.bias, gy.sum())
        return gy


@pytest.mark.parametrize("input_gradient", [True, False])
@pytest.mark.parametrize(
    ("model", "place"),
    [
        (Sequential(Conv2d(3, 4, 1), Forgetful(), ReLU()), r"1: Forgetful"),
        (Sequential(Bias(), Forgetful()), r"1: Forgetful"),
        (Sequential(Conv2d(3, 4, 1), Residual(Forgetful())), r"1\.inner: Forgetful"),
        (Sequential(Conv2d(3, 4, 1), SkipConcat(Forgetful())), r"1\.inner: Forgetful"),
    ],
)
def test_a_back_that_forgets_to_return_is_named(model, place, input_gradient):
    y = model.forward(X)
    with pytest.raises(TapeError, match=rf"^{place}\(\): back returned None, but its input's gr"):
        model.backward(torch.ones_like(y), input_gradient)


def test_a_single_layer_that_forgets_to_return_is_named():
    layer = Forgetful()
    layer.forward(X)
    with pytest.raises(TapeError, match=r"^Forgetful\(\): back returned None, but"):
        layer.backward(X)


def test_records_left_over_are_an_error_even_if_no_gradient_came_back():
    class Skips(Residual):
        def back(self, gy: Tensor, tape: Tape) -> None:
            return None

    model = Skips(Conv2d(3, 3, 1))
    model.forward(X)
    with pytest.raises(TapeError, match=r"^inner: Conv2d\(3, 3, .*\): its record was left on the"):
        model.backward(X, input_gradient=False)


class Talkative(Module):
    """x, and a gradient more than it has inputs."""

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return x * 1

    def back(self, gy: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        return gy, gy


def test_a_back_that_returns_too_many_gradients_is_named():
    model = Talkative()
    y = model.forward(torch.ones(2))
    with pytest.raises(TapeError, match=r"Talkative\(\): back returned 2 gradients for 1 inputs"):
        model.backward(y)


def test_where_the_gradient_was_waived_none_is_right():
    model = Sequential(Identity(), Residual(Conv2d(3, 3, 1)), LeakyReLU())
    model.forward(X)
    assert model.backward(X, input_gradient=False) is None
    expected = [gradient.clone() for _, gradient in model.param()]
    model.zero_grad()
    model.forward(X)
    assert model.backward(X).shape == X.shape
    assert all(map(torch.equal, [gradient for _, gradient in model.param()], expected))


# -- the listener ---------------------------------------------------------------------------------


def names_told(model: Module, told: list[Tensor]) -> list[str]:
    names = {id(value): name for name, value in model.named_parameters()}
    return [names[id(value)] for value in told]


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("order", [*itertools.permutations(range(2))])
def test_a_listener_is_told_of_each_final_gradient_once_in_reverse_order(fused, order):
    shared = Conv2d(3, 3, 3, padding=1)
    model = Sequential(Conv2d(3, 3, 1), shared, ReLU(), Conv2d(3, 3, 1), shared, BatchNorm2d(3))
    twin = copy.deepcopy(model)
    model = fuse(model) if fused else model
    passes = [model.pullback(x) for x in (X, 2 * X)]
    for index in order:
        twin.zero_grad()
        model.zero_grad()
        twin.backward(torch.ones_like(twin.forward((1 + index) * X)))
        expected = dict(twin.named_parameters())
        told: list[str] = []

        def listen(value: Tensor, told: list[str] = told, expected=expected) -> None:
            (name,) = names_told(model, [value])
            assert value.grad is not None
            assert expected[name].grad is not None
            assert torch.allclose(value.grad, expected[name].grad, rtol=1e-3, atol=1e-5)
            told.append(name)

        y, back = passes[index]
        back(torch.ones_like(y), listener=listen)
        assert told == [
            "5.weight",
            "5.bias",
            "3.weight",
            "3.bias",
            "1.weight",  # shared with step 4, and final only here
            "1.bias",
            "0.weight",
            "0.bias",
        ]


def test_a_listener_may_step_each_parameter_as_soon_as_its_gradient_is_final():
    model, twin = net(), net()
    twin.load_state_dict(model.state_dict())
    model.forward(X)
    gy = torch.rand(2, 4, 5, 6)

    def step(value: Tensor) -> None:
        assert value.grad is not None
        value.sub_(value.grad)

    gx = model.backward(gy, listener=step)
    twin.forward(X)
    assert torch.equal(twin.backward(gy), gx)
    SGD(twin.param(), lr=1).step()
    for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(mine, other)


def test_a_parameter_without_a_record_is_told_at_the_end():
    bias, told = Bias(), []
    model = Sequential(bias, Conv2d(3, 3, 1), bias)
    model.forward(X)
    model.backward(X, listener=told.append)
    assert names_told(model, told) == ["1.weight", "1.bias", "0.bias"]


def test_a_gradient_that_comes_after_the_last_is_refused():
    class Late(Residual):
        def back(self, gy: Tensor, tape: Tape) -> Tensor:
            gx = self.inner.back(gy, tape)
            tape.add(last.weight, torch.ones(3, 3, 1, 1))
            return gx

    last = Conv2d(3, 3, 1)
    model = Late(Sequential(Conv2d(3, 3, 1), last))
    y = model.forward(X)
    model.backward(y)
    model.forward(X)
    with pytest.raises(TapeError, match="got another gradient after its last"):
        model.backward(y, listener=lambda value: None)


# -- errors say where -----------------------------------------------------------------------------


def deep() -> Module:
    class Body(Module):
        def __init__(self) -> None:
            self.body = [ReLU(), Residual(Sequential(Conv2d(3, 3, 1), Conv2d(4, 3, 1), ReLU()))]

        def run(self, x: Tensor, tape: Tape) -> Tensor:
            return self.body[1].run(self.body[0].run(x, tape), tape)

        def back(self, gy: Tensor, tape: Tape) -> Tensor:
            return self.body[0].back(self.body[1].back(gy, tape), tape)

    return Body()


@pytest.mark.parametrize("change", [lambda model: model, fuse])
@pytest.mark.parametrize("use", [Module.forward, Module.pullback, Module.infer])
def test_an_error_deep_in_a_network_says_where(change: Callable[[Module], Module], use):
    with pytest.raises(ValueError, match=r"^body\.1\.inner\.1: Conv2d: expected 4 input channels"):
        use(change(deep()), X)


def test_an_error_on_the_way_back_says_where_and_keeps_its_type():
    class Broken(ReLU):
        def back(self, gy: Tensor, tape: Tape) -> Tensor:
            raise KeyError("gain", 3)

    model = Sequential(ReLU(), Residual(Broken()))
    model.forward(X)
    with pytest.raises(KeyError) as caught:
        model.backward(X)
    assert caught.value.args == ("1.inner: gain", 3)


def test_a_step_after_the_backward_pass_is_no_error():
    model = net()
    optimizers = [SGD(model.param(), lr=0.1), torch.optim.Adam(model.parameters())]
    for optimizer in optimizers * 2:
        y = model.forward(X)
        model.backward(torch.ones_like(y))
        optimizer.step()

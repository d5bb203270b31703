"""Losses of differences against central differences and against PyTorch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chainrule import (
    L0,
    L1,
    MSE,
    CaptureError,
    Charbonnier,
    Huber,
    HuberLoss,
    L1Loss,
    LogMSE,
    Module,
    MSELoss,
    capture,
    gradcheck,
    linear_ramp_down,
)

REDUCTIONS = ["mean", "sum", "none"]


class TwinOfCharbonnier(torch.nn.Module):
    def __init__(self, reduction: str, eps: float = 1e-3) -> None:
        super().__init__()
        self.reduction, self.eps = reduction, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        each = ((prediction - target).square() + self.eps**2).sqrt()
        return each if self.reduction == "none" else getattr(each, self.reduction)()


class TwinOfL0(torch.nn.Module):
    def __init__(self, reduction: str, gamma: float = 2.0, eps: float = 1e-8) -> None:
        super().__init__()
        self.reduction, self.gamma, self.eps = reduction, gamma, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        each = ((prediction - target).abs() + self.eps) ** self.gamma
        return each if self.reduction == "none" else getattr(each, self.reduction)()


TWINS = [
    (MSE, torch.nn.MSELoss, {}),
    (L1, torch.nn.L1Loss, {}),
    (Huber, torch.nn.HuberLoss, {}),
    (Huber, torch.nn.HuberLoss, {"delta": 0.3}),
    (Charbonnier, TwinOfCharbonnier, {}),
    (Charbonnier, TwinOfCharbonnier, {"eps": 0.2}),
    (L0, TwinOfL0, {}),
    (L0, TwinOfL0, {"gamma": 0.7, "eps": 0.05}),
    (L0, TwinOfL0, {"gamma": 0.0}),
]


def upstream(value: Tensor, gradient: float) -> Tensor:
    """dL/dvalue: that number, or one for each value."""
    return torch.randn_like(value) if value.dim() else torch.full_like(value, gradient)


@settings(max_examples=120)
@given(
    st.sampled_from(TWINS),
    st.sampled_from(REDUCTIONS),
    st.tuples(*[st.integers(1, 4)] * 4),
    st.sampled_from([torch.float64, torch.float32]),
    st.sampled_from(["contiguous", "channels_last", "gaps", "expanded"]),
    st.sampled_from([1, 0.5, -3]),
    st.integers(0, 2**32),
)
def test_equals_its_twin(
    assert_near, arranged, twins, reduction, shape, dtype, layout, gradient, seed
):
    torch.manual_seed(seed)
    ours = twins[0](reduction, **twins[2])
    theirs = twins[1](reduction=reduction, **twins[2])
    prediction = arranged(torch.randn(shape, dtype=dtype), layout)
    target = arranged(torch.randn(shape, dtype=dtype).round(), layout)
    prediction = prediction.where(target != 0, target)  # some are equal
    source = prediction.clone().requires_grad_()
    expected = theirs(source, target)
    assert_near(ours.forward(prediction, target), expected)
    gy = upstream(expected.detach(), gradient)
    expected.backward(gy)
    assert_near(ours.backward(gy if gy.dim() else gradient), source.grad)


@settings(max_examples=80)
@given(
    st.sampled_from(REDUCTIONS),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.sampled_from([torch.float64, torch.float32]),
    st.sampled_from([1e-4, 0.3]),
    st.sampled_from([1, 0.5, -3]),
    st.integers(0, 2**32),
)
def test_log_mse_equals_autograd(assert_near, reduction, shape, dtype, floor, gradient, seed):
    torch.manual_seed(seed)
    prediction, target = torch.randn(2, *shape, dtype=dtype)
    source = prediction.clone().requires_grad_()
    each = torch.stack([(a - b).square().mean() for a, b in zip(source, target, strict=True)])
    logarithms = (each + floor).log()
    expected = logarithms if reduction == "none" else getattr(logarithms, reduction)()
    loss = LogMSE(reduction, floor)
    assert_near(loss.forward(prediction, target), expected)
    gy = upstream(expected.detach(), gradient)
    expected.backward(gy)
    assert_near(loss.backward(gy if gy.dim() else gradient), source.grad)


def test_log_mse_weighs_images_by_their_error():
    target = torch.zeros(2, 3, 4, 4)
    prediction = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    loss = LogMSE(floor=1e-12)
    loss.forward(prediction, target)
    gradient = loss.backward()
    assert gradient is not None
    one, other = gradient.flatten(1).norm(dim=1)
    assert float(other / one) == pytest.approx(10)  # and 0.1 with MSE


def test_log_mse_is_finite_for_an_image_without_error():
    loss = LogMSE()
    image = torch.rand(2, 3, 4, 4)
    assert float(loss.forward(image, image)) == pytest.approx(math.log(1e-4))
    gradient = loss.backward()
    assert gradient is not None
    assert torch.equal(gradient, torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("gamma", [2.0, 1.3, 0.4])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_l0_passes_gradcheck_at_any_power(smooth_input, gamma, reduction):
    prediction, target = smooth_input(2, 3, 2), 0.05 * torch.ones(2, 3, 2)
    gradcheck(L0(reduction, gamma), prediction + 0.02, target)


def test_l0_is_the_squared_error_first_and_the_absolute_one_halfway():
    prediction, target = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    loss, gamma = L0(), linear_ramp_down(2, 1000, start=0)
    for step, other in ((0, MSE()), (500, L1())):
        loss.gamma = gamma(step)
        assert torch.allclose(loss(prediction, target), other(prediction, target))
        assert torch.allclose(loss.backward(), other.backward(), rtol=1e-5, atol=1e-7)
    loss.gamma = gamma(1000)
    assert float(loss(prediction, target)) == 1
    assert torch.equal(loss.backward(), torch.zeros_like(prediction))


def test_l0_looks_for_the_mode_where_the_others_find_mean_and_median():
    # Three of ten targets are right; the others are anything above.
    target = torch.cat([torch.full((30,), 0.2), torch.linspace(0.3, 1, 70)]).double()
    candidates = torch.linspace(0, 1, 101).double()

    def best(loss: Module) -> float:
        values = [float(loss(each.expand(100), target)) for each in candidates]
        return float(candidates[values.index(min(values))])

    assert best(MSE()) == pytest.approx(float(target.mean()), abs=0.01)
    assert best(L1()) == pytest.approx(float(target.median()), abs=0.02)
    assert best(L0(gamma=0.1)) == pytest.approx(0.2)


def test_a_pass_of_l0_keeps_the_gamma_that_it_began_with():
    prediction, target = torch.randn(5).double(), torch.randn(5).double()
    loss = L0(gamma=1.5)
    loss(prediction, target)
    loss.gamma = 0.5
    late = loss.backward()
    loss.gamma = 1.5
    loss(prediction, target)
    assert torch.equal(late, loss.backward())


def test_l0_is_not_recorded_with_a_gamma_that_will_change():
    loss, x = L0(), torch.rand(3)
    with pytest.raises(CaptureError, match="L0's gamma changes from step to step"):
        capture(lambda x: loss.forward(x, 0 * x), x)


def test_what_log_mse_refuses():
    for floor in (0, -1e-4, math.nan):
        with pytest.raises(ValueError, match="LogMSE: floor must be above 0, got"):
            LogMSE(floor=floor)
    with pytest.raises(ValueError, match="LogMSE: expected images along the first dimension"):
        LogMSE()(torch.tensor(1.0), torch.tensor(2.0))
    with pytest.raises(ValueError, match=r"LogMSE: prediction .* must have the same shape"):
        LogMSE()(torch.zeros(2, 3), torch.zeros(2, 1))
    assert repr(LogMSE("sum")) == "LogMSE(reduction='sum', floor=0.0001)"


@pytest.mark.parametrize("loss", [MSE, L0, L1, LogMSE, Huber, Charbonnier])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 2, 3)])
def test_passes_gradcheck(smooth_input, loss, reduction, shape):
    prediction, target = smooth_input(*shape), 0.05 * torch.ones(shape)
    gradcheck(loss(reduction), prediction + 0.02, target)


@pytest.mark.parametrize("loss", [MSE(), L1(), LogMSE()])
def test_the_default_gradient_is_one_and_a_scalar_tensor_will_do(loss):
    prediction, target = torch.randn(2, 3), torch.randn(2, 3)
    passes = [loss.pullback(prediction, target)[1] for _ in range(2)]
    loss.forward(prediction, target)
    by_default = loss.backward()
    assert torch.equal(by_default, passes[0](1.0))
    assert torch.equal(by_default, passes[1](torch.tensor(1.0)))


def test_a_gradient_that_is_no_scalar_is_refused():
    loss = MSE()
    loss.forward(torch.randn(2, 3), torch.randn(2, 3))
    with pytest.raises(ValueError, match=r"MSE.*expected.*shape \(\), got \(3,\)"):
        loss.backward(torch.ones(3))


def test_inference_gives_the_same_value_and_keeps_nothing():
    prediction, target = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(MSE().infer(prediction, target), MSE().forward(prediction, target))


def test_the_mean_over_noisy_targets_is_least_at_their_mean():
    target = torch.tensor([0.0, 1.0, 5.0])
    loss = MSE()
    loss.forward(target.mean().expand(3), target)
    gradient = loss.backward()
    assert gradient is not None
    assert abs(float(gradient.sum())) < 1e-6


def test_names_and_reductions():
    assert (MSELoss, L1Loss, HuberLoss) == (MSE, L1, Huber)
    assert isinstance(MSE(), Module)
    assert repr(MSE("sum")) == "MSE(reduction='sum')"
    assert repr(Huber(delta=0.5)) == "Huber(reduction='mean', delta=0.5)"
    assert repr(L0(gamma=1)) == "L0(reduction='mean', gamma=1, eps=1e-08)"
    assert repr(Charbonnier()) == "Charbonnier(reduction='mean', eps=0.001)"
    with pytest.raises(ValueError, match='must be "mean", "sum" or "none", got \'average\''):
        L1("average")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Huber(delta=0), "Huber: delta must be above 0, got 0"),
        (lambda: Charbonnier(eps=-1e-3), "Charbonnier: eps must be above 0, got -0.001"),
        (lambda: L0(eps=0), "L0: eps must be above 0, got 0"),
        (lambda: L0(gamma=-0.1), "L0: gamma must be at least 0 and finite, got -0.1"),
        (lambda: setattr(L0(), "gamma", math.nan), "L0: gamma must be at least 0 and finite, got"),
        (lambda: L0()(torch.zeros(2), torch.zeros(3)), r"L0: prediction \(2,\) and target \(3,\)"),
        (
            lambda: Huber()(torch.zeros(2, 3), torch.zeros(2)),
            r"Huber: prediction \(2, 3\) and target \(2,\) must have the same shape",
        ),
        (
            lambda: Charbonnier()(torch.zeros(2), torch.zeros(2).double()),
            r"Charbonnier: the input is torch\.float32 and the target torch\.float64",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()

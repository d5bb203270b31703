"""Losses of differences against central differences and against PyTorch."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chainrule import (
    L1,
    MSE,
    Charbonnier,
    Huber,
    HuberLoss,
    L1Loss,
    LogMSE,
    Module,
    MSELoss,
    gradcheck,
)

REDUCTIONS = ["mean", "sum", "none"]


class TwinOfCharbonnier(torch.nn.Module):
    def __init__(self, reduction: str, eps: float = 1e-3) -> None:
        super().__init__()
        self.reduction, self.eps = reduction, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        each = ((prediction - target).square() + self.eps**2).sqrt()
        return each if self.reduction == "none" else getattr(each, self.reduction)()


TWINS = [
    (MSE, torch.nn.MSELoss, {}),
    (L1, torch.nn.L1Loss, {}),
    (Huber, torch.nn.HuberLoss, {}),
    (Huber, torch.nn.HuberLoss, {"delta": 0.3}),
    (Charbonnier, TwinOfCharbonnier, {}),
    (Charbonnier, TwinOfCharbonnier, {"eps": 0.2}),
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


def test_what_log_mse_refuses():
    for floor in (0, -1e-4, math.nan):
        with pytest.raises(ValueError, match="LogMSE: floor must be above 0, got"):
            LogMSE(floor=floor)
    with pytest.raises(ValueError, match="LogMSE: expected images along the first dimension"):
        LogMSE()(torch.tensor(1.0), torch.tensor(2.0))
    with pytest.raises(ValueError, match=r"LogMSE: prediction .* must have the same shape"):
        LogMSE()(torch.zeros(2, 3), torch.zeros(2, 1))
    assert repr(LogMSE("sum")) == "LogMSE(reduction='sum', floor=0.0001)"


@pytest.mark.parametrize("loss", [MSE, L1, LogMSE, Huber, Charbonnier])
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
    assert repr(Charbonnier()) == "Charbonnier(reduction='mean', eps=0.001)"
    with pytest.raises(ValueError, match='must be "mean", "sum" or "none", got \'average\''):
        L1("average")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Huber(delta=0), "Huber: delta must be above 0, got 0"),
        (lambda: Charbonnier(eps=-1e-3), "Charbonnier: eps must be above 0, got -0.001"),
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

"""Optimizers and gradient clipping against torch.optim."""

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chainrule import (
    MSE,
    SGD,
    Adam,
    AdamW,
    BatchNorm2d,
    Conv2d,
    Lion,
    Muon,
    Optimizer,
    ReLU,
    RMSprop,
    Sequential,
    clip_gradients,
    parameter,
)
from chainrule.serialization import load_tensors, save_tensors

RECIPES = [
    (SGD, torch.optim.SGD, {"lr": 0.05}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "dampening": 0.3}),
    (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (
        SGD,
        torch.optim.SGD,
        {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.02},
    ),
    (Adam, torch.optim.Adam, {}),
    (Adam, torch.optim.Adam, {"lr": 0.02, "betas": (0.5, 0.9), "eps": 1e-3}),
    (Adam, torch.optim.Adam, {"lr": 0.02, "weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {}),
    (AdamW, torch.optim.AdamW, {"lr": 0.02, "betas": (0.8, 0.99), "weight_decay": 0.2}),
    (RMSprop, torch.optim.RMSprop, {}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.02, "momentum": 0.9}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.02, "centered": True}),
    (RMSprop, torch.optim.RMSprop, {"lr": 0.02, "centered": True, "momentum": 0.5}),
]


def follow(values: list[Tensor], step: Callable[[], object], steps: int, seed: int = 1) -> None:
    """Walk down a noisy bowl: each gradient is part of the value and noise."""
    noise = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for value in values:
            random = torch.empty(value.shape, dtype=torch.float64).normal_(generator=noise)
            value.grad = (value.detach() + random).to(value.dtype)
        step()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("ours", "theirs", "options"), RECIPES)
def test_hundred_steps_equal_torch(assert_near, ours, theirs, options, dtype):
    start = [torch.randn(3, 2, 3, 3, dtype=dtype), torch.randn(5, dtype=dtype)]
    mine, twins = [value.clone() for value in start], [value.clone() for value in start]
    follow(mine, ours(mine, **options).step, 100)
    follow(twins, theirs(twins, **options).step, 100)
    for got, expected, began in zip(mine, twins, start, strict=True):
        assert_near(got, expected)
        assert (got - began).abs().max() > 0.01


def nets() -> tuple[Sequential, nn.Sequential]:
    ours = Sequential(
        Conv2d(2, 4, 3, padding=1, bias=False), BatchNorm2d(4), ReLU(), Conv2d(4, 2, 3)
    )
    theirs = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)
    )
    theirs.load_state_dict(ours.state_dict())
    return ours.to(torch.float64), theirs.double()


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        (torch.optim.Adam, {"lr": 0.01}),
        (torch.optim.AdamW, {"lr": 0.01}),
    ],
)
def test_torch_optimizer_scheduler_and_clipping_work_on_our_parameters(
    assert_near, optimizer, options
):
    ours, theirs = nets()
    x, target = torch.randn(4, 2, 6, 6).double(), torch.randn(4, 2, 4, 4).double()
    loss = MSE()
    mine, twin = optimizer(ours.parameters(), **options), optimizer(theirs.parameters(), **options)
    schedules = [torch.optim.lr_scheduler.StepLR(each, 5, gamma=0.5) for each in (mine, twin)]
    norms = []
    for _ in range(20):
        mine.zero_grad()
        loss.forward(ours.forward(x), target)
        ours.backward(loss.backward(), input_gradient=False)
        norms.append(torch.nn.utils.clip_grad_norm_(ours.parameters(), 0.5))

        twin.zero_grad()
        nn.functional.mse_loss(theirs(x), target).backward()
        assert_near(norms[-1], torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5))
        for each in (mine, twin, *schedules):
            each.step()
    assert max(norms) > 0.5
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        assert_near(value, state[name], name)


def test_the_interface_of_the_reports_trains_as_torch_does(assert_near):
    ours, theirs = nets()
    x, target = torch.randn(4, 2, 6, 6).double(), torch.randn(4, 2, 4, 4).double()
    loss, optimizer = MSE(), SGD(ours.param(), lr=0.1, momentum=0.9)
    twin = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    values = []
    for _ in range(30):
        ours.zero_grad()
        values.append(loss.forward(ours.forward(x), target))
        ours.backward(loss.backward())
        optimizer.step()
        twin.zero_grad()
        expected = nn.functional.mse_loss(theirs(x), target)
        expected.backward()
        twin.step()
        assert_near(values[-1], expected)
    assert values[-1] < 0.7 * values[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("kind", "options"),
    [*((kind, options) for kind, _, options in RECIPES), (Lion, {}), (Muon, {"lr": 0.01})],
)
def test_resuming_from_a_file_continues_bit_for_bit(tmp_path, kind, options, dtype):
    start = [torch.randn(4, 3, dtype=dtype), torch.randn(5, dtype=dtype)]
    whole = [value.clone() for value in start]
    optimizer = kind(whole, **options)
    follow(whole, optimizer.step, 5, seed=1)
    save_tensors(tmp_path / "state.safetensors", optimizer.state_dict())
    resumed = [value.clone() for value in whole]
    follow(whole, optimizer.step, 5, seed=2)

    again = kind(resumed, **options)
    again.load_state_dict(load_tensors(tmp_path / "state.safetensors")[0])
    assert again.steps == 5
    follow(resumed, again.step, 5, seed=2)
    assert all(map(torch.equal, resumed, whole))


def test_a_loaded_state_is_a_copy():
    values = [torch.ones(3)]
    first, second = SGD(values, 0.1, momentum=0.9), SGD([torch.ones(3)], 0.1, momentum=0.9)
    follow(values, first.step, 1)
    second.load_state_dict(first.state_dict())
    kept = first.state_dict()["0.velocity"].clone()
    follow(second.parameters, second.step, 3)
    assert torch.equal(first.state_dict()["0.velocity"], kept)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, 'the optimizer\'s state has no "steps"'),
        (
            {"steps": torch.tensor(3), "2.velocity": torch.zeros(3)},
            "has '2.velocity', but there is no such parameter",
        ),
        (
            {"steps": torch.tensor(3), "velocity": torch.zeros(3)},
            "has 'velocity', but there is no such parameter",
        ),
        (
            {"steps": torch.tensor(3), "1.velocity": torch.zeros(4)},
            r"state '1.velocity' has shape \(4,\), its parameter \(5,\)",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_nothing_loaded(state, message):
    values = [torch.ones(3), torch.ones(5)]
    optimizer = SGD(values, 0.1, momentum=0.9)
    follow(values, optimizer.step, 2)
    before = {name: value.clone() for name, value in optimizer.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in optimizer.state_dict().items())


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Lion, Muon])
def test_a_parameter_without_a_gradient_is_left_alone(kind):
    moved, kept = parameter(torch.ones(2)), torch.ones(2)
    optimizer = kind([moved, kept], lr=0.1)
    moved.grad = torch.ones(2)
    optimizer.step()
    assert kept.tolist() == [1, 1]
    assert moved.tolist() != [1, 1]
    optimizer.zero_grad()
    assert moved.grad.tolist() == [0, 0]
    assert kept.grad is None


def test_the_learning_rate_may_be_set_before_any_step():
    value = parameter(torch.zeros(1))
    optimizer = SGD([value], lr=1.0)
    for lr in (1.0, 0.5, 0.0):
        value.grad = torch.ones(1)
        optimizer.lr = lr
        optimizer.step()
    assert value.item() == -1.5


def test_pairs_bind_the_gradient_to_the_parameter():
    value, gradient = torch.zeros(2), torch.ones(2)
    SGD([(value, gradient)], lr=0.5).step()
    assert value.tolist() == [-0.5, -0.5]
    assert value.grad is gradient


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD([]), ValueError, r"there are no parameters; pass model\.param\(\)"),
        (lambda: SGD([torch.ones(1)], lr=-1), ValueError, "lr must be a finite .*, got -1"),
        (lambda: SGD([torch.ones(1)], lr=math.nan), ValueError, "lr must be a finite .* got nan"),
        (lambda: Adam([torch.ones(1)], lr=math.inf), ValueError, "lr must be a finite .* got inf"),
        (lambda: SGD([torch.ones(1)], momentum=-0.1), ValueError, "momentum must be .* got -0.1"),
        (
            lambda: AdamW([torch.ones(1)], weight_decay=-0.1),
            ValueError,
            "weight_decay must be a finite number of at least 0, got -0.1",
        ),
        (
            lambda: SGD([torch.ones(1)], nesterov=True),
            ValueError,
            "nesterov=True needs a momentum above 0 and no dampening",
        ),
        (
            lambda: SGD([torch.ones(1)], momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "nesterov=True needs a momentum above 0 and no dampening",
        ),
        (
            lambda: Adam([torch.ones(1)], betas=(0.9, 1.0)),
            ValueError,
            r"betas must lie in \[0, 1\), got \(0\.9, 1\.0\)",
        ),
        (lambda: Adam([torch.ones(1)], eps=-1), ValueError, "eps must be .* got -1"),
        (
            lambda: RMSprop([torch.ones(1)], alpha=2),
            ValueError,
            r"alpha must lie in \[0, 1\], got 2",
        ),
        (
            lambda: Lion([torch.ones(1)], betas=(1, 0)),
            ValueError,
            r"betas must lie .* got \(1, 0\)",
        ),
        (
            lambda: Muon([torch.ones(1)], adjust_lr_fn="muon"),
            ValueError,
            "adjust_lr_fn must be one of 'original', 'match_rms_adamw' or None, got 'muon'",
        ),
        (
            lambda: Muon([torch.ones(1)], ns_coefficients=cast(Any, (1, 2))),
            ValueError,
            r"ns_coefficients must be three, got \(1, 2\)",
        ),
        (
            lambda: SGD(cast(Any, [3])),
            TypeError,
            r"expected a parameter or a \(parameter, .* got int",
        ),
        (lambda: SGD(torch.ones(2, 2)), TypeError, "expected a list of parameters, got a single"),
        (
            lambda: SGD(cast(Any, Sequential(ReLU()))),
            TypeError,
            r"got the model itself, a Sequential; pass model\.parameters\(\)",
        ),
        (lambda: clip_gradients([torch.ones(1)], 0), ValueError, "max_norm must be above 0, got 0"),
        (lambda: clip_gradients([torch.ones(1)], math.nan), ValueError, "max_norm .* got nan"),
        (
            lambda: Optimizer([parameter(torch.ones(1))], lr=0.1, weight_decay=0).step(),
            NotImplementedError,
            "Optimizer has no apply",
        ),
    ],
)
def test_arguments_out_of_range(make, error, message):
    with pytest.raises(error, match=message):
        make()


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
    st.floats(1e-3, 1e3),
    st.floats(1e-3, 1e3),
    st.sampled_from([torch.float64, torch.float32]),
    st.integers(0, 2**32),
)
def test_clipping_equals_torch(assert_near, sizes, scale, max_norm, dtype, seed):
    torch.manual_seed(seed)
    mine = [parameter(torch.zeros(size, dtype=dtype)) for size in sizes]
    twins = [torch.zeros(size, dtype=dtype) for size in sizes]
    for value, twin in zip(mine, twins, strict=True):
        gradient = scale * torch.randn(value.shape, dtype=dtype)
        value.grad, twin.grad = gradient, gradient.clone()
    norm = clip_gradients(
        [(value, value.grad) for value in mine if value.grad is not None], max_norm
    )
    expected = nn.utils.clip_grad_norm_(twins, max_norm)
    assert_near(torch.tensor(norm, dtype=dtype), expected)
    for value, twin in zip(mine, twins, strict=True):
        assert_near(value.grad, twin.grad)
    assert clip_gradients(mine, max_norm) <= max_norm * (1 + 1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_are_reported_and_left_alone(bad):
    value = parameter(torch.zeros(2))
    value.grad = torch.tensor([3.0, bad])
    assert not math.isfinite(clip_gradients([value], 1.0))
    assert value.grad[0] == 3


@pytest.mark.parametrize(
    ("saved", "other", "message"),
    [
        (SGD, Adam, "holds velocity, but Adam keeps mean, square"),
        (Adam, SGD, "holds mean, square, but SGD keeps velocity"),
    ],
)
def test_another_optimizers_state_is_refused_and_nothing_loaded(saved, other, message):
    def optimizer(kind):
        value = parameter(torch.ones(3))
        made = kind([value], momentum=0.9) if kind is SGD else kind([value])
        made.step()
        return made

    mine = optimizer(other)
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    state = {**optimizer(saved).state_dict(), "steps": torch.tensor(7)}
    with pytest.raises(ValueError, match=message):
        mine.load_state_dict(state)
    assert all(torch.equal(value, before[name]) for name, value in mine.state_dict().items())


def test_a_parameter_that_is_listed_twice_is_refused():
    conv = Conv2d(1, 1, 1)
    with pytest.raises(ValueError, match=r"parameter 2, of shape \(1, 1, 1, 1\), is parameter 0 "):
        SGD([*conv.parameters(), conv.weight])


def test_parameters_that_were_asked_for_requires_grad_are_told():
    with pytest.raises(ValueError, match="requires_grad, which is false of all"):
        SGD([value for value in Conv2d(1, 1, 1).parameters() if value.requires_grad], lr=0.1)

"""Parameter groups and schedulers of PyTorch on our optimizers, and the optimizers that are not
elementwise.
"""

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from chainrule import (
    SGD,
    Adam,
    AdamW,
    Linear,
    Lion,
    Muon,
    ReduceLROnPlateau,
    RMSprop,
    clip_gradients,
    cosine,
    parameter,
)

schedulers = torch.optim.lr_scheduler


def start(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(3)
    return [torch.randn(shape, dtype=dtype) for shape in ((4, 3), (5,), (2, 6))]


def follow(values: list[Tensor], step: Callable[[], object], steps: int, seed: int = 1) -> None:
    noise = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for value in values:
            random = torch.empty(value.shape, dtype=torch.float64).normal_(generator=noise)
            value.grad = (value.detach() + random).to(value.dtype)
        step()


def grouped(values: list[Tensor], **first: Any) -> list[dict[str, Any]]:
    return [{"params": values[:1], **first}, {"params": values[1:]}]


@pytest.mark.parametrize(
    ("ours", "theirs", "first", "rest"),
    [
        (SGD, torch.optim.SGD, {"lr": 0.01, "momentum": 0.5}, {"lr": 0.1}),
        (SGD, torch.optim.SGD, {"nesterov": True, "momentum": 0.5}, {"lr": 0.1}),
        (Adam, torch.optim.Adam, {"lr": 0.02, "betas": (0.5, 0.9)}, {"weight_decay": 0.1}),
        (AdamW, torch.optim.AdamW, {"weight_decay": 0.0}, {"lr": 0.02}),
        (RMSprop, torch.optim.RMSprop, {"centered": True}, {"momentum": 0.9}),
    ],
)
def test_groups_have_options_of_their_own(assert_near, ours, theirs, first, rest):
    mine, twins = start(), start()
    follow(mine, ours(grouped(mine, **first), **rest).step, 20)
    follow(twins, theirs(grouped(twins, **first), **rest).step, 20)
    for got, expected in zip(mine, twins, strict=True):
        assert_near(got, expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(SGD, torch.optim.SGD), (AdamW, torch.optim.AdamW), (RMSprop, torch.optim.RMSprop)],
)
@pytest.mark.parametrize(
    "schedule",
    [
        lambda each: schedulers.StepLR(each, 3, gamma=0.5),
        lambda each: schedulers.CosineAnnealingLR(each, 12),
        lambda each: schedulers.OneCycleLR(each, [0.1, 0.2], 20, cycle_momentum=False),
        lambda each: schedulers.LambdaLR(each, lambda step: 1 / (1 + step)),
        lambda each: schedulers.SequentialLR(
            each,
            [schedulers.LinearLR(each, 0.1, total_iters=4), schedulers.ExponentialLR(each, 0.9)],
            [4],
        ),
    ],
)
def test_schedulers_of_pytorch_work(assert_near, ours, theirs, schedule):
    mine, twins = start(), start()
    optimizers = ours(grouped(mine, lr=0.05), lr=0.01), theirs(grouped(twins, lr=0.05), lr=0.01)
    for values, optimizer in zip((mine, twins), optimizers, strict=True):
        scheduler = schedule(optimizer)

        def both(optimizer=optimizer, scheduler=scheduler) -> None:
            optimizer.step()
            scheduler.step()

        follow(values, both, 15)
    for got, expected in zip(mine, twins, strict=True):
        assert_near(got, expected)
    rates = [[group["lr"] for group in each.param_groups] for each in optimizers]
    assert rates[0] == pytest.approx(rates[1])
    assert optimizers[0].lr == rates[0][0] != 0.05


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (SGD, torch.optim.SGD, {"momentum": 0.9}),
        (Adam, torch.optim.Adam, {}),
        (RMSprop, torch.optim.RMSprop, {"momentum": 0.5}),
    ],
)
def test_one_cycle_of_pytorch_turns_the_momentum_too(assert_near, ours, theirs, options):
    mine, twins = start(), start()
    for values, optimizer in (
        (mine, ours(mine, lr=0.1, **options)),
        (twins, theirs(twins, lr=0.1, **options)),
    ):
        scheduler = schedulers.OneCycleLR(optimizer, 0.1, 20)

        def both(optimizer=optimizer, scheduler=scheduler) -> None:
            optimizer.step()
            scheduler.step()

        follow(values, both, 18)
    for got, expected in zip(mine, twins, strict=True):
        assert_near(got, expected)


def test_our_schedules_keep_the_ratio_of_the_groups_rates():
    optimizer = SGD(grouped(start(), lr=0.2), lr=0.05)
    schedule = cosine(0.2, steps=10)
    for step in (0, 3, 10, 5):
        optimizer.lr = schedule(step)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([schedule(step), schedule(step) / 4])
        assert optimizer.lr == schedule(step)
    frozen = SGD(grouped(start(), lr=0.0), lr=0.05)
    with pytest.raises(ValueError, match="the first group's learning rate was 0 at first"):
        frozen.lr = 0.1
    alike = SGD(start(), lr=0.0)
    alike.lr = 0.1
    assert alike.param_groups[0]["lr"] == 0.1


def test_a_group_that_comes_later_begins_then(assert_near):
    mine, twins = start(), start()
    optimizers = Adam(mine[:1]), torch.optim.Adam(twins[:1])
    for values, optimizer in zip((mine, twins), optimizers, strict=True):
        follow(values[:1], optimizer.step, 10)
        optimizer.add_param_group({"params": values[1:], "lr": 0.1})
        follow(values, optimizer.step, 5)
    for got, expected in zip(mine, twins, strict=True):
        assert_near(got, expected)
    again, values = Adam(grouped(resumed := [value.clone() for value in mine])), mine
    again.param_groups[1]["lr"] = 0.1
    again.load_state_dict(
        {name: value.clone() for name, value in optimizers[0].state_dict().items()}
    )
    follow(resumed, again.step, 3, seed=2)
    follow(values, optimizers[0].step, 3, seed=2)
    assert all(map(torch.equal, resumed, values))


def test_a_parameter_that_pauses_counts_its_own_steps(assert_near):
    mine, twins = start(), start()
    for values, optimizer in ((mine, Adam(mine)), (twins, torch.optim.Adam(twins))):
        follow(values, optimizer.step, 3)
        values[1].grad = None
        follow([values[0], values[2]], optimizer.step, 2)
        follow(values, optimizer.step, 3)
    for got, expected in zip(mine, twins, strict=True):
        assert_near(got, expected)


@pytest.mark.parametrize("kind", [SGD, Adam, AdamW, RMSprop, Lion, Muon])
@pytest.mark.parametrize("way", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_goes_on_alone(kind, way):
    values = start()
    optimizer = kind(grouped(values, lr=0.05), lr=0.01)
    schedulers.StepLR(optimizer, 1)  # which wraps the step
    follow(values, optimizer.step, 3)
    other = way(optimizer)
    follow(values, optimizer.step, 3, seed=2)
    assert not torch.equal(other.parameters[0], values[0])
    follow(other.parameters, other.step, 3, seed=2)
    assert all(map(torch.equal, other.parameters, values))
    assert other.steps == 6


def test_step_returns_what_its_closure_does_and_gradients_can_be_freed():
    value = parameter(torch.ones(2))
    optimizer = SGD([value], lr=1.0)

    def closure() -> float:
        value.grad = torch.ones(2)
        return 7.0

    assert optimizer.step(closure) == 7
    assert value.tolist() == [0, 0]
    optimizer.zero_grad(set_to_none=True)
    assert value.grad is None
    optimizer.step()
    assert value.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (
            lambda: [{"params": start(), "learning_rate": 1}],
            ValueError,
            "a parameter group has 'learning_rate'; SGD takes params, lr, momentum, dampening",
        ),
        (lambda: [{"lr": 0.1}], ValueError, 'needs its parameters, as {"params"'),
        (lambda: [{"params": []}], ValueError, "there are no parameters"),
        (lambda: [{"params": start(), "lr": -1}], ValueError, "lr must be a finite .* got -1"),
        (
            lambda: [{"params": start(), "nesterov": True}],
            ValueError,
            "nesterov=True needs a momentum",
        ),
        (
            lambda: [{"params": start()}, torch.ones(1)],
            TypeError,
            "the parameters begin with a group, so expected groups, got Tensor",
        ),
        (
            lambda: [{"params": (values := start())}, {"params": values[2:]}],
            ValueError,
            r"parameter 3, of shape \(2, 6\), is parameter 2 again",
        ),
        (lambda: [{"params": torch.ones(1)}], TypeError, "got a single tensor; put it in a list"),
    ],
)
def test_groups_that_are_refused(params, error, message):
    with pytest.raises(error, match=message):
        SGD(cast(Any, params()), lr=0.1)


def test_pairs_in_groups_and_clipping_of_all_groups():
    layer = Linear(3, 2)
    optimizer = SGD([{"params": layer.param()}], lr=0.1)
    layer.backward(torch.ones_like(layer.forward(torch.randn(4, 3))))
    assert clip_gradients(optimizer.parameters, 1e-3) > 1e-3
    assert clip_gradients(optimizer.parameters, 1.0) == pytest.approx(1e-3, rel=1e-2)


def test_lion_steps_by_its_formula(assert_near):
    mine = start()
    expected, means = [value.clone() for value in mine], [torch.zeros_like(v) for v in mine]
    optimizer = Lion(mine, lr=0.01, betas=(0.8, 0.95), weight_decay=0.3)

    def both() -> None:
        optimizer.step()
        for value, twin, mean in zip(mine, expected, means, strict=True):
            assert value.grad is not None
            direction = (0.8 * mean + 0.2 * value.grad).sign()
            twin.copy_(twin - 0.01 * (direction + 0.3 * twin))
            mean.copy_(0.95 * mean + 0.05 * value.grad)

    follow(mine, both, 50)
    for got, wanted in zip(mine, expected, strict=True):
        assert_near(got, wanted)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.02, "weight_decay": 0.0, "nesterov": False},
        {"lr": 0.02, "momentum": 0.8, "adjust_lr_fn": "match_rms_adamw"},
        {"ns_coefficients": (2.0, -1.5, 0.5), "ns_steps": 12},
    ],
)
def test_muon_equals_torch_but_for_its_bfloat16(assert_near, monkeypatch, options, dtype):
    def matrices() -> list[Tensor]:
        return [value for value in start(dtype) if value.dim() == 2]

    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)  # PyTorch iterates in it
    mine, twins = matrices(), matrices()
    follow(mine, Muon(mine, **options).step, 30)
    follow(twins, torch.optim.Muon(twins, **options).step, 30)
    for got, expected in zip(mine, twins, strict=True):
        torch.testing.assert_close(
            got, expected, rtol=1e-4 if dtype == torch.float32 else 1e-9, atol=0
        )


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_s_step_is_about_orthogonal(shape):
    value = torch.zeros(shape, dtype=torch.float64)
    value.grad = torch.randn(shape, dtype=torch.float64) * 1e-3
    Muon([value], lr=1.0, weight_decay=0).step()
    step = -value / math.sqrt(max(1, shape[0] / shape[1]))
    u, s, vh = torch.linalg.svd(step)
    gu, _, gvh = torch.linalg.svd(value.grad)
    assert ((s > 0.3) & (s < 1.3)).all()  # from 1e-3 and below
    rank = min(shape)
    product = (u[:, :rank] @ vh[:rank]) - (gu[:, :rank] @ gvh[:rank])
    assert product.abs().max() < 1e-6


def test_muon_steps_vectors_and_what_it_is_told_to_as_adamw(assert_near):
    mine, twins = start(), start()
    options = {"lr": 0.02, "betas": (0.8, 0.99), "weight_decay": 0.1}
    optimizer = Muon(
        [{"params": mine[:2], "orthogonal": False}, {"params": mine[2:]}],
        adam_eps=1e-3,
        **options,
    )
    follow(mine, optimizer.step, 20)
    follow(twins, torch.optim.AdamW(twins, eps=1e-3, **options).step, 20)
    assert_near(mine[0], twins[0])
    assert_near(mine[1], twins[1])
    assert not torch.allclose(mine[2], twins[2], rtol=1e-3)
    kept = [*optimizer.state_dict()]
    assert kept == ["steps", "0.mean", "0.square", "1.mean", "1.square", "2.velocity"]


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {"patience": 1, "factor": 0.5, "cooldown": 2, "min_lr": [0.02, 0.001]},
        {"patience": 1, "mode": "max", "threshold": 0.05},
        {"patience": 1, "threshold": 0.1, "threshold_mode": "abs"},
        {"patience": 1, "mode": "max", "threshold": 0.1, "threshold_mode": "abs", "min_lr": 0.01},
        {"patience": 0, "eps": 1e-3},
    ],
)
def test_plateaus_are_seen_as_pytorch_sees_them(options):
    mine, twin = (
        SGD(grouped(start(), lr=0.2), lr=0.1),
        torch.optim.SGD(grouped(start(), lr=0.2), 0.1),
    )
    ours, theirs = ReduceLROnPlateau(mine, **options), schedulers.ReduceLROnPlateau(twin, **options)
    results = torch.randn(60).double().cumsum(0).abs()
    seen = set()
    for place, result in enumerate(results):
        if place == 30:  # resumed, from a state of PyTorch's
            ours = ReduceLROnPlateau(mine, **options)
            ours.load_state_dict(theirs.state_dict())
        ours.step(result)
        theirs.step(result)
        rates = [group["lr"] for group in mine.param_groups]
        assert rates == [group["lr"] for group in twin.param_groups]
        seen.add(rates[0])
    assert len(seen) > 1
    assert ours.state_dict().items() <= theirs.state_dict().items()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "least"}, 'mode must be "min" or "max", got \'least\''),
        ({"threshold_mode": "share"}, 'threshold_mode must be "rel" or "abs", got \'share\''),
        ({"factor": 1}, "factor must lie between 0 and 1, got 1"),
        ({"min_lr": [0.1, 0.2]}, "expected a min_lr for each of 1 groups, got 2"),
    ],
)
def test_what_a_plateau_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        ReduceLROnPlateau(SGD(start(), lr=0.1), **options)
    with pytest.raises(ValueError, match="the schedule's state has no best, cooldown_counter"):
        ReduceLROnPlateau(SGD(start(), lr=0.1)).load_state_dict({"num_bad_epochs": 3})

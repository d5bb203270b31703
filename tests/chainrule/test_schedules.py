"""Schedules against torch.optim.lr_scheduler and their formulas."""

import math
import warnings

import pytest
import torch

from chainrule import constant, cosine, linear_ramp_down, one_cycle, step_decay, warmup


def torch_rates(schedule: type, steps: int, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the steps that the optimizer does not take here
        scheduler = schedule(optimizer, **options)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    return rates


def test_constant():
    assert {constant(0.2)(step) for step in (0, 1, 10**9)} == {0.2}


def test_step_decay_equals_torch():
    schedule = step_decay(0.2, every=7, factor=0.3)
    expected = torch_rates(torch.optim.lr_scheduler.StepLR, 30, step_size=7, gamma=0.3)
    assert [schedule(step) for step in range(30)] == pytest.approx(expected, rel=1e-12)


def test_cosine_equals_torch_and_then_stays():
    schedule = cosine(0.2, steps=25, final=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR
    expected = torch_rates(scheduler, 26, T_max=25, eta_min=0.01)
    assert [schedule(step) for step in range(26)] == pytest.approx(expected, rel=1e-10)
    assert schedule(1000) == schedule(25) == pytest.approx(0.01)


def test_linear_ramp_down_is_level_then_straight_then_stays():
    schedule = linear_ramp_down(0.2, steps=100, start=0.6, final=0.02)
    assert {schedule(step) for step in range(61)} == {0.2}
    assert schedule(80) == pytest.approx(0.11)
    falls = [schedule(step) - schedule(step + 1) for step in range(60, 100)]
    assert falls == pytest.approx([0.18 / 40] * 40)
    assert schedule(100) == schedule(10**6) == pytest.approx(0.02)
    assert linear_ramp_down(0.2, steps=10)(10) == 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pct_start": 0.5, "anneal_strategy": "linear"},
        {"three_phase": True, "pct_start": 0.35},
        {"div_factor": 4.0, "final_div_factor": 10.0, "pct_start": 1.0},
        {"pct_start": 0.0},
        {"pct_start": 0.02},
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 31])
def test_one_cycle_equals_torch_and_then_stays(options, steps):
    schedule = one_cycle(0.2, steps, **options)
    scheduler = torch.optim.lr_scheduler.OneCycleLR
    settings = {"max_lr": 0.2, "total_steps": steps, "cycle_momentum": False, **options}
    try:
        expected = torch_rates(scheduler, steps - 1, **settings)
    except ZeroDivisionError:
        pytest.skip("PyTorch divides by zero")
    assert [schedule(step) for step in range(steps - 1)] == pytest.approx(expected, rel=1e-10)
    assert schedule(steps) == schedule(10**6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: one_cycle(0.1, 0), "steps must be at least 1, got 0"),
        (lambda: one_cycle(0.1, 9, 1.5), r"pct_start must lie in \[0, 1\], got 1.5"),
        (lambda: one_cycle(0.1, 9, 0.6, three_phase=True), r"lie in \[0, 0.5\], got 0.6"),
        (lambda: one_cycle(0.1, 9, div_factor=0), "div_factor and .* above 0, got 0, 10000"),
        (lambda: one_cycle(0.1, 9, anneal_strategy="sine"), "must be .* or \"linear\", got 'sine'"),  # type: ignore[arg-type]
        (lambda: step_decay(0.1, every=0), "every must be at least 1, got 0"),
        (lambda: cosine(0.1, steps=0), "steps must be at least 1, got 0"),
        (lambda: linear_ramp_down(0.1, steps=-3), "steps must be at least 1, got -3"),
        (lambda: linear_ramp_down(0.1, 10, start=1), r"start must lie in \[0, 1\), got 1"),
        (lambda: linear_ramp_down(0.1, 10, start=math.nan), r"start must lie in .* got nan"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_warmup_rises_to_the_schedule_and_follows_it():
    falling = cosine(0.1, steps=100)
    schedule = warmup(falling, 10)
    assert [schedule(step) for step in (0, 4)] == pytest.approx([0.01, 0.05], rel=0.01)
    assert [schedule(step) for step in (9, 50, 99)] == [falling(step) for step in (9, 50, 99)]
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        warmup(falling, 0)

"""Learning rates over time, as functions of the step: no state, so that resuming is exact.

schedule = cosine(0.001, steps=10_000)
optimizer.lr = schedule(step)        # before step number `step`, counted from 0
"""

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """lr, always."""
    return lambda step: lr


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr * factor^(step // every): a drop each `every` steps.

    Raises:
        ValueError: every is not above 0.
    """
    _check_positive("every", every)
    return lambda step: lr * factor ** (step // every)


def cosine(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """From lr down to final over half a cosine (Loshchilov and Hutter 2017), then final.

    final + (lr - final) * (1 + cos(pi * step / steps)) / 2

    Raises:
        ValueError: steps is not above 0.
    """
    _check_positive("steps", steps)
    return lambda step: final + (lr - final) * (1 + math.cos(math.pi * min(step / steps, 1))) / 2


def linear_ramp_down(lr: float, steps: int, start: float = 0.7, final: float = 0.0) -> Schedule:
    """lr until the share `start` of the steps is done, then in a straight line to final.

    Raises:
        ValueError: steps is not above 0, or start lies outside [0, 1).
    """
    _check_positive("steps", steps)
    if not 0 <= start < 1:
        raise ValueError(f"start must lie in [0, 1), got {start}")

    def schedule(step: int) -> float:
        done = min(max((step / steps - start) / (1 - start), 0), 1)
        return lr + (final - lr) * done

    return schedule


def warmup(schedule: Schedule, steps: int) -> Schedule:
    """`schedule`, approached in a straight line over the first steps (Goyal et al. 2017).

    schedule(step) * min(1, (step + 1) / steps)

    Raises:
        ValueError: steps is not above 0.
    """
    _check_positive("steps", steps)
    return lambda step: schedule(step) * min(1, (step + 1) / steps)


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")

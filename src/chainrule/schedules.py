"""Learning rates over time, as functions of the step: no state, so that resuming is exact.

schedule = cosine(0.001, steps=10_000)
optimizer.lr = schedule(step)        # before step number `step`, counted from 0

Parameter groups with rates of their own keep their ratio to the first. What can't be a function of
the step, because it waits for results, is a class: `ReduceLROnPlateau`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat

if TYPE_CHECKING:
    from chainrule.optimizers import Optimizer

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


def one_cycle(
    lr: float,
    steps: int,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Up to lr, then down to almost nothing: Smith and Topin 2018; PyTorch's `OneCycleLR`.

    From lr / div_factor up to lr over the share `pct_start` of the steps, then down to
    lr / div_factor / final_div_factor at the last step, where it stays. With three phases, first
    down to lr / div_factor over as many steps as it went up. The momentum, which `OneCycleLR` also
    cycles if not told otherwise, is left alone.

    Args:
        lr: the largest rate.
        steps: of the whole cycle.
        pct_start: in [0, 1], with three phases at most 1/2.
        anneal_strategy: half a cosine, or a straight line.
        div_factor, final_div_factor: above 0.
        three_phase: see above.

    Raises:
        ValueError: arguments out of range.
    """
    _check_positive("steps", steps)
    if not 0 <= pct_start <= (0.5 if three_phase else 1):
        raise ValueError(f"pct_start must lie in [0, {0.5 if three_phase else 1}], got {pct_start}")
    if anneal_strategy not in ("cos", "linear"):
        raise ValueError(f'anneal_strategy must be "cos" or "linear", got {anneal_strategy!r}')
    if not (div_factor > 0 and final_div_factor > 0):
        raise ValueError(
            f"div_factor and final_div_factor must be above 0, got {div_factor}, {final_div_factor}"
        )
    first, last = lr / div_factor, lr / div_factor / final_div_factor
    top = pct_start * steps - 1
    corners = [(0.0, first), (top, lr)]  # (step, rate)
    corners += [(2 * top, first)] if three_phase else []
    corners += [(steps - 1.0, last)]

    def schedule(step: int) -> float:
        for (begin, start), (end, target) in pairwise(corners):
            if step <= end and end > begin:
                done = (step - begin) / (end - begin)
                if anneal_strategy == "cos":
                    done = (1 - math.cos(math.pi * done)) / 2
                return start + (target - start) * done
        return last

    return schedule


class ReduceLROnPlateau:
    """Multiplies the learning rates by `factor` when a result gets no better. PyTorch's, by name.

    Better is below best * (1 - threshold), or with "abs" below best - threshold; for mode "max"
    above, with the signs turned round. After more than `patience` results in a row that aren't,
    all groups' rates are reduced; the next `cooldown` results then don't count.

    Args:
        optimizer: whose rates to reduce, when `step` is called with each result.
        mode: "min" for results that are to fall, as a loss; "max" for those to rise, as PSNR.
        factor: in (0, 1).
        patience, threshold, threshold_mode, cooldown: see above.
        min_lr: no rate is reduced below it; one for all groups, or a list.
        eps: a smaller change isn't made.

    Attributes:
        best: the best result so far.

    Raises:
        ValueError: arguments out of range.
    """

    _KEPT = ("best", "num_bad_epochs", "cooldown_counter")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max", got {mode!r}')
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f'threshold_mode must be "rel" or "abs", got {threshold_mode!r}')
        if not 0 < factor < 1:
            raise ValueError(f"factor must lie between 0 and 1, got {factor}")
        groups = len(optimizer.param_groups)
        if isinstance(min_lr, list) and len(min_lr) != groups:
            raise ValueError(f"expected a min_lr for each of {groups} groups, got {len(min_lr)}")
        self.optimizer, self.factor = optimizer, factor
        self.patience, self.cooldown, self.min_lr, self.eps = patience, cooldown, min_lr, eps
        self._sign = 1 if mode == "min" else -1
        self._threshold, self._relative = threshold, threshold_mode == "rel"
        self.best = self._sign * math.inf
        self.num_bad_epochs = self.cooldown_counter = 0

    def step(self, metrics: SupportsFloat) -> None:
        """Take note of a result, and reduce the rates if it is time to."""
        result = float(metrics)
        if self._better(result):
            self.best, self.num_bad_epochs = result, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        """What the next steps depend on but the arguments and the optimizer's rates."""
        return {name: getattr(self, name) for name in self._KEPT}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`, of PyTorch's class too.

        Raises:
            ValueError: something is missing; then nothing is loaded.
        """
        missing = [name for name in self._KEPT if name not in state_dict]
        if missing:
            raise ValueError(f"the schedule's state has no {', '.join(missing)}")
        for name in self._KEPT:
            setattr(self, name, state_dict[name])

    def _better(self, result: float) -> bool:
        if self._relative:
            limit = self.best * (1 - self._sign * self._threshold)
        else:
            limit = self.best - self._sign * self._threshold
        return self._sign * result < self._sign * limit

    def _reduce(self) -> None:
        for index, group in enumerate(self.optimizer.param_groups):
            least = self.min_lr[index] if isinstance(self.min_lr, list) else self.min_lr
            reduced = max(group["lr"] * self.factor, least)
            if group["lr"] - reduced > self.eps:
                group["lr"] = reduced


def _check_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")

"""Muon: steps of matrices whose singular values are all about one.

Derivation: docs/gradients.md#steps.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from chainrule import ops
from chainrule.optimizers.adam import adam
from chainrule.optimizers.optimizer import (
    Optimizer,
    Parameters,
    at_least_zero,
    check_betas,
    kept,
)

RATIOS = {
    "original": lambda rows, columns: math.sqrt(max(1, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}


class Muon(Optimizer):
    """Matrices step along their momentum made orthogonal, all other parameters as in `AdamW`.

    m = momentum * m + (1 - momentum) g;  u = (1 - momentum) g + momentum * m (or m, without
    Nesterov);  p = (1 - lr * weight_decay) p - lr * ratio * orthogonal(u).

    With the singular value decomposition u = U S V^T, orthogonal(u) is about U V^T: every direction
    that the momentum has counts alike. It comes from `ns_steps` rounds of a Newton-Schulz
    iteration, X = a X + (b A + c A^2) X with A = X X^T, from X = u / |u|, which are products of
    matrices only. Jordan et al. 2024, https://kellerjordan.github.io/posts/muon. PyTorch's
    `torch.optim.Muon` iterates in bfloat16; here it is the parameter's own dtype.

    Args:
        params: parameters, (parameter, gradient) pairs, or groups: see `Optimizer`. Embeddings and
            the last layer are matrices, but better left to AdamW: give them a group with
            `"orthogonal": False`.
        lr: learning rate.
        weight_decay: decoupled, as `AdamW`'s.
        momentum: of matrices, in [0, 1) as a rule.
        nesterov: look ahead along the momentum.
        ns_coefficients: a, b and c. These take singular values in (0, 1] near 1 quickly, but not
            nearer than about 0.3.
        eps: the least norm to divide by.
        ns_steps: rounds of the iteration.
        adjust_lr_fn: the ratio, for R rows and C columns: "original" (also None) is
            sqrt(max(1, R / C)); "match_rms_adamw" is 0.2 sqrt(max(R, C)), with which steps are as
            long as AdamW's and its learning rates fit (Liu et al. 2025, arXiv:2502.16982).
        orthogonal: false steps matrices as AdamW, too.
        betas, adam_eps: of AdamW.

    Raises:
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
        *,
        orthogonal: bool = True,
        betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
            orthogonal=orthogonal,
            betas=betas,
            adam_eps=adam_eps,
        )

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        check_betas(group)
        at_least_zero(group, "momentum", "eps", "adam_eps", "ns_steps")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(f"ns_coefficients must be three, got {group['ns_coefficients']}")
        if group["adjust_lr_fn"] not in (None, *RATIOS):
            raise ValueError(
                f"adjust_lr_fn must be one of {', '.join(map(repr, RATIOS))} or None, "
                f"got {group['adjust_lr_fn']!r}"
            )

    def state_names(self, value: Tensor, group: dict[str, Any]) -> tuple[str, ...]:
        return ("velocity",) if _is_orthogonal(value, group) else ("mean", "square")

    def apply_all(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
    ) -> None:
        matrices = [i for i, value in enumerate(values) if _is_orthogonal(value, group)]
        others = [i for i in range(len(values)) if i not in matrices]
        keep = 1 - group["lr"] * group["weight_decay"]
        if others:
            adam(
                [values[i] for i in others],
                [gradients[i] for i in others],
                [states[i] for i in others],
                {**group, "eps": group["adam_eps"]},
                [self.steps_of(values[i]) for i in others],
                0.0,
                keep,
            )
        if matrices:
            self._orthogonal(
                [values[i] for i in matrices],
                [gradients[i] for i in matrices],
                [states[i] for i in matrices],
                group,
                keep,
            )

    def _orthogonal(
        self,
        values: list[Tensor],
        gradients: list[Tensor],
        states: list[dict[str, Tensor]],
        group: dict[str, Any],
        keep: float,
    ) -> None:
        ratio = RATIOS[group["adjust_lr_fn"] or "original"]
        ops.muon_step(
            values,
            gradients,
            kept(states, "velocity", values),
            [ratio(*value.shape) for value in values],
            group["lr"],
            group["momentum"],
            group["nesterov"],
            keep,
            tuple(group["ns_coefficients"]),
            group["eps"],
            group["ns_steps"],
        )


def _is_orthogonal(value: Tensor, group: dict[str, Any]) -> bool:
    return group["orthogonal"] and value.dim() == 2

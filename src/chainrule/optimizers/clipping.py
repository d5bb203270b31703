"""Gradients that are too long, made shorter."""

from __future__ import annotations

import torch

from chainrule import ops
from chainrule.optimizers.optimizer import Parameters, check_once, parameters_of


@torch.no_grad()
def clip_gradients(params: Parameters, max_norm: float) -> float:
    """Scale all gradients, in place, so that their joint Euclidean norm is at most `max_norm`.

    The factor is min(1, max_norm / (norm + 1e-6)), PyTorch's. Returns the norm as it was before. A
    norm that isn't finite leaves the gradients as they are.

    Raises:
        ValueError: max_norm is not above 0, or a parameter is listed twice.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, got {max_norm}")
    values = parameters_of(params)
    check_once(values)
    gradients = [value.grad for value in values if value.grad is not None]
    return ops.clip(gradients, max_norm)

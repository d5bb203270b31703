"""The reports' networks beside their twins in `torch.nn`: how long a step takes, and how alike the
numbers are."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from chainrule import MSE, fuse
from noise2noise.benchmark import twins
from noise2noise.benchmark.speed import in_turn
from noise2noise.fit import Steps
from noise2noise.studies.runs import Images, Spec, new_network, new_optimizer, unit

VARIANTS = ("eager", "channels_last")
"""PyTorch as the reports used it, and with the memory layout that suits its convolutions."""

ROUNDS = 30
"""Measurements of each contender."""

RELATIVE, ABSOLUTE = 1e-3, 1e-6
"""The tolerance that David, Nitu and Raileanu state against PyTorch."""


def epoch_seconds(spec: Spec, images: Images, rounds: int = ROUNDS) -> dict[str, dict[str, float]]:
    """Seconds that an epoch takes, ours and PyTorch's, from single steps taken in turn.

    A step is forward, loss, backward and optimizer on a batch that is there already; its time is
    multiplied by the steps of an epoch of the spec.

    Arguments:
        spec: which network, batch size and optimizer.
        images: what the batch is taken from.
        rounds: measurements of each.

    Returns:
        For "ours", "eager" and "channels_last": the "median" and the standard deviation "spread".
    """
    x, y = unit(images.first[: spec.batch]), unit(images.second[: spec.batch])
    model = fuse(new_network(spec))
    loss, optimizer = MSE(), new_optimizer(spec, model)
    options = {"lr": spec.lr} | ({"momentum": spec.momentum} if spec.optimizer == "sgd" else {})

    steps = Steps(model, loss, optimizer)

    def our_step() -> None:
        steps(x, y)

    their_steps = [
        twins.training_step(new_network(spec), x, y, spec.optimizer, options, variant)
        for variant in VARIANTS
    ]
    seconds = in_turn([our_step, *their_steps], rounds)
    return {
        name: {
            "median": spec.steps * statistics.median(values),
            "spread": spec.steps * statistics.pstdev(values),
        }
        for name, values in zip(("ours", *VARIANTS), seconds, strict=True)
    }


def differences(spec: Spec, images: Images) -> dict[str, dict[str, Any]]:
    """How far prediction and gradients are from PyTorch's, with the same weights and one batch.

    Returns:
        For "prediction" and every parameter, whose gradient is compared: the "largest" difference,
        the "scale" (largest value of PyTorch's), and the share of values "within" `RELATIVE` and
        `ABSOLUTE`.
    """
    x = unit(images.first[: spec.batch])
    model = new_network(spec)
    rival = twins.twin(model)
    fused = fuse(model)
    prediction = fused.forward(x)
    gradient = torch.randn(prediction.shape, generator=torch.Generator().manual_seed(spec.seed))
    model.zero_grad()
    fused.backward(gradient)
    theirs = rival(x)
    theirs.backward(gradient)
    found = {"prediction": _compared(prediction, theirs.detach())}
    for (name, value), (_, their) in zip(
        model.state_dict().items(), rival.named_parameters(), strict=True
    ):
        found[name] = _compared(value.grad, their.grad)
    return found


def _compared(ours: torch.Tensor | None, theirs: torch.Tensor | None) -> dict[str, Any]:
    assert ours is not None
    assert theirs is not None
    return {
        "largest": float((ours - theirs).abs().max()),
        "scale": float(theirs.abs().max()),
        "within": float(ours.isclose(theirs, rtol=RELATIVE, atol=ABSOLUTE).float().mean()),
    }

"""Which runs the Noise2Noise paper's study needs: of its noises, with which targets and losses.

The figures are those of J. Lehtinen et al., "Noise2Noise: Learning Image Restoration without Clean
Data", ICML 2018, https://arxiv.org/abs/1803.04189, table 1; the losses are of its section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from noise2noise import networks
from noise2noise.studies.paper_runs import PaperSpec
from noise2noise.studies.study import QUICK_EPOCHS, Key, Scale

SHOTS = 4
"""So many noisy versions make the means."""

CLEAN, NOISY, MEAN = "clean", "noisy", f"mean of {SHOTS}"

TARGETS: dict[str, dict[str, Any]] = {
    NOISY: {"target": "noisy"},
    CLEAN: {"target": "clean"},
    MEAN: {"target": "noisy", "shots": SHOTS},
}


class Noise(NamedTuple):
    """One of the paper's corruptions.

    Attributes:
        spec: as `noise2noise.noise.corruptions` has it.
        title: on the page.
        loss: with which the targets' noise makes no difference.
        others: losses that are tried on noisy targets besides.
        published: the paper's table 1 in dB, by test set: (clean targets, noisy targets).
    """

    spec: str
    title: str
    loss: Literal["mse", "l1", "l0"]
    others: tuple[Literal["mse", "l1"], ...] = ()
    published: Mapping[str, tuple[float, float]] = {}


NOISES = (
    Noise(
        "gaussian:25",
        "Gaussian, sigma 25",
        "mse",
        published={"set14": (31.31, 31.28), "bsd": (31.07, 31.06), "kodak": (32.50, 32.48)},
    ),
    Noise(
        "poisson:30",
        "Poisson, peak 30",
        "mse",
        published={"set14": (30.07, 30.06), "bsd": (30.18, 30.16), "kodak": (31.52, 31.50)},
    ),
    Noise(
        "bernoulli:0.5",
        "Bernoulli, half of the pixels lost",
        "mse",
        published={"set14": (31.51, 31.72), "bsd": (31.04, 31.16), "kodak": (33.01, 33.17)},
    ),
    Noise("text:0.25", "text over a quarter of the pixels", "l1", others=("mse",)),
    Noise("impulse:0.5", "impulses in half of the pixels", "l0", others=("l1", "mse")),
)

STEPS = 600
"""In each of the 20 epochs: with 18 runs about an hour on two cores that nothing else needs."""

SPEC = PaperSpec(
    architecture="compact",
    sizes=tuple(sorted(networks.sizes_of("compact", {}).items())),
    batch=4,
    epochs=20,
    noise=NOISES[0].spec,
    target="noisy",
    loss="mse",
    lr=1e-3,
    steps=STEPS,
    crop=48,
)


def runs(scale: Scale) -> dict[Key, PaperSpec]:
    """By noise, targets and loss; those come first that the paper's claim is about."""
    base = scaled(scale)
    keys: list[Key] = [(each.spec, kind, each.loss) for each in NOISES for kind in (NOISY, CLEAN)]
    keys += [(noise.spec, MEAN, noise.loss) for noise in NOISES]
    keys += [(noise.spec, NOISY, loss) for noise in NOISES for loss in noise.others]
    return {
        (noise, kind, loss): replace(base, noise=noise, loss=loss, **TARGETS[kind])
        for noise, kind, loss in keys
    }


def scaled(scale: Scale) -> PaperSpec:
    """What the runs have in common."""
    spec = replace(SPEC, seed=scale.seed, steps=max(1, round(scale.fraction * STEPS)))
    if not scale.quick:
        return spec
    small = networks.sizes_of(SPEC.architecture, {"width": 8})
    sizes = tuple(sorted(small.items()))
    return replace(spec, sizes=sizes, steps=2, batch=2, crop=16, epochs=QUICK_EPOCHS)


LONGER = 4
"""So many times the steps have the longer runs."""

LONGER_NOISES = tuple(each for each in NOISES if each.spec in ("poisson:30", "bernoulli:0.5"))


def longer_runs(scale: Scale) -> dict[Key, PaperSpec]:
    """By noisy targets, for the noises whose figures a longer training is asked to come near."""
    base = scaled(scale)
    return {
        (noise.spec, NOISY, noise.loss): replace(
            base, noise=noise.spec, loss=noise.loss, steps=LONGER * base.steps
        )
        for noise in LONGER_NOISES
    }

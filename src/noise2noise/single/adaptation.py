"""A model fitted to one image, or to several of one kind: what is tried, and what comes of it."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.serialization import save_tensors
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import Stack
from noise2noise.inference import USUAL, Settings
from noise2noise.model_info import ModelInfo
from noise2noise.networks import sizes_of
from noise2noise.networks.adapted import Adapted
from noise2noise.single.adapt import (
    ARCHITECTURE,
    adapted,
    can_adapt,
    freeze_weights,
    splines,
    weights,
)
from noise2noise.single.fit import Budget, Fitting, Progress, Stage
from noise2noise.single.patterns import WORDS, patterns
from noise2noise.single.recorrupt import noise_of, reaches_far, recorrupted
from noise2noise.single.sample import MOST, noise_share, pairs_of, samples_of

_GAINS = (0.0, -0.3, 0.25, 0.5, 0.75)
"""Logarithms of how much of the measured noise is told, tried at first; the first is all of it."""

_WIDE_GAINS = (0.0, -0.7, -0.35, 0.35, 0.7, 1.05)
"""Where the noise reaches from pixel to pixel, so that what is told is a guess."""

_LEAST_NOISE = 0.3
"""Share of the difference between the two images of a pair that is to be noise: where it is mostly
texture that half the pixels can't show, blur would be learned."""

_LITTLE = 1 / 255
"""Noise below which nothing is gained that anybody sees."""

_RATE, _STEPS = 0.015, 60  # of the splines
_WEIGHTS_RATE, _WEIGHTS_STEPS = 2e-4, 120


@dataclass(frozen=True)
class Options:
    """How a model is fitted.

    Attributes:
        minutes: that it may take at most; usually it is done before.
        seed: of all random choices.

    Raises:
        UserError: no time at all, or a seed below 0.
    """

    minutes: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise UserError(f"the minutes to fit in must be above 0, got {self.minutes}")
        if self.seed < 0:
            raise UserError(f"a seed must be at least 0, got {self.seed}")


@dataclass(frozen=True)
class Fitted:
    """What came of a fit.

    Attributes:
        denoiser: the fitted one, or the one it began with where nothing was gained.
        base: the name of the model it began with.
        removed: what is taken from images before the network sees them, in words.
        stages: what was tried, in order.
        seconds: that it took.
        note: why nothing was tried, or ""; one clause.
    """

    denoiser: Denoiser
    base: str
    removed: list[str] = field(default_factory=list[str])
    stages: list[Stage] = field(default_factory=list[Stage])
    seconds: float = 0.0
    note: str = ""

    @property
    def gained(self) -> float:
        """By how many dB the error on pixels that were held back fell. It holds their own noise,
        so the result itself gains more."""
        kept = [stage for stage in self.stages if stage.kept]
        return sum(10 * math.log10(stage.before / stage.after) for stage in kept if stage.after)

    def describe(self) -> str:
        """One clause without a full stop."""
        before = f" after {' and '.join(self.removed)} were removed" if self.removed else ""
        if self.note:
            return f"{self.base}{before or ' as it is'}: {self.note}"
        names = [stage.name for stage in self.stages if stage.kept]
        if names:
            return f"{self.base} with {' and '.join(names)} fitted{before}"
        why = "nothing that was fitted did better on held-back pixels"
        return f"{self.base}{before}: {why}" if before else f"{self.base} as it is: {why}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "base": self.base,
            "said": self.describe(),
            "gained_db": round(self.gained, 3),
            "removed": self.removed,
            "stages": [asdict(stage) for stage in self.stages],
            "seconds": round(self.seconds, 3),
        }


def fit(
    denoiser: Denoiser,
    stacks: Sequence[Stack],
    settings: Settings = USUAL,
    options: Options | None = None,
    progress: Progress = lambda share: None,
) -> Fitted:
    """Fit a denoiser to images from themselves alone: all of them share their kind of noise.

    Arguments:
        denoiser: to begin with.
        stacks: what is to be denoised; they are read, and can be read again.
        settings: the noise, where it is known, and whether impulses are removed.
        options: time and seed.
        progress: told how far it is; whatever it raises ends the fit.

    Returns:
        What is never worse than `denoiser` on the pixels that were held back.

    Example:
        >>> from noise2noise.files import stack_of
        >>> noisy = np.random.default_rng(0).normal(0.5, 0.1, (64, 64)).astype(np.float32)
        >>> fitted = fit(Denoiser.load("grey"), [stack_of(noisy)], options=Options(0.01))
        >>> fitted.denoiser.denoise(noisy).shape
        (64, 64)
    """
    options = options or Options()
    base = denoiser.info.name
    if not can_adapt(denoiser):
        return Fitted(denoiser, base, note="its network isn't told the noise of each channel")
    budget, rng = Budget(60 * options.minutes), np.random.default_rng(options.seed)
    most = max(MOST // len(stacks), 1)
    found = patterns(stacks[:MOST])
    start = _with(found, denoiser)
    samples = [
        sample
        for stack in stacks[:MOST]
        for sample in samples_of(start, stack, settings, most)
        if sample.sigma.any()
    ]
    if not samples:
        note = "" if found else "there is no noise, or too little of an image"
        return Fitted(start, base, [WORDS[name] for name in found], [], budget.used, note)
    profile = noise_of(samples)
    far = reaches_far(profile)
    pairs = recorrupted(samples, profile, rng) if far else pairs_of(samples, rng)
    note = ""
    if profile.pixel < _LITTLE:
        note = "there is too little noise left to fit anything to"
    elif not far and noise_share(samples, pairs, profile) < _LEAST_NOISE:
        note = "its texture is stronger than its noise, and hides what a fit would gain"
    if note:
        return Fitted(start, base, [WORDS[name] for name in found], [], budget.used, note)
    network = adapted(denoiser, samples)
    freeze_weights(network, frozen=True)
    fitting = Fitting(network, pairs, denoiser.multiple, rng, budget)
    fitting.choose("the level of the noise", _gains(network, _WIDE_GAINS if far else _GAINS))
    share = _STEPS / (_STEPS + _WEIGHTS_STEPS) if far else 1.0
    if not budget.spent:
        fitting.descend(
            "splines", splines(network), _RATE, _STEPS, lambda part: progress(share * part)
        )
    if far and not budget.spent:
        freeze_weights(network, frozen=False)
        fitting.descend(
            "the network",
            weights(network),
            _WEIGHTS_RATE,
            _WEIGHTS_STEPS,
            lambda part: progress(share + (1 - share) * part),
        )
    progress(1.0)
    kept = any(stage.kept for stage in fitting.stages)
    fitted = _denoiser(network, start.info) if kept else start
    words = [WORDS[name] for name in found]
    return Fitted(fitted, base, words, fitting.stages, budget.used)


def _with(found: Sequence[str], denoiser: Denoiser) -> Denoiser:
    """The denoiser, which takes what was found from images first."""
    if not found:
        return denoiser
    sizes = {**denoiser.info.sizes, **dict.fromkeys(found, 1)}
    return _denoiser(adapted(denoiser, []), replace(denoiser.info, sizes=sizes))


def save(denoiser: Denoiser, path: str | Path, overwrite: bool = False) -> None:
    """Write a fitted model as a model file, which `Denoiser.load` reads.

    Raises:
        UserError: something stands there, or the file can't be written.
    """
    info = denoiser.info
    metadata = {
        "architecture": info.architecture,
        "sizes": json.dumps(info.sizes),
        "title": info.title,
        "noise": info.noise,
    }
    try:
        save_tensors(path, denoiser.model.state_dict(), metadata, overwrite=overwrite)
    except FileExistsError:
        raise UserError(f"{path} exists already; choose another name or add --overwrite") from None
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror or error}") from error


def _gains(network: Adapted, gains: Sequence[float]) -> list[Callable[[], None]]:
    """Settings of the gain: the same everywhere."""
    weight = next(v for name, v in network.named_parameters() if name == "gain.weight")
    first = weight.clone()

    def put(gain: float) -> None:
        weight.copy_(first + gain)

    return [functools.partial(put, gain) for gain in gains]


def _denoiser(network: Adapted, info: ModelInfo) -> Denoiser:
    sizes = sizes_of(ARCHITECTURE, info.sizes)
    parameters = sum(value.numel() for value in network.parameters())
    title = info.title if info.architecture == ARCHITECTURE else f"{info.name}, fitted to an image"
    return Denoiser(
        network, ModelInfo(info.name, ARCHITECTURE, sizes, title, info.noise, parameters)
    )

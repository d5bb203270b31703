"""A model fitted to one image, or to several of one kind: what is tried, and what comes of it."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chainrule import Module
from chainrule.serialization import save_tensors
from noise2noise.denoiser import Denoiser
from noise2noise.device import home
from noise2noise.errors import UserError
from noise2noise.files import Stack
from noise2noise.inference import USUAL, Settings
from noise2noise.model_info import ModelInfo
from noise2noise.networks import FIRST, sizes_of
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
from noise2noise.single.level import level
from noise2noise.single.patterns import WORDS, patterns
from noise2noise.single.recorrupt import noise_of, reaches_far, recorrupted
from noise2noise.single.sample import MOST, Pair, Sample, noise_share, pairs_of, samples_of
from noise2noise.single.scratch import ARCHITECTURE as SCRATCH
from noise2noise.single.scratch import STEPS as SCRATCH_STEPS
from noise2noise.single.scratch import learn

_GAINS = (0.0, -0.3, 0.25, 0.5, 0.75)
"""Logarithms of how much of the measured noise is told, tried at first; the first is all of it."""

_WIDE_GAINS = (0.0, -0.7, -0.35, 0.35, 0.7, 1.05)
"""Where the noise reaches from pixel to pixel, so that what is told is a guess."""

_LEAST_NOISE = 0.3
"""Share of the difference between the two images of a pair that is to be noise: where it is mostly
texture that half the pixels can't show, blur would be learned."""

LEARNED = "a network from scratch"
_RIGHT = 0.05
"""What is removed may differ so much from the noise that was measured before its level is doubted.
Pairs of half the size have more texture, and would have more noise told than there is."""

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
        scratch: learn from nothing in the place of fitting a model.

    Raises:
        UserError: no time at all, or a seed below 0.
    """

    minutes: float = 2.0
    seed: int = 0
    scratch: bool = False

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
        if names == [LEARNED]:
            return f"a network that learned from this image alone{before}"
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
    elif far and options.scratch:
        note = "its noise reaches from pixel to pixel, and nothing can be learned from half of them"
    if note:
        return Fitted(start, base, [WORDS[name] for name in found], [], budget.used, note)
    network = adapted(denoiser, samples)
    fitting = Fitting(network, pairs, denoiser.multiple, rng, budget)
    if options.scratch:
        words = [WORDS[name] for name in found]
        learned = _from_scratch(start, samples, pairs, fitting, budget, rng, progress)
        return Fitted(learned, base, words, fitting.stages, budget.used)
    freeze_weights(network, frozen=True)
    hold = _holding_level(network, samples)
    if far:
        fitting.choose("the level of the noise", _gains(network, _WIDE_GAINS))
    elif abs(level(start, samples) - 1) > _RIGHT:
        fitting.choose("the level of the noise", _gains(network, _GAINS))
    share = _STEPS / (_STEPS + _WEIGHTS_STEPS) if far else 1.0
    if not budget.spent:
        fitting.descend(
            "splines",
            splines(network),
            _RATE,
            _STEPS,
            lambda part: progress(share * part),
            hold if not far and not fitting.stages else lambda: None,
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


def _from_scratch(
    start: Denoiser,
    samples: Sequence[Sample],
    pairs: Sequence[Pair],
    fitting: Fitting,
    budget: Budget,
    rng: np.random.Generator,
    progress: Progress,
) -> Denoiser:
    """A denoiser that learned from the samples, or the one that stands where it isn't better."""
    held = [pair.held for pair in pairs]
    where = home(start.model)
    network, steps = learn(samples, held, SCRATCH_STEPS, rng, budget, progress, where)
    progress(1.0)
    other = Fitting(network, pairs, start.multiple, rng, budget, told=False)
    if not fitting.compare(LEARNED, other, steps):
        return start
    first = {name: start.info.sizes.get(name, 0) for name in FIRST}
    return alone(network, first)


def alone(network: Module, first: Mapping[str, int] | None = None) -> Denoiser:
    """The denoiser of a network that `learn` made.

    Arguments:
        first: what is to be removed from images before, by `noise2noise.networks.FIRST`.
    """
    channels = next(iter(network.parameters())).shape[1]
    sizes = sizes_of(SCRATCH, {"channels": channels, **(first or {})})
    parameters = sum(value.numel() for value in network.parameters())
    title = "learned from one image alone"
    return Denoiser(network, ModelInfo("from scratch", SCRATCH, sizes, title, "", parameters))


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


def _holding_level(network: Adapted, samples: Sequence[Sample]) -> Callable[[], None]:
    """Keeps the mean of the logarithms of gain and slopes over the pixels at zero, so that what is
    learned is how the noise goes with the brightness, and not how much of it there is."""
    values = np.concatenate([sample.image.reshape(-1)[::7] for sample in samples])
    known = dict(network.named_parameters())
    low, high = (float(end) for end in dict(network.named_tensors())["gain.ends"])
    place = (values.clip(low, high) - low) / (high - low)
    shares = []
    for name, last in (("gain.weight", 0), ("into.weight", 1)):
        count = len(known[name])
        bins = np.rint(place * (count - 1)) if not last else np.minimum(place * count, count - 1)
        counts = np.bincount(bins.astype(np.int64), minlength=count)
        share = torch.from_numpy((counts / counts.sum()).astype(np.float32))
        shares.append((known[name], share.to(known[name])))

    def hold() -> None:
        for weight, share in shares:
            weight -= (weight * share).sum()

    return hold


def _denoiser(network: Adapted, info: ModelInfo) -> Denoiser:
    sizes = sizes_of(ARCHITECTURE, info.sizes)
    parameters = sum(value.numel() for value in network.parameters())
    title = info.title if info.architecture == ARCHITECTURE else f"{info.name}, fitted to an image"
    return Denoiser(
        network, ModelInfo(info.name, ARCHITECTURE, sizes, title, info.noise, parameters)
    )

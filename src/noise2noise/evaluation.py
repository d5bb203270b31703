"""Measuring denoisers, ours and classical ones, side by side on the same noisy images."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from noise2noise.classical import METHODS, Method, check_installed
from noise2noise.data import Track, matched
from noise2noise.denoiser import Denoiser
from noise2noise.device import AUTO, resolved
from noise2noise.errors import UserError, naming
from noise2noise.files import (
    Scale,
    Stack,
    array_stack,
    list_images,
    read_image,
    scale_of,
    survey,
    to_unit,
)
from noise2noise.inference import Settings
from noise2noise.metrics import SSIM_WINDOW, psnr, scale_invariant_psnr, ssim
from noise2noise.noise import NoiseProfile
from noise2noise.noise.corruptions import parse
from noise2noise.suiting import default_model

NO_WORSE = 0.05
"""An image is counted as harmed if it loses more than so many dB."""

UNIT, FLOAT = Scale(0, 1), np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Pair:
    """A noisy image and its clean version, on the scale of the clean one's values.

    Attributes:
        noisy, clean: float32 (C, H, W); 0 is black and 1 white, as `files.scale_of` has them.
        scale: between this and the noisy file's values.
        dtype: of the clean file.
    """

    noisy: np.ndarray
    clean: np.ndarray
    scale: Scale = UNIT
    dtype: np.dtype = FLOAT

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.noisy, self.clean))

    def shown(self, result: np.ndarray) -> np.ndarray:
        """A result as it would be written: clipped where integers are, and rounded to the steps of
        8 bits, which are seen. Steps of more bits aren't, wherever in their range the values lie.
        """
        if self.dtype.kind == "f":
            return result
        clipped = np.clip(result, 0, 1)
        return np.rint(clipped * 255) / 255 if self.dtype == np.uint8 else clipped


@dataclass(frozen=True)
class TestSet:
    """Pairs of (noisy, clean) images, read one at a time.

    Attributes:
        pairs: one function a pair, which reads it.
        noise: one line on where the noise comes from.
        profile: the noise itself, if it is the same in all images and known.
    """

    __test__ = False  # no test case, whatever pytest thinks of the name

    pairs: list[Callable[[], Pair]]
    noise: str
    profile: NoiseProfile | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return (read() for read in self.pairs)

    def every(self, step: int) -> TestSet:
        """The first of each `step` pairs."""
        return replace(self, pairs=self.pairs[::step])

    def describe(self) -> str:
        """One line for people."""
        return self.noise


def corrupted(folder: Path, spec: str, seed: int) -> TestSet:
    """Clean images with noise added, the same noise for the same seed.

    Raises:
        UserError: the folder or the corruption can't be used.
    """
    noise = parse(spec)

    def reader(index: int, path: Path) -> Callable[[], Pair]:
        def read() -> Pair:
            pixels = _read(path, least=noise.scale * SSIM_WINDOW)
            scale = _scale(pixels)
            image = scale.to_unit(pixels.transpose(2, 0, 1))
            rng = np.random.default_rng((seed, index))
            return Pair(noise.draw(image, rng), noise.clean(image), scale, pixels.dtype)

        return read

    readers = [reader(index, path) for index, path in enumerate(list_images(folder))]
    return TestSet(readers, f"noise {noise.spec} added with seed {seed}", noise.profile)


def recorded(clean: Path, noisy: Path, clean_suffix: str = "", noisy_suffix: str = "") -> TestSet:
    """Noisy and clean files of the same name: in two folders, or in one with a suffix each.

    Arguments:
        clean, noisy: the folders; the same one where names end differently.
        clean_suffix, noisy_suffix: how names end, before the dot; what comes before must match.

    Raises:
        UserError: a file has no partner; or, when read, the sizes differ.
    """
    if clean_suffix == noisy_suffix:
        pairs = matched(noisy, clean)
    else:
        pairs = _by_suffix(noisy, noisy_suffix, clean, clean_suffix)
    return TestSet([_reader(*paths) for paths in pairs], f"recorded noise in {noisy}")


def _by_suffix(
    noisy: Path, noisy_suffix: str, clean: Path, clean_suffix: str
) -> list[tuple[Path, Path]]:
    first, second = _stems(noisy, noisy_suffix), _stems(clean, clean_suffix)
    alone = sorted(first.keys() ^ second.keys())
    if alone:
        raise UserError(
            f"{alone[0]} has no partner: {len(alone)} of the names that end in {noisy_suffix!r} in "
            f"{noisy} and in {clean_suffix!r} in {clean} stand alone; rename or remove them"
        )
    return [(first[name], second[name]) for name in sorted(first)]


def _stems(folder: Path, suffix: str) -> dict[str, Path]:
    """The images whose names end in `suffix`, by what comes before it."""
    found = {path.stem: path for path in list_images(folder) if path.stem.endswith(suffix)}
    if not found:
        raise UserError(f"no image in {folder} has a name that ends in {suffix!r}")
    return {stem.removesuffix(suffix): path for stem, path in found.items()}


def _reader(noisy: Path, clean: Path) -> Callable[[], Pair]:
    def read() -> Pair:
        first, second = (_read(path, SSIM_WINDOW) for path in (noisy, clean))
        if first.shape != second.shape:
            raise UserError(
                f"{noisy} is {_size(first)} and {clean} {_size(second)}; a pair must have one size"
            )
        own = _scale(second)
        # Files of different dtypes have no unit in common: each is on a scale of its own.
        scale = own if first.dtype == second.dtype else _scale(first)
        units = (scale.to_unit(first.transpose(2, 0, 1)), own.to_unit(second.transpose(2, 0, 1)))
        return Pair(*units, scale, second.dtype)

    return read


def _read(path: Path, least: int) -> np.ndarray:
    """The pixels of a file as stored, (H, W, C).

    Raises:
        UserError: it can't be read, or a side is below `least` pixels.
    """
    pixels = np.atleast_3d(read_image(path).pixels)
    refuse_smaller(path, pixels.shape[:2], least)
    return pixels


def _scale(pixels: np.ndarray) -> Scale:
    stack = array_stack(pixels)
    return scale_of(stack.header, survey(stack))


def refuse_smaller(path: Path, size: tuple[int, ...], least: int) -> None:
    """Raise a UserError if a side of an image, (height, width), is below `least` pixels."""
    height, width = size
    if min(size) < least:
        raise UserError(
            f"{path} is {width} x {height}; at least {least} x {least} pixels are needed"
        )


def read_unit(path: Path, least: int = 1) -> np.ndarray:
    """The image at `path` as `to_unit` has it: float32 (C, H, W).

    Raises:
        UserError: it can't be read, its floats are out of range, or a side is below `least` pixels.
    """
    image = read_image(path)
    with naming(path):
        unit = to_unit(image)
    refuse_smaller(path, unit.shape[1:], least)
    return unit


@dataclass(frozen=True)
class Score:
    """What a method made of a set of images; means over them.

    Attributes:
        method: its name, or "noisy" for the images as they came.
        psnr, ssim: against the clean images, of results as `Pair.shown` has them.
        scale_invariant_psnr: of results as they are, after a least-squares fit to the clean image.
        harmed: the share of images whose PSNR is more than NO_WORSE dB below the noisy image's.
        seconds: for an image.
        seconds_per_megapixel: for the set.
    """

    method: str
    psnr: float
    ssim: float
    scale_invariant_psnr: float
    harmed: float
    seconds: float
    seconds_per_megapixel: float


def evaluate_all(
    images: TestSet,
    models: list[str],
    against: list[str],
    track: Track,
    told: bool = False,
    keep: Callable[[int, str, np.ndarray], None] | None = None,
    single: bool = False,
    scratch: bool = False,
    device: str | torch.device = AUTO,
) -> list[Score]:
    """How good each method is: the noisy images as they are, the models, the classical methods.

    Arguments:
        images: what to measure on.
        models: names or paths; none means the shipped model that suits each image.
        against: keys of METHODS.
        track: shows the progress.
        told: tell every method the noise, where it is known, in place of having it estimated.
        keep: called with each image's number, "noisy", "clean" or a method's name, and the picture.
        scratch: also a network that learns from each image from nothing, whatever its check says.
        single: each model also fitted to each image first, as `noise2noise.single` does.
        device: what computes the models, as `Denoiser.load` takes it.

    Raises:
        UserError: a model, method or device is unknown, or an image can't be used.
    """
    where = resolved(device)
    methods = _methods(models, against, single, where)
    if scratch:
        methods["from scratch"] = functools.partial(_from_scratch, device=where)
    noise = images.profile if told else None
    scores: dict[str, list[_One]] = {name: [] for name in ("noisy", *methods)}
    for index, pair in enumerate(track(images, "Evaluating", len(images))):
        if keep:
            keep(index, "clean", pair.clean)
        for name, method in {"noisy": _as_it_is, **methods}.items():
            started = time.perf_counter()
            result = method(pair, noise)
            seconds = time.perf_counter() - started
            if keep:
                keep(index, name, result)
            scores[name].append(_One.of(pair, result, seconds, rounded=name != "noisy"))
    return [_mean(name, values, scores["noisy"]) for name, values in scores.items()]


Way = Callable[[Pair, NoiseProfile | None], np.ndarray]
"""What makes a result of a pair's noisy image, perhaps told its noise."""


def _methods(
    models: list[str], against: list[str], single: bool, device: torch.device
) -> dict[str, Way]:
    methods: dict[str, Way] = {}
    for name in models or ["shipped model"]:
        choose = _always(name, device) if models else _suiting(device)
        methods[name] = _by(choose)
        if single:
            methods[f"{name}, fitted"] = _fitted(choose)
    for name in against:
        if name not in METHODS:
            raise UserError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
        check_installed(name)
        methods[name] = _classical(METHODS[name])
    return methods


def _classical(method: Method) -> Way:
    return lambda pair, noise: method(pair.noisy, noise)


Choose = Callable[[Pair, NoiseProfile | None], Denoiser]
"""The denoiser of a pair's noisy image, whose noise may be known."""


def _always(name: str, device: torch.device) -> Choose:
    denoiser = Denoiser.load(name, device)
    return lambda pair, noise: denoiser


def _suiting(device: torch.device) -> Choose:
    load = functools.cache(Denoiser.load)
    return lambda pair, noise: load(default_model(_as_file(pair), noise is not None), device)


def _as_file(pair: Pair) -> np.ndarray:
    """The noisy image as its file holds it, if it was one: what suits it depends on that, too."""
    values = pair.noisy.transpose(1, 2, 0)
    if pair.dtype.kind not in "ui":
        return values
    stored = pair.scale.from_unit(values, pair.dtype)
    step = 1 / (pair.scale.white - pair.scale.black)
    rounded = np.abs(pair.scale.to_unit(stored) - values).max() <= _NOT_ROUNDED * step
    return stored if rounded else values  # noise that was drawn isn't rounded


_NOT_ROUNDED = 0.01  # of a step between two values


def _by(choose: Choose) -> Way:
    def run(pair: Pair, noise: NoiseProfile | None) -> np.ndarray:
        denoiser = choose(pair, noise)
        # A blind network does its best without being told.
        noise = noise if denoiser.told else None
        if denoiser.info.values is None or noise is not None:
            return denoiser.denoise_unit(pair.noisy, noise=noise)
        bands = denoiser.run(_stored(pair)).bands()
        return pair.scale.to_unit(np.concatenate(list(bands)).transpose(2, 0, 1))

    return run


def _stored(pair: Pair) -> Stack:
    """The noisy image in the units of its file, which a model may know; not rounded."""
    white, black = pair.scale.white, pair.scale.black
    stack = array_stack(pair.noisy.transpose(1, 2, 0) * np.float32(white - black) + black)
    whole = pair.dtype if pair.dtype.kind != "f" else None
    stack.header = replace(stack.header, dtype=np.dtype(np.float32), whole=whole)
    return stack


def _fitted(choose: Choose) -> Way:
    def run(pair: Pair, noise: NoiseProfile | None) -> np.ndarray:
        from noise2noise.single import fit  # the others need nothing of it

        denoiser, stack = choose(pair, noise), array_stack(pair.noisy.transpose(1, 2, 0))
        settings = Settings(noise=noise if denoiser.told else None)
        bands = fit(denoiser, [stack], settings).denoiser.run(stack, settings).bands()
        return np.concatenate(list(bands)).transpose(2, 0, 1)

    return run


def _from_scratch(pair: Pair, noise: NoiseProfile | None, device: torch.device) -> np.ndarray:
    from noise2noise.single import STEPS, Budget, Sample, alone, learn

    height, width = (size // 2 * 2 for size in pair.noisy.shape[1:])
    image = np.ascontiguousarray(pair.noisy[:, :height, :width], np.float32)
    held = np.zeros((height // 2, width // 2), bool)
    rng, budget = np.random.default_rng(0), Budget(math.inf)
    samples = [Sample(image, image)]
    network, _ = learn(samples, [held], STEPS, rng, budget, lambda share: None, device)
    return alone(network).denoise_unit(pair.noisy)


def _as_it_is(pair: Pair, noise: NoiseProfile | None) -> np.ndarray:
    return pair.noisy


class _One(NamedTuple):
    """A method's figures for one image; see Score."""

    psnr: float
    ssim: float
    scale_invariant_psnr: float
    seconds: float
    pixels: int

    @classmethod
    def of(cls, pair: Pair, result: np.ndarray, seconds: float, rounded: bool) -> _One:
        clean, shown = pair.clean, pair.shown(result) if rounded else result
        return cls(
            psnr(shown, clean),
            ssim(shown, clean),
            scale_invariant_psnr(result, clean),
            seconds,
            clean[0].size,
        )


def _mean(name: str, values: list[_One], before: list[_One]) -> Score:
    means = np.mean(values, axis=0)
    harmed = [one.psnr < old.psnr - NO_WORSE for one, old in zip(values, before, strict=True)]
    megapixels = sum(one.pixels for one in values) / 1e6
    return Score(
        method=name,
        psnr=float(means[0]),
        ssim=float(means[1]),
        scale_invariant_psnr=float(means[2]),
        harmed=float(np.mean(harmed)),
        seconds=float(means[3]),
        seconds_per_megapixel=sum(one.seconds for one in values) / megapixels,
    )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]} with {image.shape[2]} channels"

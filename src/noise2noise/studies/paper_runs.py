"""The runs of the Noise2Noise paper's study: one network, one noise, and what the targets are.

A step's crops, their noise and their targets follow from the seed and the step's number alone, so
that runs which differ in their targets see the same crops with the same noise in the input, and a
run that was stopped goes on to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from chainrule import L0, L1, MSE, Adam, Module, Tape, cosine, fuse, linear_ramp_down
from chainrule.losses import Loss
from noise2noise import networks
from noise2noise.data import Track
from noise2noise.device import CPU, infer, moved
from noise2noise.metrics import mean_psnr, psnr
from noise2noise.noise.corruptions import parse
from noise2noise.studies.paper_data import PaperImages
from noise2noise.studies.run import BaseSpec, Result, Run, complete

CLIP_NORM = 1.0
"""Of the gradients: those of the L0 loss have no bound of their own."""

_STEP, _INPUT, _TARGET, _TEST = range(4)
"""Streams of random numbers: where crops are taken, both noises, and the noise of test images."""

_PAGES, _PAGE = 64, 256
"""So many pages of text, so many pixels wide and high, cover crops with their windows."""

_WATCHED, _WATCHED_SIDE = 16, 96
"""After an epoch the centres of so many test images are looked at."""


@dataclass(frozen=True, kw_only=True)
class PaperSpec(BaseSpec):
    """One run of the paper's study, wholly described; epochs are stretches of `steps` steps.

    Attributes:
        noise: see `noise2noise.noise.corruptions`; of `bernoulli` the survivors are not scaled up,
            as in the paper.
        target: "clean" or "noisy".
        shots: a noisy target is the mean of so many noisy versions.
        loss: "mse", "l1", or "l0", whose power falls from 2 to 0 over the run.
        lr: Adam's largest rate, from which half a cosine leads to 0.
        steps: optimizer steps in an epoch.
        crop: side of the crops in pixels.
    """

    noise: str
    target: Literal["clean", "noisy"]
    shots: int = 1
    loss: Literal["mse", "l1", "l0"]
    lr: float
    steps: int
    crop: int

    @property
    def seen(self) -> int:
        return self.steps * self.batch * self.epochs

    @property
    def loses_pixels(self) -> bool:
        """Whether lost pixels of the target are left out of the loss."""
        return self.noise.startswith("bernoulli:")


class Surviving(Loss):
    """The squared error of what is left of the targets: L = 1/M sum w (prediction - target)^2.

    dL/dprediction = 2/M w (prediction - target). The target's last channel is w, which is 0 where a
    pixel was lost: (N, C + 1, H, W) for predictions (N, C, H, W) of M values. For a mean of several
    shots w is the share of them in which the pixel survived, so that the loss is the mean of
    theirs.
    """

    def run(self, prediction: Tensor, target: Tensor, tape: Tape) -> Tensor:
        weight = target[:, -1:]
        error = prediction - target[:, :-1]
        tape.push(self, error, weight)
        return self.reduced(error.square() * weight, error.numel())

    def back(self, gradient: float | Tensor, tape: Tape) -> Tensor:
        error, weight = tape.take(self)
        return 2 * self.scale(gradient, error.numel()) * (weight * error)


def train(
    spec: PaperSpec,
    images: PaperImages,
    runs: Path,
    track: Track,
    say: Callable[[str], None],
    device: torch.device = CPU,
) -> Result:
    """The run's result; trains for it, on `device`, unless it is there: see `run.complete`."""
    return complete(spec, runs, lambda folder: _Run(spec, images, folder, say, device), track, say)


def network_of(spec: PaperSpec) -> Module:
    """The spec's network as its run begins: whatever the noise and the targets, the same."""
    with networks.seeded(spec.seed):
        return networks.build(spec.architecture, **dict(spec.sizes))


class _Run(Run[PaperSpec]):
    def __init__(
        self,
        spec: PaperSpec,
        images: PaperImages,
        folder: Path,
        say: Callable[[str], None],
        device: torch.device = CPU,
    ) -> None:
        self.images, self.device = images, device
        self.squares, self.draws = images.squares.numpy(), Draws(spec)
        steps = spec.steps * spec.epochs
        self.lr, self.gamma = cosine(spec.lr, steps), linear_ramp_down(2.0, steps, start=0)
        self.loss = _loss(spec)
        self.watched = _watched(spec, images)
        model = network_of(spec).to(device)
        optimizer = Adam(model.parameters(), spec.lr)
        super().__init__(spec, folder, say, model, optimizer, self.loss, CLIP_NORM)

    def chunks(self, epoch: int) -> range:
        return range((epoch - 1) * self.spec.steps, epoch * self.spec.steps)

    def batch(self, chunk: int) -> tuple[Tensor, Tensor]:
        self.optimizer.lr = self.lr(chunk)
        if isinstance(self.loss, L0):
            self.loss.gamma = self.gamma(chunk)
        seed = self.spec.seed
        clean = self._crops(np.random.default_rng((_STEP, seed, chunk)))
        rng, other = (np.random.default_rng((each, seed, chunk)) for each in (_INPUT, _TARGET))
        x, y = self.draws.noisy(clean, rng), self.draws.targets(clean, other)
        return moved(torch.from_numpy(x), self.device), moved(torch.from_numpy(y), self.device)

    def _crops(self, rng: np.random.Generator) -> np.ndarray:
        """Random crops of random squares, half of them mirrored: float32 (N, 3, H, W) in [0, 1]."""
        side, crops = self.spec.crop, []
        for number in rng.integers(len(self.squares), size=self.spec.batch):
            top, left = rng.integers(self.squares.shape[-1] - side + 1, size=2)
            crop = self.squares[number, :, top : top + side, left : left + side]
            crops.append(unit(crop[..., ::-1] if rng.integers(2) else crop))
        return np.stack(crops)

    def look(self) -> dict[str, float]:
        made = [predict(self.model, noisy, self._multiple) for _, noisy in self.watched]
        if not all(np.isfinite(each).all() for each in made):
            return {"validation_mse": np.nan, "validation_psnr": np.nan}
        clean = [each for each, _ in self.watched]
        error = np.mean([np.square(a - b).mean() for a, b in zip(made, clean, strict=True)])
        return {"validation_mse": float(error), "validation_psnr": mean_psnr(made, clean)}

    @property
    def _multiple(self) -> int:
        return multiple_of(self.spec)

    def facts(self) -> dict[str, str]:
        title = f"{self.spec.noise} by {self.spec.target} targets, of the Noise2Noise paper's study"
        if self.spec.loses_pixels:  # the corruption of that name scales the survivors up
            return {"title": title}
        return {"title": title, "noise": self.spec.noise}

    def scores(self) -> dict[str, dict[str, float]]:
        """By folder of test images: PSNR of the noisy images ("input"), of the predictions
        ("output"), and of these with the surviving pixels put back ("restored")."""
        found = {}
        for name in self.images.tests:
            rows = [
                self._score(clean, given)
                for clean, given in noisy_tests(self.spec.noise, self.images, name)
            ]
            found[name] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        return found

    def _score(self, clean: np.ndarray, given: np.ndarray) -> dict[str, float]:
        made = predict(self.model, given, self._multiple)
        score = {"input": psnr(given, clean), "output": psnr(made, clean)}
        if self.spec.loses_pixels:
            score["restored"] = psnr(np.where(given.any(0), given, made), clean)
        return score


def _loss(spec: PaperSpec) -> Loss:
    if spec.loses_pixels and spec.target == "noisy":
        return Surviving()
    return {"mse": MSE, "l1": L1, "l0": L0}[spec.loss]()


def unit(image: np.ndarray) -> np.ndarray:
    """uint8 to float32 in [0, 1]."""
    return image.astype(np.float32) / np.float32(255)


def noisy(noise: str, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One noisy version of `clean`, (C, H, W) in [0, 1]."""
    if noise.startswith("bernoulli:"):
        return clean * _survivors(noise, clean, rng)
    return parse(noise).draw(clean, rng)


def _survivors(noise: str, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1 where a pixel survives and 0 where it is lost, (1, H, W)."""
    lost = float(noise.partition(":")[2])
    return (rng.random((1, *clean.shape[1:])) >= lost).astype(np.float32)


class Draws:
    """What a run draws: the noise of its crops, and their targets.

    Arguments:
        spec: of the run.
    """

    def __init__(self, spec: PaperSpec) -> None:
        self.spec, self.corruption = spec, parse(spec.noise)
        self._pages = _pages(spec) if spec.noise.startswith("text:") else None

    def noisy(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A noisy version of each crop, (N, C, H, W)."""
        if self._pages is None:
            return np.stack([noisy(self.spec.noise, crop, rng) for crop in clean])
        count, _, height, width = clean.shape
        places = rng.integers(
            (len(self._pages), _PAGE - height + 1, _PAGE - width + 1), size=(count, 3)
        )
        windows = np.stack([self._pages[k, :, y : y + height, x : x + width] for k, y, x in places])
        return np.where(windows < 0, clean, windows)

    def targets(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What is to be learned for crops (N, C, H, W); where pixels are lost, with weights."""
        spec = self.spec
        if spec.target == "clean":
            return clean
        if spec.loses_pixels:
            return np.stack([_surviving(spec, crop, rng) for crop in clean])
        if spec.shots > 1 and self.corruption.can_be_told:  # their mean can be drawn at once
            return np.stack([self.corruption.told_pair(x, rng, spec.shots)[1] for x in clean])
        draws = [self.noisy(clean, rng) for _ in range(spec.shots)]
        return np.asarray(np.mean(draws, axis=0, dtype=np.float32))


def _pages(spec: PaperSpec) -> np.ndarray:
    """Pages of text, below 0 where there is none, whose windows cover crops.

    The corruption's letters are as large as the image that it gets allows, so those of crops would
    all be smaller than those of the test images; and drawing text takes longer than a step.
    """
    empty, rng = np.full((3, _PAGE, _PAGE), -1, np.float32), np.random.default_rng(spec.seed)
    count = min(_PAGES, spec.steps * spec.epochs)
    return np.stack([parse(spec.noise).draw(empty, rng) for _ in range(count)])


def _surviving(spec: PaperSpec, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What survives in the shots of a crop and, as one more channel, the share in which it does."""
    weight = np.mean([_survivors(spec.noise, clean, rng) for _ in range(spec.shots)], axis=0)
    return np.concatenate([clean * (weight > 0), weight])


def _watched(spec: PaperSpec, images: PaperImages) -> list[tuple[np.ndarray, np.ndarray]]:
    """(clean, noisy) centres of test images, spread over all of them."""
    everything = [image for tests in images.tests.values() for image in tests]
    pairs = []
    for number, image in enumerate(everything[:: -(-len(everything) // _WATCHED)]):
        rows, columns = (
            slice(start := (size - min(size, _WATCHED_SIDE)) // 2, start + _WATCHED_SIDE)
            for size in image.shape[1:]
        )
        clean = unit(image[:, rows, columns].numpy())
        rng = np.random.default_rng((_TEST, number))
        pairs.append((clean, noisy(spec.noise, clean, rng)))
    return pairs


def noisy_tests(noise: str, images: PaperImages, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """(clean, noisy) of the test images of a folder; the same noise for every run."""
    pairs = []
    for number, image in enumerate(images.tests[name]):
        clean, rng = unit(image.numpy()), np.random.default_rng((_TEST, number))
        pairs.append((clean, noisy(noise, clean, rng)))
    return pairs


def multiple_of(spec: PaperSpec) -> int:
    """Height and width of what the network takes are multiples of this."""
    return networks.needs_of(spec.architecture, dict(spec.sizes)).multiple


def predict(model: Module, image: np.ndarray, multiple: int) -> np.ndarray:
    """The network's prediction for (C, H, W), clipped to [0, 1]; mirrored at the edges to a size
    that the network takes."""
    _, height, width = image.shape
    margins = ((0, 0), (0, -height % multiple), (0, -width % multiple))
    made = infer(fuse(model), np.pad(image, margins, mode="symmetric")[None])
    return made[0, :, :height, :width].clip(0, 1)

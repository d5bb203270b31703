"""Fits a network to an image and checks on what was held back whether that was of use."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chainrule import MSE, Adam, Module, fuse
from noise2noise.device import home, infer, moved
from noise2noise.single.sample import Pair

Progress = Callable[[float], None]
"""Told how much is done, from 0 to 1. Whatever it raises ends the fit."""

_TILE = 64  # side of what goes through the network at once, in cells of a pair
_BATCH = 4  # tiles from both sides, or twice as many from one
_CHECKS = 6  # in a stage
_PATIENCE = 2  # checks without a gain, after which a stage is given up
_PART = 16  # cells a side, of a part whose error counts as one observation
_SURE = 1.5  # standard errors that a gain must be above zero
_SURE_OF_FEW = 2.0  # of one of a few levels, which half the pixels choose too high


@dataclass(frozen=True)
class Stage:
    """One thing that was tried.

    Attributes:
        name: what was fitted, for people.
        before, after: the error on what was held back, a mean square on the unit scale.
        deviation: the standard error of their difference.
        steps: of the optimizer.
        kept: whether the gain was sure enough.
    """

    name: str
    before: float
    after: float
    deviation: float
    steps: int
    kept: bool


class Budget:
    """Time that may be taken; it begins now.

    Arguments:
        seconds: at least 0.
    """

    def __init__(self, seconds: float) -> None:
        self._start, self._seconds = time.monotonic(), seconds

    @property
    def spent(self) -> bool:
        """Whether nothing of it is left."""
        return self.used >= self._seconds

    @property
    def used(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._start


class Fitting:
    """A network on its way to an image.

    Arguments:
        network: takes [image, sigma], (N, 2 C, H, W).
        pairs: of the image.
        multiple: heights and widths that the network takes are multiples of this.
        rng: chooses the tiles.
        budget: of time.
        told: whether the network takes sigma too; else the image alone.

    Attributes:
        stages: what was tried so far.
    """

    def __init__(
        self,
        network: Module,
        pairs: Sequence[Pair],
        multiple: int,
        rng: np.random.Generator,
        budget: Budget,
        told: bool = True,
    ) -> None:
        self._told = told
        self._network, self._run = network, fuse(network)
        self._pairs = [_cut(pair, multiple) for pair in pairs]
        self._side = min(_TILE, *(min(pair.held.shape) for pair in self._pairs))
        self._side -= self._side % multiple
        self._areas = np.array([pair.held.size for pair in self._pairs], np.float64)
        self._rng, self._budget = rng, budget
        self.stages: list[Stage] = []

    def errors(self) -> np.ndarray:
        """On what was held back: square errors of the parts of the image, both sides together, in
        such a scale that their mean is the mean square error."""
        sums, count = [], 0
        for pair in self._pairs:
            for rows, columns in _grid(pair.held.shape, self._side):
                held = pair.held[rows, columns]
                x, y = _both([_window(pair, rows, columns)], self._told)
                z = infer(self._run, x)
                square = np.square(z - y, dtype=np.float64).mean((0, 1)) * held
                sums.append(_by_parts(square))
                count += int(held.sum())
        found = np.concatenate(sums)
        return found * (len(found) / max(count, 1))

    def choose(self, name: str, settings: Sequence[Callable[[], None]]) -> None:
        """Take the best of some settings, the first of which is what stands.

        Arguments:
            settings: each puts the network into one.
        """
        before = self.errors()
        found = []
        for number, setting in enumerate(settings):
            setting()
            found.append(self.errors() if number else before)
        best = int(np.argmin([each.mean() for each in found]))
        kept = best > 0 and _sure(found[best] - before, _SURE_OF_FEW)
        settings[best if kept else 0]()
        self.stages.append(_stage(name, before, found[best], 0, kept))

    def descend(
        self,
        name: str,
        parameters: Sequence[Tensor],
        rate: float,
        steps: int,
        progress: Progress,
        hold: Callable[[], None] = lambda: None,
    ) -> None:
        """Fit some of the network's parameters by Adam, along a cosine, and keep the best state.

        Arguments:
            parameters: of the network; the others must be frozen.
            rate: of learning, at first.
            steps: at most.
            hold: puts right after each step what is to stay as it is.
        """
        before = self.errors()
        first = [value.clone() for value in parameters]
        best, kept = before, first
        optimizer, loss = Adam(list(parameters), lr=rate), MSE()
        stale = done = 0
        for done in range(1, steps + 1):
            progress((done - 1) / steps)
            optimizer.param_groups[0]["lr"] = rate * _course(done / steps)
            self._step(optimizer, loss)
            hold()
            if done % max(steps // _CHECKS, 1) and done != steps:
                continue
            errors = self.errors()
            if errors.mean() < best.mean():
                best, stale = errors, 0
                kept = [value.clone() for value in parameters]
            else:
                stale += 1
            if stale >= _PATIENCE or self._budget.spent:
                break
        use = _sure(best - before)
        for value, good in zip(parameters, kept if use else first, strict=True):
            value.copy_(good)
        self.stages.append(_stage(name, before, best, done, use))

    def compare(self, name: str, other: Fitting, steps: int) -> bool:
        """Whether another network, on the same pairs, is surely better than this one; that is noted
        here.

        Arguments:
            steps: that the other one took.
        """
        before, after = self.errors(), other.errors()
        better = _sure(after - before)
        self.stages.append(_stage(name, before, after, steps, better))
        return better

    def _step(self, optimizer: Adam, loss: MSE) -> None:
        device = home(self._run)
        x, y, held = (moved(torch.from_numpy(part), device) for part in self._batch())
        optimizer.zero_grad()
        z = self._run.forward(x)
        # What is held back gives no gradient: it is taken for right.
        target = y.where(~held, z)
        loss.forward(z, target)
        self._run.backward(loss.backward(), input_gradient=False)
        optimizer.step()

    def _batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        place = self._rng.choice(len(self._pairs), p=self._areas / self._areas.sum())
        pair, side = self._pairs[place], self._side
        height, width = pair.held.shape
        windows = []
        for _ in range(_BATCH if pair.mirrored else 2 * _BATCH):
            top, left = (
                int(self._rng.integers(0, size - side, endpoint=True)) for size in (height, width)
            )
            window = _window(pair, slice(top, top + side), slice(left, left + side))
            windows.append(_turned(window, int(self._rng.integers(8))))
        x, y = _both(windows, self._told)
        held = np.stack([pair.held for pair in windows]).repeat(len(x) // len(windows), 0)[:, None]
        return x, y, held


def _by_parts(square: np.ndarray) -> np.ndarray:
    """The sums of squares of `_PART` cells a side."""
    rows, columns = (range(0, size, _PART) for size in square.shape)
    return np.add.reduceat(np.add.reduceat(square, rows, 0), columns, 1).ravel()


def _course(share: float) -> float:
    """The learning rate as a part of its highest: up in the first tenth, then down a cosine."""
    return min(10 * share, (1 + math.cos(math.pi * share)) / 2)


def _sure(differences: np.ndarray, errors: float = _SURE) -> bool:
    """Whether errors fell, and by more than chance would let them."""
    return bool(differences.mean() < -errors * _deviation(differences))


def _deviation(differences: np.ndarray) -> float:
    return float(differences.std() / math.sqrt(max(len(differences) - 1, 1)))


def _stage(name: str, before: np.ndarray, after: np.ndarray, steps: int, kept: bool) -> Stage:
    spread = _deviation(after - before)
    return Stage(name, float(before.mean()), float(after.mean()), spread, steps, kept)


def _cut(pair: Pair, multiple: int) -> Pair:
    """Without the last rows and columns, beyond what the network takes."""
    height, width = (size - size % multiple for size in pair.held.shape)
    return _window(pair, slice(0, height), slice(0, width))


def _window(pair: Pair, rows: slice, columns: slice) -> Pair:
    first, second, sigma = (x[:, rows, columns] for x in (pair.first, pair.second, pair.sigma))
    return Pair(first, second, sigma, pair.held[rows, columns], pair.mirrored)


def _turned(pair: Pair, turn: int) -> Pair:
    """One of the eight flips and turns of a square."""

    def of(x: np.ndarray) -> np.ndarray:
        flipped = x[..., ::-1] if turn >= 4 else x
        return np.rot90(flipped, turn % 4, (-2, -1))

    images = of(pair.first), of(pair.second), of(pair.sigma)
    return Pair(*images, of(pair.held), pair.mirrored)


def _both(pairs: Sequence[Pair], told: bool) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, (N, 2 C, h, w) or, untold, (N, C, h, w), and targets, (N, C, h, w); each pair that
    can be mirrored is also seen from its other side, directly behind."""
    inputs, targets = [], []
    for pair in pairs:
        sides = [(pair.first, pair.second), (pair.second, pair.first)]
        for noisy, target in sides if pair.mirrored else sides[:1]:
            inputs.append(np.concatenate([noisy, pair.sigma]) if told else noisy)
            targets.append(target)
    return np.stack(inputs), np.stack(targets)


def _grid(shape: tuple[int, ...], side: int) -> Iterator[tuple[slice, slice]]:
    """Squares side by side; what is left over at the end belongs to none."""
    for top in range(0, shape[0] - side + 1, side):
        for left in range(0, shape[1] - side + 1, side):
            yield slice(top, top + side), slice(left, left + side)

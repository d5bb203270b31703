"""Scenes: several shots of the same thing, each with its own noise, and which of them are pairs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from noise2noise.data.pixels import centre, random_views
from noise2noise.data.recorded import RecordedSource
from noise2noise.data.registration import SAME, Exposure
from noise2noise.data.words import colour_text, counted, size_text
from noise2noise.errors import UserError
from noise2noise.files import Scale
from noise2noise.noise import NoiseProfile, profile_of_pairs

_BLOCK = 4
_LOW, _HIGH = 0.1, 99.9  # percent: of means over squares, which noise hardly widens
_LEAST_RANGE = 64  # 8-bit values that use more of their range than this are told on all of it
_VALUES = 2**20  # so many squares are looked at, at most
_HELD_SHARE = 5  # of a single scene: one part in so many is held back
_MOST_HELD = 512  # pixels of it along the cut


@dataclass(frozen=True)
class Scene:
    """Shots of the same pixels.

    Attributes:
        shots: (C, H, W) each, as stored, of one shape.
        pairs: which two of them are pairs, (pairs, 2).
        exposures: what brings each shot to the exposure of the first; none are needed if empty.
        gaps: where nothing is known of each shot, bool (C, H, W) or None; empty if all is known.
    """

    shots: Sequence[np.ndarray]
    pairs: np.ndarray
    exposures: Sequence[Exposure] = field(default=())
    gaps: Sequence[np.ndarray | None] = field(default=())

    def gap(self, shot: int) -> np.ndarray | None:
        return self.gaps[shot] if self.gaps else None

    def known(self, shot: int) -> np.ndarray:
        """A shot with NaN where nothing is known."""
        gap = self.gap(shot)
        return self.shots[shot] if gap is None else np.where(gap, np.nan, self.shots[shot])

    def exposure(self, shot: int) -> Exposure:
        return self.exposures[shot] if self.exposures else SAME

    def part(self, window: tuple[slice, slice]) -> Scene:
        """A window of all shots."""
        rows, columns = window
        return replace(
            self,
            shots=[shot[:, rows, columns] for shot in self.shots],
            gaps=[None if gap is None else gap[:, rows, columns] for gap in self.gaps],
        )


Source = TypeVar("Source", bound="RecordedScenes")


class RecordedScenes(RecordedSource):
    """Scenes as they were recorded; of two shots either is the input, drawn anew each time.

    Values are scaled by what there is of them, so that their unit and what is black make no
    difference: black is what nearly all squares of 4 x 4 pixels are above, white what nearly all
    are below. Only 8-bit images that use a good part of their range keep all of it.

    Arguments:
        scenes: at least one, all of 1 or all of 3 channels.
        crop: side of the crops in pixels.
        target_is_clean: the second shot of each pair is clean, and always the target.
        notes: sentences about what was met, such as shots that are left out.
        unit: whether values are in the units of their files, so that they mean something to whoever
            uses the model on another such file.

    Attributes:
        values: what is black and white, as stored.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        crop: int,
        target_is_clean: bool = False,
        notes: Sequence[str] = (),
        unit: bool = True,
    ) -> None:
        super().__init__(np.array([scene.shots[0].shape[1:] for scene in scenes]), crop)
        self.channels = len(scenes[0].shots[0])
        self.reference_is_clean = target_is_clean
        self.notes = tuple(notes)
        self._scenes = list(scenes)
        self._means: dict[int, float] = {}
        self.gaps = any(scene.gaps for scene in scenes)
        self._scale = scale_of_scenes(scenes)
        self.values = (self._scale.black, self._scale.white) if unit else None
        self._measure = functools.cache(functools.partial(_noise_of, self._scenes, self._scale))

    def _in_words(self) -> tuple[str, str, str]:
        """How many pairs there are and how many scenes, and what crops are taken."""
        chosen = [self._scenes[image] for image in self._images.tolist()]
        pairs = counted(sum(len(scene.pairs) for scene in chosen), "pair")
        crops = f"crops of {self.crop} x {self.crop}, {colour_text(self.channels)}"
        return pairs, counted(len(chosen), "scene"), crops

    def recorded_noise(self) -> NoiseProfile | None:
        if self.reference_is_clean or self.values is None or not self.noise.confidence:
            return None
        black, white = self.values
        return self.noise.scaled(white - black, black)

    def parted(self: Source) -> tuple[Source, Source]:
        """A single scene in two: a large part to learn from, the rest of the picture to validate
        on.

        Raises:
            UserError: it is too small for both.
        """
        (index,) = self._images
        scene = self._scenes[index]
        sizes = scene.shots[0].shape[1:]
        along = int(np.argmax(sizes))
        held = max(self.crop, min(sizes[along] // _HELD_SHARE, _MOST_HELD))
        if sizes[along] - held < self.crop:
            raise UserError(
                f"a single scene of {size_text(scene.shots[0])} holds no crop of {self.crop} x "
                f"{self.crop} to learn from and another to validate on; choose a crop of at most "
                f"{sizes[along] // 2}, or add scenes"
            )
        windows = []
        for part in (slice(0, sizes[along] - held), slice(sizes[along] - held, None)):
            window = [slice(None), slice(None)]
            window[along] = part
            windows.append((window[0], window[1]))
        rest, validation = (self._with([scene.part(window)]) for window in windows)
        return rest, validation

    def _with(self: Source, scenes: list[Scene]) -> Source:
        """The same with other scenes, on the same scale and of the same noise."""
        part = self.subset(range(self.images))
        part._scenes, part._means = scenes, {}
        part._shapes = np.array([scene.shots[0].shape[1:] for scene in scenes])
        part._choose(np.arange(len(scenes)))
        return part

    def _unit(self, scene: Scene, shot: int, pixels: np.ndarray) -> np.ndarray:
        return to_unit(pixels, scene.exposure(shot), self._scale)

    def _fill(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        views = random_views(self._shapes[images], self.crop, rng)
        swaps = rng.integers(1 if self.reference_is_clean else 2, size=len(images)).tolist()
        scenes = [self._scenes[image] for image in images.tolist()]
        chosen = rng.integers([len(scene.pairs) for scene in scenes]).tolist() if scenes else []
        draws = zip(scenes, views, swaps, chosen, strict=True)
        for place, (scene, view, swap, number) in enumerate(draws):
            pair = scene.pairs[number].tolist()
            for side, shot in zip((inputs, targets), pair[::-1] if swap else pair, strict=True):
                side[place] = self._unit(scene, shot, view.of(scene.shots[shot]))
            for gap in (scene.gap(shot) for shot in pair):
                if gap is not None:
                    targets[place][view.of(gap)] = np.nan

    def _mean(self, image: int) -> float:
        """Of the scene's first shot."""
        if image not in self._means:
            scene = self._scenes[image]
            some = self._unit(scene, 0, scene.shots[0][:, ::4, ::4])
            self._means[image] = float(some.mean(dtype=np.float64))
        return self._means[image]

    def _validation_pair(
        self, image: int, side: int
    ) -> tuple[np.ndarray, np.ndarray, NoiseProfile | None]:
        """A shot, and the mean of all its partners, as far as there is something to compare."""
        scene = self._scenes[image]
        shot = int(scene.pairs[0][0])
        partners = [b if a == shot else a for a, b in scene.pairs.tolist() if shot in (a, b)]
        if self.reference_is_clean:
            partners = partners[:1]
        noisy, *others = (
            self._unit(scene, each, centre(scene.shots[each], side)) for each in (shot, *partners)
        )
        noise = None if self._telling is None else self.noise
        if not scene.gaps:
            return noisy, np.asarray(np.mean(others, 0, dtype=np.float32)), noise
        lacks, *lacking = (_square_of_gap(scene, each, side) for each in (shot, *partners))
        known = ~np.array(lacking) & ~lacks
        count = known.sum(0)
        total = np.sum(others, 0, dtype=np.float32, where=known)
        reference = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return noisy, reference.astype(np.float32), noise


def _square_of_gap(scene: Scene, shot: int, side: int) -> np.ndarray:
    gap = scene.gap(shot)
    return centre(np.zeros_like(scene.shots[shot], bool) if gap is None else gap, side)


def to_unit(pixels: np.ndarray, exposure: Exposure, scale: Scale) -> np.ndarray:
    """float32 on the unit scale, subtracted where numbers are exact."""
    gain = exposure.gain / (scale.white - scale.black)
    offset = (exposure.offset - scale.black) / (scale.white - scale.black)
    exact = np.float64 if pixels.dtype.itemsize > 2 else np.float32
    return (pixels.astype(exact) * exact(gain) + exact(offset)).astype(np.float32)


def scale_of_scenes(scenes: Sequence[Scene]) -> Scale:
    """What is black and what is white in shots of one kind."""
    dtypes = {shot.dtype for scene in scenes for shot in scene.shots}
    share = max(1, _VALUES // sum(len(scene.shots) for scene in scenes))
    squares = np.concatenate(
        [
            _adjusted(_squares(scene.known(place), share), scene.exposure(place))
            for scene in scenes
            for place in range(len(scene.shots))
        ]
    )
    if any(scene.gaps for scene in scenes):
        squares = squares[np.isfinite(squares)]
    if not len(squares):  # there are gaps everywhere
        squares = np.concatenate([shot.reshape(-1) for scene in scenes for shot in scene.shots])
    low, high = (float(value) for value in np.percentile(squares, (_LOW, _HIGH)))
    if dtypes == {np.dtype(np.uint8)} and high - low >= _LEAST_RANGE:
        return Scale(0, 255)
    if high <= low:  # flat: only noise says how large values are
        shot = scenes[0].shots[0].astype(np.float64)
        high = low + (float(shot.std()) or 1.0)
    return Scale(low, high)


def _squares(shot: np.ndarray, most: int) -> np.ndarray:
    """The means over squares of a shot, or over pixels if it is smaller than a square."""
    side = min(_BLOCK, *shot.shape[1:])
    rows, columns = (size // side for size in shot.shape[1:])
    every = max(1, int(np.sqrt(len(shot) * rows * columns / most)))
    rows_taken = np.arange(0, rows, every)
    strips = shot[:, : rows * side, : columns * side].reshape(len(shot), rows, side, columns, side)
    return strips[:, rows_taken][:, :, :, ::every].mean((2, 4), dtype=np.float64).reshape(-1)


def _adjusted(values: np.ndarray, exposure: Exposure) -> np.ndarray:
    return values * exposure.gain + exposure.offset


class _Side(Sequence[np.ndarray]):
    """One shot of each pair on the unit scale, made when it is asked for."""

    def __init__(self, scenes: Sequence[Scene], side: int, scale: Scale) -> None:
        self._scenes, self._side, self._scale = scenes, side, scale
        self._pairs = [
            (number, place)
            for number, scene in enumerate(scenes)
            for place in range(len(scene.pairs))
        ]

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        number, place = self._pairs[index]
        scene = self._scenes[number]
        shot = int(scene.pairs[place][self._side])
        return to_unit(scene.known(shot), scene.exposure(shot), self._scale)


def _noise_of(scenes: Sequence[Scene], scale: Scale) -> NoiseProfile:
    return profile_of_pairs(_Side(scenes, 0, scale), _Side(scenes, 1, scale))

"""Pairs as they were taken, in two tensors of values from 0 to 255: the noise is in the file."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch

from noise2noise.data.pair_file import check_tensors
from noise2noise.data.pixels import centre, random_views
from noise2noise.data.source import PairSource
from noise2noise.data.telling import Telling, told
from noise2noise.data.words import checked_crop, colour_text, counted, size_text
from noise2noise.errors import UserError
from noise2noise.files import Scale
from noise2noise.noise import NoiseProfile, profile_of_pairs
from noise2noise.tiling import filled


class RecordedSource(PairSource):
    """Images as they were taken: their noise is in the files, and is measured from the pairs."""

    takes_time = False

    _measure: Callable[[], NoiseProfile]
    """Measures once, for all subsets of the source."""

    @property
    def noise(self) -> NoiseProfile:
        """The noise of the images on the unit scale, measured from all pairs."""
        return self._measure()

    @abstractmethod
    def _mean(self, image: int) -> float:
        """Of an image, on the unit scale."""

    def _fill_told(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
        telling: Telling,
    ) -> None:
        noisy = np.empty(targets.shape, np.float32)
        self._fill(noisy, targets, images, rng)
        for place, image in enumerate(images.tolist()):
            pair = noisy[place], targets[place]
            inputs[place], targets[place] = told(*pair, self.noise, self._mean(image), rng)

    def _check_telling(self) -> None:
        if self.reference_is_clean:
            raise UserError(
                "the noise of pairs of noisy and clean images can't be told to a network; choose "
                "another architecture"
            )


class TensorPairs(RecordedSource):
    """Pairs held in two tensors: image `i` of one and image `i` of the other show the same scene.

    Which of the two is the input is drawn anew each time, unless `target_is_clean`.

    Arguments:
        first, second: `(N, C, H, W)` of equal shape, C 1 or 3; uint8, or floats of the same scale,
            0 to 255, NaN or infinite where nothing is known. 8-bit tensors are not copied.
        crop: side of the crops; the shorter side of the images if None.
        target_is_clean: `second` holds clean images: it is always the target.

    Raises:
        UserError: shapes, dtypes or values are others, or the images are smaller than `crop`.
    """

    values = (0.0, 255.0)

    def __init__(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        crop: int | None = None,
        target_is_clean: bool = False,
    ) -> None:
        check_tensors(first, second, "the pairs", gaps=True)
        count, _, height, width = first.shape
        crop = checked_crop(min(height, width) if crop is None else crop)
        if crop > min(height, width):
            raise UserError(
                f"a crop of {crop} x {crop} does not fit in the images of {size_text(first[0])}; "
                f"choose a crop of at most {min(height, width)}"
            )
        shapes = np.broadcast_to(np.array([height, width]), (count, 2))
        super().__init__(shapes, crop)
        self.channels = first.shape[1]
        self.reference_is_clean = target_is_clean
        self._first, self._second, self._gap = _completed(_stored(first), _stored(second))
        self.gaps = self._gap is not None
        if self._first.dtype != self._second.dtype:
            self._first, self._second = map(_unit, (self._first, self._second))
        self._scale = Scale.of(self._first.dtype)
        self._measure = functools.cache(
            functools.partial(_noise_of, self._first, self._second, self._scale, self._gap)
        )

    def _fill(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        views = random_views(self._shapes[images], self.crop, rng)
        swaps = rng.integers(1 if self.reference_is_clean else 2, size=len(images)).tolist()
        draws = zip(images.tolist(), views, swaps, strict=True)
        for place, (image, view, swap) in enumerate(draws):
            first, second = (targets, inputs) if swap else (inputs, targets)
            first[place] = view.of(self._first[image])
            second[place] = view.of(self._second[image])
            if self._gap is not None:
                targets[place][view.of(self._gap[image])] = np.nan
        if self._scale.white != 1:
            inputs /= self._scale.white
            targets /= self._scale.white

    def recorded_noise(self) -> NoiseProfile | None:
        if self.reference_is_clean or not self.noise.confidence:
            return None
        return self.noise.scaled(255)

    def _mean(self, image: int) -> float:
        return float(self._first[image].mean(dtype=np.float64) / self._scale.white)

    def _validation_pair(
        self, image: int, side: int
    ) -> tuple[np.ndarray, np.ndarray, NoiseProfile | None]:
        first, second = (centre(pixels[image], side) for pixels in (self._first, self._second))
        noise = None if self._telling is None else self.noise
        noisy, reference = self._scale.to_unit(first), self._scale.to_unit(second)
        if self._gap is not None:
            gap = centre(self._gap[image], side)
            reference = np.where(gap, np.float32(np.nan), reference)
        return noisy, reference, noise

    def describe(self) -> str:
        kind = "noisy and clean" if self.reference_is_clean else "noisy"
        height, width = self._shapes[0]
        size = f"{width} x {height}"
        pairs = counted(self.images, "pair")
        return f"{pairs} of {kind} images, {size}, {colour_text(self.channels)}"


def _stored(side: torch.Tensor) -> np.ndarray:
    if side.dtype == torch.uint8:
        return side.detach().cpu().numpy()
    return (side.detach().cpu().float() / 255).numpy()


def _unit(images: np.ndarray) -> np.ndarray:
    return Scale.of(images.dtype).to_unit(images)


def _completed(
    first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Both sides with a number everywhere, and where in one of them there was none, if at all."""
    gaps = [~np.isfinite(side) for side in (first, second) if side.dtype.kind == "f"]
    if not any(gap.any() for gap in gaps):
        return first, second, None
    return _complete(first), _complete(second), np.logical_or.reduce(gaps)


def _complete(side: np.ndarray) -> np.ndarray:
    if side.dtype.kind != "f":
        return side
    return np.stack([filled(image, ~np.isfinite(image)) for image in side])


def _noise_of(
    first: np.ndarray, second: np.ndarray, scale: Scale, gap: np.ndarray | None
) -> NoiseProfile:
    if gap is not None:
        first, second = (np.where(gap, np.float32(np.nan), side) for side in (first, second))
    return profile_of_pairs(first, second).scaled(1 / scale.white)

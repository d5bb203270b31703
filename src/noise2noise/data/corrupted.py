"""Pairs made from clean images and a noise model: both sides of a pair are noisy."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from noise2noise.data import streams
from noise2noise.data.pixels import centre, decoded, in_channels, random_views, refuse_small
from noise2noise.data.source import PairSource, Track, silently
from noise2noise.data.telling import Telling, is_halved, told, varied
from noise2noise.data.words import checked_channels, checked_crop, colour_text, counted
from noise2noise.dead_leaves import dead_leaves
from noise2noise.errors import UserError
from noise2noise.files import Scale, list_images
from noise2noise.noise import NoiseProfile
from noise2noise.noise.corruptions import Corruption
from noise2noise.noise.family import blocks


class _CorruptedImages(PairSource):
    """Clean images of which noisy ones are drawn, two for each crop."""

    takes_time = True
    reference_is_clean = True

    def __init__(self, pixels: Sequence[np.ndarray], corruption: Corruption, crop: int) -> None:
        shapes = np.array([image.shape[1:] for image in pixels]) // corruption.scale
        super().__init__(shapes, crop)
        self.channels = len(pixels[0])
        self._pixels = pixels
        self._corruption = corruption
        self._means: dict[int, float] = {}

    def _fill(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        # Turned before the noise is drawn, because what is drawn may have an upright: text has.
        pixels = [self._pixels[image] for image in images]
        side = self.crop * self._corruption.scale
        views = random_views(np.array([image.shape[1:] for image in pixels]), side, rng)
        for place, (image, view) in enumerate(zip(pixels, views, strict=True)):
            clean = _unit(view.of(image))
            inputs[place], targets[place] = self._corruption.pair(clean, rng)

    def _fill_told(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
        telling: Telling,
    ) -> None:
        for place, index in enumerate(images.tolist()):
            image = self._pixels[index]
            if telling.varied:
                clean, light = self._varied(image, rng)
            else:
                clean, light = _crop(image, self.crop, rng), 1.0
            pair = self._corruption.told_pair(clean, rng, telling.shots)
            inputs[place], targets[place] = told(*pair, light * self._mean(index), rng)

    def _varied(self, image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
        """A crop at another scale and in another light, and how bright that light is."""
        halved = is_halved(rng) and min(image.shape[1:]) >= 2 * self.crop
        clean = _crop(image, 2 * self.crop if halved else self.crop, rng)
        if halved:
            clean = blocks(clean, 2).mean(axis=-1)
        result = varied(clean, rng)
        return result, float(result.mean() / max(clean.mean(), np.finfo(np.float32).tiny))

    def _mean(self, image: int) -> float:
        """Of a clean image, on the unit scale."""
        if image not in self._means:
            self._means[image] = float(_unit(self._pixels[image][:, ::4, ::4]).mean())
        return self._means[image]

    def _check_telling(self) -> None:
        if not self._corruption.can_be_told:
            raise UserError(
                f"the noise {self._corruption.spec} can't be told to a network; choose shot and "
                "read noise, such as sensor:blind or gaussian:25, or another architecture"
            )

    def _validation_pair(
        self, image: int, side: int
    ) -> tuple[np.ndarray, np.ndarray, NoiseProfile | None]:
        clean = _unit(centre(self._pixels[image], side * self._corruption.scale))
        rng = np.random.default_rng((streams.VALIDATION, image))
        if self._telling is None:
            return self._corruption.draw(clean, rng), self._corruption.clean(clean), None
        noisy, _, noise = self._corruption.told_pair(clean, rng)
        return noisy, clean, noise

    def _noise(self) -> str:
        crops = f"crops of {self.crop} x {self.crop}, {colour_text(self.channels)}"
        return f"noise {self._corruption.spec} drawn anew for each, {crops}"


def _unit(pixels: np.ndarray) -> np.ndarray:
    return Scale.of(pixels.dtype).to_unit(pixels)


def _crop(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """A random square of an image, on the unit scale."""
    (view,) = random_views(np.array([image.shape[1:]]), side, rng)
    return _unit(view.of(image))


class CorruptedPhotographs(_CorruptedImages):
    """A folder of clean photographs and a noise model; both images of a pair are noisy.

    All photographs are read at once and stay in memory, 3 bytes for a pixel of an 8-bit colour one.

    Arguments:
        folder: where the photographs are.
        corruption: the noise; with a `scale` of k, a region of `k * crop` pixels makes one crop.
        crop: side of the crops in pixels.
        channels: 1 makes all photographs grey (luma of ITU-R BT.601), 3 repeats grey ones in three
            channels; None stands for 3 if any photograph is in colour and 1 otherwise.
        track: shows the progress of reading.

    Raises:
        UserError: the folder is missing or empty, or a file can't be read or is too small.
    """

    def __init__(
        self,
        folder: str | Path,
        corruption: Corruption,
        crop: int,
        channels: int | None = None,
        track: Track | None = None,
    ) -> None:
        crop, channels = checked_crop(crop), checked_channels(channels)
        self._folder = Path(folder)
        paths = list_images(self._folder)
        with ThreadPoolExecutor() as pool:
            reading = pool.map(decoded, paths)
            pixels = [*(track or silently)(reading, "Reading", len(paths))]
        refuse_small(paths, pixels, crop * corruption.scale)
        channels = channels or max(map(len, pixels))
        super().__init__([in_channels(image, channels) for image in pixels], corruption, crop)

    def describe(self) -> str:
        return f"{counted(self.images, 'photograph')} in {self._folder}, {self._noise()}"


class GeneratedImages(_CorruptedImages):
    """Pictures from `dead_leaves`, made once, and a noise model; both images of a pair are noisy.

    Making one (some 40 ms for 128 x 128) would hold up every training step, so they are made here,
    a little larger than the crop, and kept with the 8 bits that photographs have.

    Arguments:
        count: how many pictures, at least 1.
        corruption: the noise; with a `scale` of k, a region of `k * crop` pixels makes one crop.
        crop: side of the crops in pixels.
        seed: picture `i` follows from `(seed, i)`, so a larger `count` adds pictures to the same.
        channels: 1 for grey, 3 for colour.
        track: shows the progress of making them.

    Raises:
        ValueError: `count`, `crop` or `channels` is out of range.
    """

    def __init__(
        self,
        count: int,
        corruption: Corruption,
        crop: int,
        seed: int = 0,
        channels: int = 3,
        track: Track | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1 picture, got {count}")
        crop, channels = checked_crop(crop), checked_channels(channels) or 3
        side = crop * corruption.scale + 64

        def make(index: int) -> np.ndarray:
            rng = np.random.default_rng((streams.GENERATE, seed, index))
            picture = dead_leaves(side, rng, channels)
            return np.round(255 * picture).astype(np.uint8)

        with ThreadPoolExecutor() as pool:
            pictures = pool.map(make, range(count))
            pixels = list((track or silently)(pictures, "Generating images", count))
        super().__init__(pixels, corruption, crop)

    def describe(self) -> str:
        return f"{counted(self.images, 'generated image')}, {self._noise()}"

"""The Denoiser: load a model, and clean up arrays and files with it.

Images of any size are taken: they are extended by reflection to what the network needs and cropped
again, and large ones are worked on in overlapping tiles. A tile overlaps its neighbours by as much
as a pixel can reach through the network, so tiling changes nothing but the memory used.

All that happens to a pixel happens while its tile is in the cache, from the 8 bits of the image to
those of the result: beside these two no array is as large as the image.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from chainrule import Module, fuse
from noise2noise import networks
from noise2noise.data import Track
from noise2noise.errors import UserError, naming
from noise2noise.files import (
    Header,
    Image,
    Scale,
    Stack,
    Survey,
    array_stack,
    format_for,
    read_image,
    refuse_existing,
    scale_of,
    stack_of,
    survey,
    write_image,
    write_stack,
)
from noise2noise.guidance import Guidance, PlaneView, channels_of_planes
from noise2noise.model_file import ModelInfo, read_model
from noise2noise.noise import NoiseProfile
from noise2noise.noise.profile import MARGIN
from noise2noise.shipped import WEIGHTS, find_model, is_grey
from noise2noise.tiling import Tile, extended, filled, tiles

TILE = 704
"""Side of a tile in pixels, overlap included; larger where the network reaches far.

Smaller ones overlap more; larger ones fit the caches less, and powers of two worst. The shipped
models take least time for a pixel with 700 to 900."""

_OVERLAPS = 8.5
"""A tile is at least so many times as large as it overlaps its neighbours: what is computed twice
is then three quarters of what counts. Half a one more than 8, because of the powers of two."""

MOST_STRENGTH = 2
"""A network that is told the noise may be told up to so many times as much."""

_PLANES = 8  # of a channel's planes at most so many are looked at to measure their noise

SMALLEST = 16
"""Images are extended to at least so many pixels: some networks convolve without padding, and would
have nothing left of a smaller one."""


class Denoiser:
    """A trained network, ready to use.

    Arguments:
        model: maps (N, C, H, W) to the same shape; values in [0, 1].
        info: what is known of it.

    Attributes:
        channels: of the images that the network takes: 1 or 3.
        told: whether the network is told the noise. If so, it is estimated from each image, or
            given; the result doesn't depend on the image's units; and a strength from 0 to 2
            multiplies the noise that is told. If not, a strength from 0 to 1 mixes the result with
            the image.

    Example:
        >>> noisy = np.zeros((64, 48, 3), np.uint8)
        >>> Denoiser.load("photo").denoise(noisy).shape
        (64, 48, 3)
    """

    def __init__(self, model: Module, info: ModelInfo) -> None:
        architecture = networks.ARCHITECTURES[info.architecture]
        self.model, self.info = fuse(model.eval()), info
        self.channels = info.sizes["channels"]
        self.told = architecture.told
        self._multiple = architecture.multiple(info.sizes)
        reach = architecture.reach(info.sizes) + (MARGIN if self.told else 0)
        self._overlap = -(-reach // self._multiple) * self._multiple

    @classmethod
    def load(cls, model: str | Path) -> Denoiser:
        """Load a shipped model by name, or a model file, or a training run's best model.

        Arguments:
            model: the name of a shipped model, which comes before a file or folder of that name;
                or the path of a model file or of a run's folder.

        Raises:
            UserError: there is no such model, or its file is damaged or of something else.
        """
        path = find_model(model)
        name = path.stem if path.parent == WEIGHTS else str(path)
        return cls(*read_model(path, name))

    def denoise(
        self,
        image: np.ndarray,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
    ) -> np.ndarray:
        """Remove noise from one image.

        Arguments:
            image: (H, W) or (H, W, 3); integers or floats of any range (see `scale_of`). Pixels
                that are NaN or infinite stay as they are.
            strength: 0 gives the image back, 1 removes all noise; see `told`.
            tile: side of a tile in pixels, overlap included; smaller needs less memory.
            track: shows the progress over the tiles.
            noise: of the image, in its own units; estimated where it is not given.

        Returns:
            Same shape and dtype, in memory of its own; computed in float32.

        Raises:
            UserError: a strength out of range, a tile that is too small, or noise given to a
                network that isn't told it.
            ValueError: another shape or dtype.
        """
        stack = stack_of(image)
        clean = np.empty(image.shape, image.dtype)
        _fill(np.atleast_3d(clean), self.bands(stack, strength, tile, track, noise))
        return clean

    def denoise_unit(
        self,
        noisy: np.ndarray,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
    ) -> np.ndarray:
        """`denoise` for float32 (C, H, W) on the scale of [0, 1], which noise may leave, and the
        noise on this scale too.
        """
        stack = array_stack(noisy.transpose(1, 2, 0))
        clean = np.empty(noisy.shape, np.float32)
        self.check(strength, tile, noise)
        bands = self._bands(stack, Scale(0, 1), strength, tile, track, noise)
        _fill(clean.transpose(1, 2, 0), bands)
        return clean

    def denoise_image(
        self,
        image: Image,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
    ) -> Image:
        """`denoise` for an image as a file has it; transparency and metadata are kept."""
        return replace(image, pixels=self.denoise(image.pixels, strength, tile, track, noise))

    def denoise_file(
        self,
        source: str | Path,
        destination: str | Path,
        overwrite: bool = False,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
    ) -> tuple[Image, Image]:
        """Read an image, denoise it and write it, keeping dtype, transparency and metadata.

        Returns:
            The image as it was, and as it was written.

        Raises:
            UserError: the file can't be read or written, or holds more than one image.
        """
        refuse_existing(destination, overwrite)
        self.check(strength, tile, noise)
        noisy = read_image(source)
        with naming(source):
            clean = self.denoise_image(noisy, strength, tile, track, noise)
        write_image(destination, clean, overwrite)
        return noisy, clean

    def denoise_stack(
        self,
        stack: Stack,
        destination: str | Path,
        overwrite: bool = False,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
    ) -> Survey:
        """Denoise an open file of any number of planes into another, band by band.

        Axes, dtype, transparency and metadata are kept, as far as the format holds them.

        Returns:
            What values there were.

        Raises:
            UserError: the file is damaged or can't be written.
        """
        refuse_existing(destination, overwrite)
        format_for(destination, stack.header)
        self.check(strength, tile, noise)
        seen = survey(stack)
        bands = self.bands(stack, strength, tile, track, noise, seen)
        write_stack(destination, stack.header, bands, overwrite)
        return seen

    def bands(
        self,
        stack: Stack,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
        seen: Survey | None = None,
    ) -> Iterator[np.ndarray]:
        """What becomes of a stack: rows, (h, W, samples), from top to bottom, plane after plane.

        All pixels are looked at once before the first band, to learn what is white, unless `seen`
        tells what they are. Beside that, no more is read than the next band needs.

        Raises:
            UserError: as `check`, at once.
        """
        self.check(strength, tile, noise)
        scale = scale_of(stack.header, seen or survey(stack))
        if noise is not None:
            factor = 1 / (scale.white - scale.black)
            noise = noise.scaled(factor, -scale.black * factor)
        return self._bands(stack, scale, strength, tile, track, noise)

    def check(
        self, strength: float = 1.0, tile: int | None = None, noise: NoiseProfile | None = None
    ) -> None:
        """Refuse what no image could be denoised with.

        Raises:
            UserError: a strength out of range, a tile that is too small for this model, or noise
                given to a network that isn't told it.
        """
        most = MOST_STRENGTH if self.told else 1
        if not 0 <= strength <= most:
            raise UserError(f"strength must lie in 0 to {most} for this model, got {strength}")
        if noise is not None and not self.told:
            raise UserError(
                f"the model {self.info.name} can't be told the noise; leave it out, or choose "
                "another model"
            )
        if tile is not None and tile < self._least_tile:
            raise UserError(
                f"a tile must be at least {self._least_tile} pixels for this model, got {tile}"
            )

    # -- tiles -------------------------------------------------------------------------------------

    @property
    def _least_tile(self) -> int:
        return 2 * self._overlap + self._multiple

    def _tile_side(self, tile: int | None) -> int:
        side = max(TILE, 2 * self._least_tile, _OVERLAPS * self._overlap) if tile is None else tile
        return int(side) // self._multiple * self._multiple

    def _bands(
        self,
        stack: Stack,
        scale: Scale,
        strength: float,
        tile: int | None,
        track: Track | None,
        noise: NoiseProfile | None,
    ) -> Iterator[np.ndarray]:
        header, side = stack.header, self._tile_side(tile)
        overlap, multiple, colours = self._overlap, self._multiple, header.colours
        height, width = (size + self._missing(size) for size in (header.height, header.width))
        across = list(tiles(width, side, overlap, multiple))
        down = list(tiles(height, side, overlap, multiple))
        cells = list(itertools.product(range(header.planes), down, across))
        guide = self._guides(stack, scale, strength, noise)
        noisy = clean = np.empty(0)
        for plane, rows, columns in track(cells, "Denoising", len(cells)) if track else cells:
            if columns is across[0]:
                stop = min(rows.whole.stop, header.height)
                noisy = stack.read(plane, slice(rows.whole.start, stop))
                clean = noisy[rows.inner].copy()  # with its transparency
            part = noisy[:, columns.whole, :colours]
            place = clean[:, columns.core, :colours]
            with naming(stack.name):
                way = _Way(scale, strength, guide(plane))
                result = self._tile(part, rows, columns, header, way)
            place[...] = result[: place.shape[0], : place.shape[1]]
            if columns is across[-1]:
                yield clean

    def _guides(
        self, stack: Stack, scale: Scale, strength: float, noise: NoiseProfile | None
    ) -> Callable[[int], Guidance | None]:
        """What the network is told about each plane: the same for all planes of a channel."""
        if not self.told or strength == 0:
            return lambda plane: None
        channels = channels_of_planes(stack.header)

        @functools.cache
        def of(channel: int) -> Guidance:
            planes = [plane for plane, its in enumerate(channels) if its == channel]
            looked_at = planes[:: -(-len(planes) // _PLANES)]
            return Guidance.of([PlaneView(stack, scale, plane) for plane in looked_at], noise)

        return lambda plane: of(channels[plane])

    def _tile(
        self, part: np.ndarray, rows: Tile, columns: Tile, header: Header, way: _Way
    ) -> np.ndarray:
        """What a tile decides, (h, w, C) as stored, from its part of the image, the same."""
        inner = part[rows.inner, columns.inner]
        if way.strength == 0 or (way.guidance and way.guidance.silent):
            return inner
        unit = way.scale.to_unit(part.transpose(2, 0, 1))
        bad = ~np.isfinite(unit) if header.dtype.kind == "f" else np.zeros(1, bool)
        if bad.any():
            unit = filled(unit, bad)
        whole = extended(unit, rows.length - unit.shape[1], columns.length - unit.shape[2])
        if header.colour == "rgb" or header.colours == self.channels:
            result = self._clean(whole, way)
        else:
            result = self._each(whole, way)
        result = result[:, rows.inner, columns.inner]
        before = unit[:, rows.inner, columns.inner]
        result = result[:, : before.shape[1], : before.shape[2]]
        if way.strength != 1 and way.guidance is None:
            result = before + np.float32(way.strength) * (result - before)
        stored = way.scale.from_unit(result, header.dtype).transpose(1, 2, 0)
        if not bad.any():
            return stored
        kept = bad[:, rows.inner, columns.inner].transpose(1, 2, 0)
        return np.where(kept, inner, stored)

    def _clean(self, noisy: np.ndarray, way: _Way) -> np.ndarray:
        """The network's result for a tile of any number of channels, whatever the network has."""
        if len(noisy) == self.channels:
            return self._infer(noisy, way)
        if len(noisy) > 1 and is_grey(noisy):
            return self._clean(noisy[:1], way.channel(0)).repeat(len(noisy), 0)
        if len(noisy) > 1:
            return self._each(noisy, way)
        return self._infer(noisy.repeat(self.channels, 0), way).mean(0, keepdims=True)

    def _each(self, noisy: np.ndarray, way: _Way) -> np.ndarray:
        """Channel by channel."""
        cleaned = [self._clean(plane[None], way.channel(i)) for i, plane in enumerate(noisy)]
        return np.concatenate(cleaned)

    def _infer(self, noisy: np.ndarray, way: _Way) -> np.ndarray:
        if way.guidance is None:
            return self._run(noisy)
        return way.guidance.result(self._run(way.guidance.input(noisy, way.strength)))

    def _run(self, x: np.ndarray) -> np.ndarray:
        return self.model.infer(torch.from_numpy(x)[None])[0].numpy()

    def _missing(self, length: int) -> int:
        """How many pixels the network needs beyond `length`."""
        return -(-max(length, SMALLEST) // self._multiple) * self._multiple - length


@dataclass(frozen=True)
class _Way:
    """How the pixels of a plane go through the network.

    Attributes:
        scale: between stored values and the network's.
        strength: how much of the noise is removed.
        guidance: what the network is told; None where it is told nothing.
    """

    scale: Scale
    strength: float
    guidance: Guidance | None

    def channel(self, index: int) -> _Way:
        """The same for one channel alone."""
        if self.guidance is None:
            return self
        return replace(self, guidance=self.guidance.channel(index))


def _fill(clean: np.ndarray, bands: Iterable[np.ndarray]) -> None:
    """Put bands into the image, (H, W, C), that they make up."""
    row = 0
    for band in bands:
        clean[row : row + len(band)] = band
        row += len(band)

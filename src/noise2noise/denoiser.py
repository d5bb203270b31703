"""The Denoiser: load a model, and clean up arrays and files with it.

Images of any size are taken: they are extended by reflection to what the network needs and cropped
again, and large ones are worked on in overlapping tiles. A tile overlaps its neighbours by as much
as a pixel can reach through the network, so tiling changes nothing but the memory used.

`noise2noise.inference` does the work; here is what the rest of the program asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from chainrule import Module, empty_cache
from noise2noise.device import AUTO, resolved
from noise2noise.errors import UserError, naming
from noise2noise.files import (
    STREAMED,
    Held,
    Image,
    Scale,
    Stack,
    Survey,
    array_stack,
    format_for,
    read_image,
    refuse_existing,
    result_of,
    write_image,
    write_stack,
)
from noise2noise.foreign import read_any
from noise2noise.inference import (
    MOST_STRENGTH,
    USUAL,
    Known,
    Learned,
    Network,
    Settings,
    StackRun,
    needed,
    tile_side,
)
from noise2noise.kinds import Said, Work, denoised
from noise2noise.model_info import ModelInfo
from noise2noise.networks import Needs, needs_of
from noise2noise.noise import NoiseProfile
from noise2noise.shipped import WEIGHTS, find_model

if TYPE_CHECKING:
    from noise2noise.data import Track


@dataclass(frozen=True)
class Outcome:
    """What was met in a stack.

    Attributes:
        seen: its values.
        impulses: how many were removed.
        losses: what the format of the result has no place for, for people.
        knows_noise: whether the noise was told as it was in what the model learned from.
    """

    seen: Survey
    impulses: int
    losses: tuple[str, ...] = ()
    knows_noise: bool = False


class Denoiser:
    """A trained network, ready to use.

    Arguments:
        model: maps (N, C, H, W) to the same shape; values in [0, 1].
        info: what is known of it.
        needs: what it asks of images; by default what its architecture does.

    Attributes:
        channels: of the images that the network takes: 1 or 3.
        told: whether the network is told the noise. If so, it is estimated from each image, or
            given; the result doesn't depend on the image's units; and a strength from 0 to 2
            multiplies the noise that is told. If not, a strength from 0 to 1 mixes the result with
            the image.
        multiple: heights and widths of what the network takes at once are multiples of this.

    Example:
        >>> noisy = np.zeros((64, 48, 3), np.uint8)
        >>> Denoiser.load("photo").denoise(noisy).shape
        (64, 48, 3)
    """

    def __init__(self, model: Module, info: ModelInfo, needs: Needs | None = None) -> None:
        needs = needs or needs_of(info.architecture, info.sizes)
        self._network = Network(model, needs, Learned.of(info))
        self.model, self.info = self._network.model, info
        self.channels, self.told = self._network.channels, self._network.told
        self.multiple = self._network.multiple

    @property
    def network(self) -> Network:
        """What works on tiles."""
        return self._network

    @classmethod
    def load(cls, model: str | Path, device: str | torch.device = AUTO) -> Denoiser:
        """Load a shipped model by name, a training run's best model, or a model file: our own, a
        BioImage.IO package of ours, ONNX where onnxruntime is installed, or weights of DnCNN,
        FFDNet or DRUNet (docs/export.md).

        Arguments:
            model: the name of a shipped model, which comes before a file or folder of that name;
                or the path of a model file or of a run's folder.
            device: what computes: "cpu", "cuda", "cuda:1"; by default a GPU where PyTorch can use
                one. Images are given and come back on the CPU all the same.

        Raises:
            UserError: there is no such model or device, or its file is damaged or of something
                else.
        """
        where, path = resolved(device), find_model(model)
        name = path.stem if path.parent == WEIGHTS else str(path)
        network, info, needs = read_any(path, name)
        return cls(network.to(where), info, needs)

    def denoise(
        self,
        image: Any,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | float | None = None,
        turns: bool = False,
        *,
        axes: str | None = None,
        channel_axis: int | None = None,
        white: float | None = None,
        memory: int | None = None,
        impulses: bool = True,
    ) -> Any:
        """Remove noise from an image, which comes back as what it was.

        Arguments:
            image: an array of integers or floats of any range (see `scale_of`), of any memory and
                byte order, masked too; a tensor; a PIL image; an xarray DataArray; a path or an
                open file, which come back as arrays; or a list of these. Arrays are (..., H, W) or
                (..., H, W, C) with up to 4 channels, tensors (C, H, W) or (N, C, H, W). Pixels that
                are NaN, infinite or masked stay as they are. `noise2noise.kinds` has the details.
            strength: 0 gives the image back, 1 removes all noise; see `told`.
            tile: side of a tile in pixels, overlap included; smaller needs less memory.
            track: shows the progress over the tiles.
            noise: of the image, or its standard deviation, in its own units; estimated where it is
                not given.
            turns: take the mean over the eight flips and turns of the image, which is a little
                better and takes eight times as long.
            axes: a letter of T, Z, C, S, Y, X, Q, I for each dimension, where the image doesn't say
                or is wrong: samples of a colour along S are denoised together, channels along C,
                such as stains, one by one.
            channel_axis: the dimension that holds the samples of a pixel; three are a colour.
            white: the value that stands for white.
            memory: bytes that may be taken besides; tiles become smaller if need be.
            impulses: remove single pixels far away from all around them.

        Returns:
            The same kind, shape and dtype, in memory of its own; computed in float32.

        Raises:
            UserError: it is no image, a strength out of range, a tile that is too small, or noise
                given to a network that isn't told it. Every UserError is a ValueError.
        """
        given = NoiseProfile.gaussian(noise) if isinstance(noise, int | float) else noise
        settings = Settings(strength, tile, memory, given, turns, impulses)
        self.check(settings)

        def start(stack: Stack, settings: Settings) -> StackRun:
            return self.run(stack, settings, track)

        return denoised(image, Work(start, settings, Said(axes, channel_axis, white)))

    def denoise_unit(
        self,
        noisy: np.ndarray,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
        turns: bool = False,
    ) -> np.ndarray:
        """`denoise` for float32 (C, H, W) on the scale of [0, 1], which noise may leave, and the
        noise on this scale too.
        """
        stack = array_stack(noisy.transpose(1, 2, 0))
        settings = Settings(strength, tile, noise=noise, turns=turns)
        self.check(settings)
        clean = np.empty(noisy.shape, np.float32)
        run = StackRun(self._network, stack, settings, track, scale=Scale(0, 1))
        _fill(clean.transpose(1, 2, 0), run.bands())
        return clean

    def denoise_image(
        self,
        image: Image,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
        turns: bool = False,
    ) -> Image:
        """`denoise` for an image as a file has it; transparency and metadata are kept."""
        pixels = self.denoise(image.pixels, strength, tile, track, noise, turns)
        return replace(image, pixels=pixels)

    def denoise_file(
        self,
        source: str | Path,
        destination: str | Path,
        overwrite: bool = False,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
        noise: NoiseProfile | None = None,
        turns: bool = False,
    ) -> tuple[Image, Image]:
        """Read an image, denoise it and write it, keeping dtype, transparency and metadata.

        Returns:
            The image as it was, and as it was written.

        Raises:
            UserError: the file can't be read or written, or holds more than one image.
        """
        refuse_existing(destination, overwrite)
        self.check(Settings(strength, tile, noise=noise, turns=turns))
        noisy = read_image(source)
        with naming(source):
            clean = self.denoise_image(noisy, strength, tile, track, noise, turns)
        write_image(destination, clean, overwrite)
        return noisy, clean

    def denoise_stack(
        self,
        stack: Stack,
        destination: str | Path,
        settings: Settings = USUAL,
        overwrite: bool = False,
        track: Track | None = None,
        turn: AbstractContextManager[Any] | None = None,
        jpeg_quality: int | None = None,
    ) -> Outcome:
        """Denoise an open file of any number of planes into another, band by band.

        Axes, dtype, transparency and metadata are kept, as far as the format holds them; dtype and
        values are others where the settings ask for it.

        Arguments:
            stack: what to denoise; it can't be read again afterwards.
            destination: ends in the suffix of a format.
            settings: what is asked for.
            overwrite: replace a file that stands there.
            track, turn: as `StackRun`.
            jpeg_quality: from 1 to 100, of a JPEG; None for that of the source.

        Raises:
            UserError: the file is damaged, can't be written, or needs more memory than is allowed.
        """
        refuse_existing(destination, overwrite)
        result = result_of(destination, stack, settings.wanted)
        stack = result.source(stack)
        metadata = replace(result.header.metadata, jpeg_quality=jpeg_quality)
        header = replace(result.header, metadata=metadata)
        file_format = format_for(destination)
        writing = file_format.held(header)
        run = self.run(stack, settings, track, turn, writing)
        with naming(stack.name):
            bands = result.bands(_released(run, stack), run.seen)
        write_stack(destination, header, bands, overwrite)
        return Outcome(run.seen, run.impulses, file_format.losses(header), run.knows_noise)

    def run(
        self,
        stack: Stack,
        settings: Settings = USUAL,
        track: Track | None = None,
        turn: AbstractContextManager[Any] | None = None,
        writing: Held = STREAMED,
        known: Known | None = None,
        core: tuple[slice, slice] | None = None,
    ) -> StackRun:
        """What makes bands of a stack: rows from top to bottom, plane after plane.

        All pixels are looked at once, now, to learn what is white. After that no more is read than
        the next band needs.

        Arguments as `StackRun` has them.

        Raises:
            UserError: as `check`, and where the memory is not enough.
        """
        self.check(settings)
        return StackRun(
            self._network, stack, settings, track, turn, writing, known=known, core=core
        )

    def memory_for(self, stack: Stack, destination: str | Path, settings: Settings) -> int:
        """How many bytes `denoise_stack` takes at most; 0 where nobody said how many it may.

        Raises:
            UserError: it needs more than it may take, or the format can't hold this.
        """
        if settings.memory is None:
            return 0
        result = result_of(destination, stack, settings.wanted)
        stack = result.source(stack)
        held = stack.held, format_for(destination).held(result.header)
        with naming(stack.name):
            side = tile_side(self._network, stack.header, settings.memory, *held)
        return needed(self._network, stack.header, side, *held)

    def check(self, settings: Settings) -> None:
        """Refuse what no image could be denoised with.

        Raises:
            UserError: a strength out of range, a tile that is too small for this model, or noise
                given to a network that isn't told it.
        """
        most, least = MOST_STRENGTH if self.told else 1, self._network.least_tile
        if not 0 <= settings.strength <= most:
            raise UserError(
                f"strength must lie in 0 to {most} for this model, got {settings.strength}"
            )
        if settings.noise is not None and not self.told:
            raise UserError(
                f"the model {self.info.name} can't be told the noise; leave it out, or choose "
                "another model"
            )
        if settings.tile is not None and settings.tile < least:
            raise UserError(
                f"a tile must be at least {least} pixels for this model, got {settings.tile}"
            )


def _released(run: StackRun, stack: Stack) -> Iterator[np.ndarray]:
    """The bands; what they were made of and with is let go before the result is encoded."""
    yield from run.bands()
    stack.forget()
    empty_cache()


def _fill(clean: np.ndarray, bands: Iterable[np.ndarray]) -> None:
    """Put bands into the image, (H, W, C), that they make up."""
    row = 0
    for band in bands:
        clean[row : row + len(band)] = band
        row += len(band)

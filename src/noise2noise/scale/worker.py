"""What a worker does with a piece: read what it needs, denoise it, write it.

Workers see the same files as whoever asks. Each loads a model once; several threads of a worker
share a memory and take turns at computing, while the others read and write.
"""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noise2noise.batch import SharedMemory
from noise2noise.denoiser import Denoiser
from noise2noise.device import AUTO
from noise2noise.errors import UserError
from noise2noise.files import Look, Part, Stack, Survey, look, open_stack, result_of, slabs
from noise2noise.files.axes import Axes
from noise2noise.files.zarr_write import arrangement, library
from noise2noise.guidance import ChannelPlanes
from noise2noise.inference import Known, Settings, needed, tile_side
from noise2noise.scale.grid import Grid, window_of, written
from noise2noise.shipped import find_model

TURN = threading.Lock()
"""Held while a network computes."""

_LOADING = threading.Lock()


@dataclass(frozen=True)
class Level:
    """An array of the result.

    Attributes:
        folder: where it is.
        version: of Zarr.
    """

    folder: Path
    version: int

    def open(self) -> Any:
        """The array of the zarr library, to be written to."""
        return library().open_array(str(self.folder), mode="r+", zarr_format=self.version)


@dataclass(frozen=True)
class Job:
    """What is the same for all pieces.

    Attributes:
        source: the image.
        said: of it, as `open_stack` takes it.
        destination: the result, when all is done.
        model: that denoises it, by name or path.
        digest: of its weights.
        settings: what is asked for; the memory is a worker's.
        threads: a worker computes on so many cores; None for as many as it does anyway.
        device: what computes, by its name at the worker.
    """

    source: Path
    said: Mapping[str, Any]
    destination: Path
    model: str
    digest: str
    settings: Settings
    threads: int | None
    device: str = AUTO

    @contextmanager
    def opened(self) -> Iterator[Stack]:
        """What is to be denoised."""
        with open_stack(self.source, **self.said) as stack:
            yield result_of(self.destination, stack, self.settings.wanted).source(stack)

    @property
    def denoiser(self) -> Denoiser:
        """The model, loaded when it is first asked for."""
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        return loaded(self.model, self.digest, self.device)


def digest_of(model: str) -> str:
    """What a model's weights are told apart by."""
    return hashlib.sha256(find_model(model).read_bytes()).hexdigest()


def loaded(model: str, digest: str, device: str = AUTO) -> Denoiser:
    """A model with these weights, loaded by whoever asks first.

    Raises:
        UserError: it isn't there, or has other weights here; or the device isn't.
    """
    with _LOADING:
        return _loaded(model, digest, device)


@functools.lru_cache(2)
def _loaded(model: str, digest: str, device: str) -> Denoiser:
    if digest_of(model) != digest:
        raise UserError(
            f"the model {model} isn't the same here as where it was asked for; install the same "
            "version everywhere, or name a file that all workers see"
        )
    return Denoiser.load(model, device)


@functools.cache
def _memory(size: int | None) -> SharedMemory:
    return SharedMemory(size)


def look_at(job: Job, grid: Grid, share: int, number: int) -> Look:
    """The values of a piece of the source."""
    with job.opened() as stack:
        y = stack.header.axes.index("Y")
        return look(Part(stack, grid[number][: y + 2]), share)


def know(job: Job, seen: Survey, number: int) -> Known:
    """What there is to know before the first piece; `number` is of the only such piece."""
    del number
    with job.opened() as stack:
        return Known.of(job.denoiser.network, stack, job.settings, seen)


def denoise_piece(job: Job, known: Known, grid: Grid, level: Level, number: int) -> int:
    """Denoise a piece and write it. Returns how many impulses were in it."""
    denoiser, piece = job.denoiser, grid[number]
    network, settings = denoiser.network, job.settings
    with open_stack(job.source, **job.said) as opened:
        result = result_of(job.destination, opened, settings.wanted)
        stack = result.source(opened)
        channels = ChannelPlanes.of(stack.header).channels
        window, core = window_of(piece, stack.header, network)
        part = Part(stack, window)
        sizes = [each.stop - each.start for each in piece]
        writing = written(sizes, result.header)
        side = tile_side(network, part.header, settings.memory, part.held, writing)
        size = needed(network, part.header, side, part.held, writing)
        with _memory(settings.memory).taking(size if settings.memory else 0):
            if channels > 1:
                known = known.part(piece[stack.header.axes.index("C")])
            run = denoiser.run(part, settings, None, TURN, writing, known, core)
            bands = result.bands(run.bands(), known.seen)
            y = result.header.axes.index("Y")
            pixels = np.empty((*sizes[: y + 2], result.header.samples), result.header.dtype)
            rows = pixels.reshape(-1, *pixels.shape[y + 1 :])
            top = 0
            for band in bands:
                rows[top : top + len(band)] = band
                top += len(band)
            part.forget()
            axes, _ = arrangement(result.header)
            level.open()[_place(axes, piece)] = _stored(axes, pixels)
    return run.impulses


def shrink_piece(large: Level, small: Level, grid: Grid, number: int) -> int:
    """Make a piece of a smaller level; nothing is counted."""
    slabs.shrink_into(large.open(), small.open(), grid[number])
    return 0


def _place(axes: Axes, piece: tuple[slice, ...]) -> tuple[slice, ...]:
    """Where a piece, along the axes of a header, lies in the array."""
    place = [slice(None)] * len(axes.shape)
    for each, dimension in zip(piece, axes.order, strict=False):
        place[dimension] = each
    return tuple(place)


def _stored(axes: Axes, pixels: np.ndarray) -> np.ndarray:
    """Pixels, (..., h, w, samples), as the array has them."""
    own = pixels if len(axes.order) == pixels.ndim else pixels[..., 0]
    return own.transpose(np.argsort(axes.order))

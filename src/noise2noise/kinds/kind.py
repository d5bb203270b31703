"""Telling kinds of input apart, and what all of them are denoised with."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files import Header, Stack
from noise2noise.inference import Settings, StackRun

KINDS = {
    "numpy": "kinds.arrays",
    "torch": "kinds.tensors",
    "PIL": "kinds.pictures",
    "xarray": "kinds.labelled",
    "dask": "kinds.lazy",
    "pathlib": "kinds.opened",
    "noise2noise": "kinds.opened",
}
"""By the package of a class, the module of ours whose `denoised(image, work)` takes it."""


class Said(NamedTuple):
    """What is so where an image doesn't say, or is wrong.

    Attributes:
        axes: a letter of T, Z, C, S, Y, X, Q, I for each dimension.
        channel_axis: the dimension that holds the samples of a pixel.
        white: the value that stands for white.
    """

    axes: str | None = None
    channel_axis: int | None = None
    white: float | None = None


NOTHING = Said()


@dataclass(frozen=True)
class Work:
    """What is done with an image, whatever kind of thing it is.

    Attributes:
        start: denoises a stack with settings, band by band.
        settings: what is asked for.
        said: of the image.
        later: denoises an array that is computed later; None where that can't be.
    """

    start: Callable[[Stack, Settings], StackRun]
    settings: Settings
    said: Said = NOTHING
    later: Callable[[Any, Settings, Said], Any] | None = None

    def saying(self, **said: Any) -> Work:
        """The same with something else said of the image."""
        return replace(self, said=self.said._replace(**said))

    def bands(self, stack: Stack) -> tuple[Header, Iterator[np.ndarray]]:
        """What comes of a stack: its header, and rows from top to bottom, plane after plane."""
        if self.said.white is not None:
            stack.with_white(self.said.white)
        run = self.start(stack, self.settings)
        header, finish = stack.result(lambda header: True)
        return header, iter(finish(run.bands()))

    def whole(self, stack: Stack) -> np.ndarray:
        """What comes of a stack, in memory of its own: an array of its header's shape."""
        header, bands = self.bands(stack)
        result = np.empty(header.shape, header.dtype)
        rows = result.reshape(-1, *header.shape[header.axes.index("X") :])
        place = 0
        for band in bands:
            rows[place : place + len(band)] = band.reshape(len(band), *rows.shape[1:])
            place += len(band)
        return result


def denoised(image: Any, work: Work) -> Any:
    """An image without its noise, as the kind of thing that it is.

    Raises:
        UserError: it is no image, or none that can be denoised.
    """
    if isinstance(image, list | tuple):
        return _each(image, work)
    if isinstance(image, str):
        return importlib.import_module(f"noise2noise.{KINDS['pathlib']}").denoised(image, work)
    for each in type(image).__mro__:
        package = each.__module__.partition(".")[0]
        if package in KINDS:
            return importlib.import_module(f"noise2noise.{KINDS[package]}").denoised(image, work)
    if hasattr(image, "__array__"):
        return denoised(np.asarray(image), work)
    raise UserError(
        f"a {type(image).__name__} is no image; give an array, a tensor, a PIL image or a path"
    )


def _each(images: list[Any] | tuple[Any, ...], work: Work) -> Any:
    numbers = (int, float, complex, list, tuple)
    if not images or isinstance(images[0], numbers):
        raise UserError(
            f"a {type(images).__name__} of images is denoised one by one, and this one holds "
            f"{type(images[0]).__name__ + 's' if images else 'none'}; for one image give "
            "numpy.asarray(image)"
        )
    return type(images)([denoised(image, work) for image in images])

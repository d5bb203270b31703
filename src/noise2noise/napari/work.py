"""What the widgets do: denoising a layer, or what of it is in view. No window is needed here.

The model for images without a name is the shipped one that suits them, as in `noise2noise denoise`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from noise2noise.batch import Models
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.inference import Settings
from noise2noise.napari.layers import Pixels, PixelStack, View, empty_like
from noise2noise.shipped import shipped_models
from noise2noise.single import fit

AUTOMATIC = "the one that suits the image"
"""Chosen in the place of a model's name."""


class Stopped(Exception):  # noqa: N818 (a request, not an error)
    """Somebody pressed Cancel."""


@dataclass
class Watch:
    """How far work is, for whoever looks from another thread, and whether it is to stop.

    Attributes:
        stopping: set to stop between two pieces of work.
        closing: whether the window is being closed, which is as good.
        done: from 0 to 1.
        words: what is being done.
    """

    stopping: threading.Event = field(default_factory=threading.Event)
    closing: Callable[[], bool] = field(default=lambda: False)
    done: float = 0.0
    words: str = ""

    def stop(self) -> bool:
        """Whether to stop."""
        return self.stopping.is_set() or self.closing()

    def track(self, items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        """Yield the items; as `Track`.

        Raises:
            Stopped: it is to stop.
        """
        self.done, self.words = 0.0, description
        for place, item in enumerate(items):
            if self.stop():
                raise Stopped
            yield item
            self.done = (place + 1) / total


class Wishes(NamedTuple):
    """What is chosen in the widget.

    Attributes:
        model: a shipped one, the path of a file or of a run's folder, or `AUTOMATIC`.
        strength: as in `Settings`.
        quality: fast, balanced or best.
        single: whether the model is fitted to the layer first, as `denoise --single` does.
    """

    model: str = AUTOMATIC
    strength: float = 1.0
    quality: str = "balanced"
    single: bool = False


class Made(NamedTuple):
    """A result.

    Attributes:
        data: of the shape and dtype of what it was made of.
        facts: how it was made, for the layer's metadata.
        words: the same for people.
    """

    data: np.ndarray
    facts: dict[str, Any]
    words: str


def denoise_pixels(pixels: Pixels, wishes: Wishes, watch: Watch) -> Made:
    """All of a layer.

    Raises:
        UserError: as `Denoiser`; or there is no room for the result.
        Stopped: it was asked for.
    """
    stack = PixelStack(pixels)
    denoiser, name, why = _choice(stack, wishes)
    settings = Settings(wishes.strength, turns=wishes.quality == "best")
    denoiser.check(settings)
    facts: dict[str, Any] = {
        "model": name,
        "strength": wishes.strength,
        "quality": wishes.quality,
    }
    if wishes.single:
        denoiser, facts["single"] = _fitted(denoiser, stack, settings, watch)
        why = facts["single"]
    result = empty_like(pixels.data)
    watch.words = "Looking at all pixels"
    run = denoiser.run(stack, settings, watch.track)
    pixels.axes.put(result, run.bands())
    return Made(result, facts, f"Denoised with {name}" + (f", {why}" if why else ""))


def denoise_view(view: View, wishes: Wishes, watch: Watch) -> Made:
    """What is in view; the noise is measured in all of its plane.

    Raises:
        UserError, Stopped: as `denoise_pixels`.
    """
    made = denoise_pixels(view.plane(), wishes, watch)
    letters = view.pixels.axes.stored
    seen = tuple(
        each if letter in "YX" else slice(None)
        for each, letter in zip(view.window, letters, strict=True)
    )
    return made._replace(data=made.data[seen])


def _choice(stack: PixelStack, wishes: Wishes) -> tuple[Denoiser, str, str]:
    """The model, its name, and why it was chosen."""
    if wishes.model != AUTOMATIC:
        if wishes.quality == "fast":
            raise UserError(
                f"the quality fast chooses the model; choose another quality for {wishes.model}"
            )
        model = wishes.model
        denoiser = _shipped(model) if model in shipped_models() else Denoiser.load(model)
        return denoiser, model, ""
    told = wishes.single or wishes.strength > 1
    name, why = Models(None, wishes.quality, told).choose(stack)
    return _shipped(name), name, why


def _fitted(
    denoiser: Denoiser, stack: PixelStack, settings: Settings, watch: Watch
) -> tuple[Denoiser, str]:
    """The model fitted to a stack alone, and what came of that."""

    def progress(share: float) -> None:
        watch.done, watch.words = share, "Fitting the model to this layer"
        if watch.stop():
            raise Stopped

    fitted = fit(denoiser, [stack], settings, progress=progress)
    return fitted.denoiser, fitted.describe()


@functools.cache
def _shipped(name: str) -> Denoiser:
    return Denoiser.load(name)

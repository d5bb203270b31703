"""`denoise --single` at work: one fit for all images of a model, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noise2noise.batch import Models, Source
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import Stack, open_stack
from noise2noise.inference import Settings
from noise2noise.single import Fitted, Options, fit, save

if TYPE_CHECKING:
    from noise2noise.cli.denoise import Asked

ALL, EACH = "all", "each"
_MOST = 8
"""Files that one fit looks at, of those that a model suits, spread evenly over them."""


class Fits:
    """The fits of one command; called in turn, never by two threads at once.

    Arguments:
        mode: ALL or EACH.
        options: time and seed.
        settings: of the noise.
        sources: all images.
        models: which model each gets.
        said: of all files, as `open_stack` takes it.
        save_to: where the fitted model is kept; None if it isn't.
        overwrite: replace what stands there.
    """

    def __init__(
        self,
        mode: str,
        options: Options,
        settings: Settings,
        sources: Sequence[Source],
        models: Models,
        said: dict[str, Any],
        save_to: Path | None,
        overwrite: bool,
    ) -> None:
        self._mode, self._options, self._settings = mode, options, settings
        self._sources, self._models, self._said = sources, models, said
        self._save_to, self._overwrite = save_to, overwrite
        self._known: dict[str, Fitted] = {}

    @property
    def key(self) -> str:
        """What results follow from; of one fit for all, all of the images too."""
        shared = self._mode == ALL
        names = [f"{source.path}" for source in self._sources] if shared else []
        return f"{self._mode} {self._options} {' '.join(names)}"

    def __call__(
        self, denoiser: Denoiser, stack: Stack, progress: Callable[[float], None]
    ) -> tuple[Denoiser, dict[str, Any]]:
        name = denoiser.info.name
        fitted = self._known.get(name)
        if fitted is None:
            fitted = self._fit(denoiser, stack, progress)
            if self._mode == ALL:
                self._known[name] = fitted
            if self._save_to is not None:
                save(fitted.denoiser, self._save_to, self._overwrite)
        return fitted.denoiser, fitted.as_dict()

    def _fit(self, denoiser: Denoiser, stack: Stack, progress: Callable[[float], None]) -> Fitted:
        if self._mode == EACH or len(self._sources) == 1:
            return fit(denoiser, [stack], self._settings, self._options, progress)
        with ExitStack() as opened:
            stacks = self._suited(denoiser.info.name, opened)
            return fit(denoiser, stacks or [stack], self._settings, self._options, progress)

    def _suited(self, model: str, opened: ExitStack) -> list[Stack]:
        """Some of the images that get this model; those that can't be read are passed over, since
        whoever denoises them says so."""
        stacks: list[Stack] = []
        for source in self._sources[:: -(-len(self._sources) // _MOST)]:
            try:
                stack = opened.enter_context(open_stack(source.path, **self._said))
                if self._models.choose(stack)[0] == model:
                    stacks.append(stack)
            except UserError:
                continue
        return stacks


def fits(asked: Asked, settings: Settings, sources: Sequence[Source], models: Models) -> Fits:
    """What the options ask for.

    Raises:
        UserError: they can't be together.
    """
    mode = asked.single or ALL
    if asked.workers is not None or asked.scheduler is not None:
        raise UserError(
            "--single fits in one process; leave --workers and --scheduler out, or fit with "
            "--save-model first and use that model with them"
        )
    if asked.save_model is not None and len(sources) > 1 and mode == EACH:
        raise UserError(
            f"--save-model {asked.save_model} takes one model, and each of {len(sources)} images "
            "would have its own; leave each out"
        )
    options = Options(asked.minutes, asked.seed, asked.from_scratch)
    said = {"axes": asked.axes, "channel_axis": asked.channel_axis, "white": asked.white}
    place = None if asked.save_model is None else Path(asked.save_model)
    if place is not None and place.exists() and not asked.overwrite:
        raise UserError(f"{place} exists already; choose another name or add --overwrite")
    return Fits(mode, options, settings, sources, models, said, place, asked.overwrite)

"""What is done with one file of a batch, from its name to its result."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from noise2noise.batch.budget import SharedMemory
from noise2noise.batch.find import Source
from noise2noise.batch.flight import StoppedError
from noise2noise.batch.ledger import Ledger, key_of
from noise2noise.batch.names import Names
from noise2noise.batch.results import Result, Status
from noise2noise.denoiser import Denoiser, Outcome
from noise2noise.errors import UserError, out_of_memory
from noise2noise.files import Header, Stack, open_stack
from noise2noise.inference import Settings
from noise2noise.shipped import find_model
from noise2noise.suiting import default_model

QUALITIES = ("fast", "balanced", "best")
"""Small models; the usual ones; these, averaged over the eight flips and turns."""

_SMALL = {"photo": "fast", "grey": "fast-grey", "camera": "camera"}


@dataclass(frozen=True)
class Errand:
    """A file that is given to others to be denoised.

    Attributes:
        source: its path.
        said: of it, as `open_stack` takes it.
        destination: where the result goes.
        model: by name or path.
        settings: what is asked for.
        key: what the result follows from; see `key_of`.
        overwrite: replace what stands there.
        stop: set to stop.
        progress: told how much is done, from 0 to 1.
    """

    source: Path
    said: Mapping[str, Any]
    destination: Path
    model: str
    settings: Settings
    key: str
    overwrite: bool
    stop: threading.Event
    progress: Callable[[float], None]


Others = Callable[[Errand, Stack], Outcome]
"""Denoise an open file in this one's place."""

Progress = Callable[[Source, float], None]
"""Told how much of a file is done, from 0 to 1."""


@dataclass(frozen=True)
class Models:
    """Which model each image gets.

    Attributes:
        named: the one that was asked for; None for the shipped one that suits the image.
        quality: one of `QUALITIES`.
        told: whether shipped models have to be some that are told the noise, as `Settings.tells`.
    """

    named: str | None
    quality: str = "balanced"
    told: bool = False

    @property
    def candidates(self) -> list[str]:
        """Those that may be used."""
        if self.named is not None:
            return [self.named]
        return [self.in_place_of(name) for name in _SMALL if name != "camera" or not self.told]

    def choose(self, stack: Stack) -> tuple[str, str]:
        """A model's name, and why it was chosen; "" where there was no choice."""
        if self.named is not None:
            return self.named, ""
        usual = default_model(stack, self.told)
        return self.in_place_of(usual), _why(usual, stack.header)

    def in_place_of(self, usual: str) -> str:
        """The model of this quality for an image that a model of the usual quality suits."""
        return _SMALL[usual] if self.quality == "fast" else usual

    def digest(self) -> str:
        """Of the weights of all candidates."""
        total = hashlib.sha256()
        for name in self.candidates:
            total.update(find_model(name).read_bytes())
        return total.hexdigest()


def _why(model: str, header: Header) -> str:
    if model == "photo":
        return "since its colours have noise of their own"
    if model == "camera":
        return "since its noise was smoothed or compressed, as cameras do"
    if header.colour != "rgb":
        return "since it has no colours" if header.colours == 1 else "channel by channel"
    return "since its colours share their noise, as in most JPEGs"


class Fit(Protocol):
    """Makes a denoiser that fits the images; `noise2noise.single` has such."""

    @property
    def key(self) -> str:
        """What its results follow from, besides images and models."""
        ...

    def __call__(
        self, denoiser: Denoiser, stack: Stack, progress: Callable[[float], None]
    ) -> tuple[Denoiser, dict[str, Any]]:
        """The denoiser to use in the place of another, and what is to be said of it, for JSON.

        Arguments:
            denoiser: the one that was chosen.
            stack: what it is to denoise; can be read again afterwards.
            progress: told how far it is, from 0 to 1; what it raises ends the fit.
        """
        ...


class Examine(Protocol):
    """Looks at a result; `noise2noise.report` has what it takes."""

    def __call__(
        self,
        denoiser: Denoiser,
        stack: Stack,
        source: Source,
        place: Path,
        facts: Mapping[str, Any],
    ) -> dict[str, Any]:
        """What is to be added to the facts.

        Arguments:
            denoiser: that made the result.
            stack: the noisy image, opened again.
            source, place: the two files.
            facts: what was done.
        """
        ...


_FITTING = 0.8  # of the time that a file takes, where a model is fitted


@dataclass(frozen=True)
class Work:
    """How files are denoised; called with one of them.

    Attributes:
        names: where results go.
        models: which model each gets.
        settings: for all.
        said: of all files, as `open_stack` takes it.
        jpeg_quality: of JPEGs that are written; None for those of their sources.
        overwrite: do again what is done, and replace what stands in the way.
        ledger: what earlier runs did; None where nobody is to know.
        memory: shared by the files in flight.
        stop: set to stop between two tiles.
        progress: told how far each file is.
        turn: held while a network computes.
        load: reads a model.
        fit: fits it to the images; None to use it as it is.
        others: who denoises in the place of this process; None for nobody.
        examine: looks at each result; None where nobody asked.
    """

    names: Names
    models: Models
    settings: Settings
    said: Mapping[str, Any] = field(default_factory=dict)
    jpeg_quality: int | None = None
    overwrite: bool = False
    ledger: Ledger | None = None
    memory: SharedMemory = field(default_factory=lambda: SharedMemory(None))
    stop: threading.Event = field(default_factory=threading.Event)
    progress: Progress = lambda source, share: None
    turn: AbstractContextManager[Any] = field(default_factory=threading.Lock)
    others: Others | None = None
    load: Callable[[str], Denoiser] = field(default_factory=lambda: functools.cache(Denoiser.load))
    fit: Fit | None = None
    examine: Examine | None = None

    def __call__(self, source: Source) -> Result:
        """Denoise one file. Whatever is wrong with it is in the result.

        Raises:
            StoppedError: `stop` was set meanwhile; nothing was written.
        """
        return self._told(source, self._denoise)

    def plan(self, source: Source) -> Result:
        """What would be done with one file, without doing it."""
        return self._told(source, self._plan)

    @functools.cached_property
    def _digest(self) -> str:
        return self.models.digest()

    def _told(self, source: Source, do: Callable[[Source], Result]) -> Result:
        try:
            return do(source)
        except StoppedError:
            raise
        except UserError as error:
            reason = str(error)
        except Exception as error:
            if out_of_memory(error):
                reason = f"{source.path} does not fit into memory; choose a smaller --memory"
            else:
                told = " ".join(str(error).split())
                reason = f"{source.path} could not be denoised ({type(error).__name__}: {told})"
        finally:
            self.progress(source, 1)
        return Result(source.path, Status.FAILED, error=reason)

    def _plan(self, source: Source) -> Result:
        known = self._known_place(source)
        if known is not None and self._is_done(source, known):
            return Result(source.path, Status.SKIPPED, known)
        with self._opened(source) as stack:
            model, why = self.models.choose(stack)
        place = self.names.place(source, model)
        self._may_replace(place)
        return Result(source.path, Status.PLANNED, place, facts={"model": model, "why": why})

    def _denoise(self, source: Source) -> Result:
        started = time.perf_counter()
        known = self._known_place(source)
        if known is not None:
            if self._is_done(source, known):
                return Result(source.path, Status.SKIPPED, known)
            self._may_replace(known)
        with self._opened(source) as stack:
            model, why = self.models.choose(stack)
            place = self.names.place(source, model)
            if known is None and self._is_done(source, place):
                return Result(source.path, Status.SKIPPED, place)
            replace = self._may_replace(place)
            key = self._key(source) if self.ledger is not None or self.others else ""
            _make_folder(place.parent, self.names.folder)
            if self.others is not None:
                outcome = self.others(self._errand(source, place, model, key, replace), stack)
                denoiser, fitted = None, {}
            else:
                denoiser, fitted = self._fitted(source, stack, self.load(model))
                outcome = self._write(source, stack, place, denoiser, replace)
            facts = _facts(stack.header, model, why, outcome)
            if fitted:
                facts["notes"].append(fitted["said"])
                facts["single"] = fitted
        if self.examine is not None:
            with self._opened(source) as again, self.turn:
                by = denoiser or self.load(model)
                facts |= self.examine(by, again, source, place, facts)
        if self.ledger is not None:
            self.ledger.add(place, key, beside=self.names.folder is None)
        facts["seconds"] = round(time.perf_counter() - started, 3)
        return Result(source.path, Status.DONE, place, facts=facts)

    def _opened(self, source: Source) -> Stack:
        return open_stack(source.path, **self.said)

    def _fitted(
        self, source: Source, stack: Stack, denoiser: Denoiser
    ) -> tuple[Denoiser, dict[str, Any]]:
        """The denoiser that does the work, and what there is to say of its fit."""
        if self.fit is None:
            return denoiser, {}

        def progress(share: float) -> None:
            if self.stop.is_set():
                raise StoppedError
            self.progress(source, _FITTING * share)

        with self.turn:
            return self.fit(denoiser, stack, progress)

    def _write(
        self, source: Source, stack: Stack, place: Path, denoiser: Denoiser, replace: bool
    ) -> Outcome:
        begun = _FITTING if self.fit else 0.0

        def watched(items: Iterable[Any], _: str, total: int) -> Iterator[Any]:
            for number, item in enumerate(items):
                if self.stop.is_set():
                    raise StoppedError
                yield item
                self.progress(source, begun + (1 - begun) * (number + 1) / total)

        needed = denoiser.memory_for(stack, place, self.settings)
        with self.memory.taking(needed):
            return denoiser.denoise_stack(
                stack, place, self.settings, replace, watched, self.turn, self.jpeg_quality
            )

    def _errand(self, source: Source, place: Path, model: str, key: str, replace: bool) -> Errand:
        return Errand(
            source.path,
            self.said,
            place,
            model,
            self.settings,
            key,
            replace,
            self.stop,
            functools.partial(self.progress, source),
        )

    def _known_place(self, source: Source) -> Path | None:
        """Where the result goes, if that is known before the model is."""
        places = {self.names.place(source, model) for model in self.models.candidates}
        return places.pop() if len(places) == 1 else None

    def _key(self, source: Source) -> str:
        settings = asdict(self.settings)
        for what_changes_no_result in ("tile", "memory"):
            del settings[what_changes_no_result]
        options = {**settings, **self.said, "quality": self.models.quality}
        options["jpeg_quality"] = self.jpeg_quality
        if self.fit is not None:
            options["single"] = self.fit.key
        return key_of(source.path, self._digest, options)

    def _is_done(self, source: Source, place: Path) -> bool:
        if self.ledger is None or self.overwrite or not source.path.exists():
            return False
        return self.ledger.is_done(place, self._key(source))

    def _may_replace(self, place: Path) -> bool:
        """Whether something stands at `place` that is to be replaced.

        Raises:
            UserError: something does that isn't, or nothing can be written there.
        """
        if place.parent.is_dir() and not os.access(place.parent, os.W_OK):
            raise UserError(
                f"{place} can't be written: the folder is read-only; name another one by --out"
            )
        if not place.exists():
            return False
        if self.overwrite or (self.ledger is not None and self.ledger.is_own(place)):
            return True
        raise UserError(f"{place} exists already; choose another name or add --overwrite")


def _make_folder(folder: Path, root: Path | None) -> None:
    """The folder of a result, if it mirrors one."""
    if root is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} can't be made: {error.strerror or error}") from error


def _facts(header: Header, model: str, why: str, outcome: Outcome) -> dict[str, Any]:
    notes = [*header.notes, *outcome.losses]
    if outcome.knows_noise:
        notes.append("its noise is that of the images that the model learned from")
    if outcome.seen.bad:
        notes.append(f"{outcome.seen.bad} NaN or infinite values stay as they are")
    if outcome.impulses:
        notes.append(f"{outcome.impulses} impulse{'s' * (outcome.impulses != 1)} removed")
    return {
        "model": model,
        "why": why,
        "width": header.width,
        "height": header.height,
        "planes": header.planes,
        "notes": notes,
    }

"""Models that are fitted to a picture first, before it is shown or saved, as `noise2noise denoise
--single` fits them: one that waits for its turn, and what it comes to."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from noise2noise.batch import StoppedError
from noise2noise.denoiser import Denoiser
from noise2noise.files import Stack
from noise2noise.web.computing import Door
from noise2noise.web.picture import Picture
from noise2noise.web.ways import Way

State = Literal["waiting", "working", "done", "failed", "cancelled"]
"""How far something is that waits for its turn."""


@dataclass
class Fitting:
    """A model on its way to a picture, so that it can be shown.

    Attributes:
        file: the picture's identity on its page.
        picture: what it is fitted to.
        way: which model, and which noise.
        id: nobody guesses it.
        state, share: how far it is, from 0 to 1.
        error: why it failed.
        said: what came of it.
        stop: set to stop it.
    """

    file: str
    picture: Picture
    way: Way
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "waiting"
    share: float = 0.0
    error: str = ""
    said: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def is_of_use(self) -> bool:
        """Whether it will come to something, or has: what was let go of must be fitted again."""
        if self.state == "done":
            return self.picture.fitted(self.way) is not None
        return self.state in ("waiting", "working") and not self.stop.is_set()

    def work(self, turn: Door) -> None:
        """Fit the model; those who look at something are let by.

        Raises:
            StoppedError: it was asked for.
            UserError: the model or the picture can't be used.
        """
        self.state = "working"
        with turn:
            self.said = self.picture.fit(self.way, self._progress, turn).describe()
        self.state, self.share = "done", 1.0

    def _progress(self, share: float) -> None:
        if self.stop.is_set():
            raise StoppedError
        self.share = share

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "id": self.id,
            "file": self.file,
            "state": self.state if self.state != "done" or self.is_of_use else "cancelled",
            "share": round(self.share, 4),
            "error": self.error,
            "said": self.said,
        }


@dataclass(frozen=True)
class FitOf:
    """What `batch.Work.fit` takes: a model fitted to one picture, now or before.

    Attributes:
        picture: what it is fitted to.
        way: which noise it has.
        turn: held by who calls.
    """

    picture: Picture
    way: Way
    turn: Door
    key: str = "each"

    def __call__(
        self, denoiser: Denoiser, stack: Stack, progress: Callable[[float], None]
    ) -> tuple[Denoiser, dict[str, Any]]:
        """As `batch.work.Fit`."""
        del denoiser, stack  # the picture knows both
        fitted = self.picture.fit(self.way, progress, self.turn)
        return fitted.denoiser, fitted.as_dict()

"""Files that are to be saved, one after another, as `noise2noise denoise` would."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from noise2noise.batch import Models as Choice
from noise2noise.batch import Names, Result, Source, Status, StoppedError, Work
from noise2noise.batch.find import RESULT, plain_stem
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import Stack
from noise2noise.inference import Settings
from noise2noise.report import Entry, examine, write_page
from noise2noise.web.fitting import FitOf, Fitting, State
from noise2noise.web.limits import RefusedError
from noise2noise.web.picture import Picture
from noise2noise.web.room import Room
from noise2noise.web.ways import Way


@dataclass
class Job:
    """One file on its way.

    Attributes:
        file: the file's identity on its page.
        picture: what it is.
        folder: where its result goes, which is the job's own.
        way: how it is denoised.
        report: whether it is to be said how far the result can be trusted.
        id: nobody guesses it.
        state, share: how far it is, from 0 to 1.
        error: why it failed.
        result, page: what was written: the image, and the report if one is wanted.
        facts: of one that is done, as `noise2noise denoise --json` has them.
        stop: set to stop it.
    """

    file: str
    picture: Picture
    folder: Path
    way: Way
    report: bool = False
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "waiting"
    share: float = 0.0
    error: str = ""
    result: Path | None = None
    page: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def source(self) -> Path:
        """Where it lies."""
        return self.picture.path

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in ("waiting", "working")

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "id": self.id,
            "file": self.file,
            "state": self.state,
            "share": round(self.share, 4),
            "error": self.error,
            "report": self.report,
            "result": None if self.result is None else self.result.name,
            "facts": self.facts,
        }


class Jobs:
    """The queue of all pages, and the thread that works on it."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._pool = ThreadPoolExecutor(1, "save")
        self._lock = threading.Lock()
        self._count = 0

    def add(self, jobs: Iterable[Job]) -> None:
        """Let jobs wait for their turn.

        Raises:
            RefusedError: too many wait.
        """
        new = list(jobs)
        self._make_room(len(new))
        for job in new:
            self._pool.submit(self._do, job)

    def fit(self, fitting: Fitting) -> None:
        """Let a fit wait for its turn.

        Raises:
            RefusedError: too many wait.
        """
        self._make_room(1)
        self._pool.submit(self._fit, fitting)

    def _make_room(self, new: int) -> None:
        most = self._room.limits.waiting
        with self._lock:
            if self._count + new > most:
                raise RefusedError(
                    429,
                    f"{self._count} files wait to be saved already, and at most {most} may; try "
                    "again when some are done",
                    "waiting",
                    count=self._count,
                    most=most,
                )
            self._count += new

    def close(self) -> None:
        """Begin no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _do(self, job: Job) -> None:
        try:
            if job.stop.is_set():
                job.state = "cancelled"
                return
            job.state = "working"
            self._finish(job, self._work(job)(Source(job.source)))
        except StoppedError:
            job.state = "cancelled"
        except UserError as error:
            job.state, job.error = "failed", str(error)
        except Exception as error:
            job.state, job.error = "failed", f"{job.source.name} could not be saved ({error})"
        finally:
            if job.state == "cancelled" or job.stop.is_set():
                _remove(job.folder)
            with self._lock:
                self._count -= 1

    def _fit(self, fitting: Fitting) -> None:
        try:
            if fitting.stop.is_set():
                raise StoppedError
            fitting.work(self._room.turns.after)
        except StoppedError:
            fitting.state = "cancelled"
        except Exception as error:
            name = fitting.picture.path.name
            if fitting.stop.is_set():  # its picture may have gone in the middle of a look at it
                fitting.state = "cancelled"
                return
            known = isinstance(error, UserError)
            fitting.error = str(error) if known else f"nothing could be fitted to {name} ({error})"
            fitting.state = "failed"
        finally:
            with self._lock:
                self._count -= 1

    def _finish(self, job: Job, result: Result) -> None:
        if result.status is Status.DONE:
            job.result, job.facts, job.share = result.output, result.facts or {}, 1.0
            job.state = "done"
        else:
            job.error = result.error.replace(f"{job.source.parent}/", "")
            job.state = "failed"

    def _work(self, job: Job) -> Work:
        """As the command makes it of its options.

        Raises:
            UserError: the model isn't offered, or can't be used in this way.
        """
        models, way, turn = self._room.models, job.way, self._room.turns.after
        settings = way.settings()
        choice = Choice(way.model or None, way.quality, way.tells)
        for name in choice.candidates:
            models.load(name).check(settings)

        def progress(source: Source, share: float) -> None:
            del source
            job.share = share

        return Work(
            Names(job.folder, None, f"{{stem}}{RESULT}{{suffix}}"),
            choice,
            settings,
            said={"axes": None, "channel_axis": None, "white": None},
            stop=job.stop,
            progress=progress,
            turn=turn,
            fit=FitOf(job.picture, way, turn) if way.single else None,
            load=models.load,
            examine=_Examine(job, settings) if job.report else None,
        )


@dataclass(frozen=True)
class _Examine:
    """Writes the report of a job's result."""

    job: Job
    settings: Settings

    def __call__(
        self,
        denoiser: Denoiser,
        stack: Stack,
        source: Source,
        place: Path,
        facts: Mapping[str, Any],
    ) -> dict[str, Any]:
        found = examine(denoiser, stack, self.settings)
        path = place.with_name(f"{plain_stem(source.path)}_report.html")
        entry = Entry(source.path.name, place.name, facts, found)
        write_page(path, [entry], f"noise2noise {version('noise2noise')}")
        self.job.page = path
        return {"report": found.as_dict()}


def _remove(folder: Path) -> None:
    """A result that nobody wants any more; the folders above it too, where the page is closed."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
        folder.parent.parent.rmdir()

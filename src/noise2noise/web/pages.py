"""An open page: its folder, its files, and what it waits for. All goes when the page does."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noise2noise.errors import UserError
from noise2noise.files import ending, suffix_of, suffixes
from noise2noise.fit.lock import locked
from noise2noise.web.fitting import Fitting
from noise2noise.web.jobs import Job, Jobs
from noise2noise.web.limits import Limits, RefusedError, in_words, size_of
from noise2noise.web.names import safe_name
from noise2noise.web.picture import Picture
from noise2noise.web.room import Room
from noise2noise.web.unpacking import is_archive, unpacked
from noise2noise.web.ways import Way

_PREFIX = "noise2noise-web-"


@dataclass
class Page:
    """One page in one browser.

    Attributes:
        folder: its own, of which nothing stays.
        room: what it shares with others.
        id: nobody guesses it.
        pictures: its files, by their identities.
        jobs: what it asked to be saved, by theirs.
        fittings: models that it asked to be fitted to its files, by theirs.
        seen: when it asked for something last, in seconds of a clock of its own.
        coming: bytes of files that are on their way.
    """

    folder: Path
    room: Room
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    pictures: dict[str, Picture] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    fittings: dict[str, Fitting] = field(default_factory=dict)
    archives: dict[str, list[str]] = field(default_factory=dict)
    seen: float = 0.0
    coming: int = 0
    arriving: int = 0
    closed: bool = False
    lock: threading.RLock = field(default_factory=threading.RLock)

    def place_for(self, name: str, size: int) -> Path:
        """Where a file of so many bytes may be put; `arrived` or `gave_up` must follow.

        Raises:
            RefusedError: it is too large, or there are too many.
        """
        limits = self.room.limits
        with self.lock:
            if len(self.pictures) + self.arriving >= limits.files:
                sentence = f"a page takes {limits.files} files; save some, and go on"
                raise RefusedError(413, sentence, "files", most=limits.files)
            if size > limits.file_bytes:
                raise RefusedError(
                    413,
                    f"{safe_name(name)} has {in_words(size)}, and the page takes "
                    f"{in_words(limits.file_bytes)}; use: noise2noise denoise",
                    "file_large",
                    name=safe_name(name),
                    size=in_words(size),
                    most=in_words(limits.file_bytes),
                )
            if self._bytes() + self.coming + size > limits.page_bytes:
                raise RefusedError(
                    413,
                    f"a page takes {in_words(limits.page_bytes)} in all; close some files, or use: "
                    "noise2noise denoise",
                    "page_large",
                    most=in_words(limits.page_bytes),
                )
            if shutil.disk_usage(self.folder).free - size < limits.free_bytes:
                raise RefusedError(507, "the disk of temporary files is all but full", "disk")
            folder = self.folder / "in" / secrets.token_hex(8)
            folder.mkdir(parents=True)
            self.coming += size
            self.arriving += 1
        return folder / safe_name(name)

    def arrived(self, path: Path, size: int) -> tuple[str, Picture]:
        """A file is there. Returns its identity, and itself.

        Raises:
            UserError, RefusedError: it is no image that can be used; it is gone then.
        """
        try:
            if is_archive(path):
                path = unpacked(path, self.room.limits.file_bytes)
            picture = Picture(_with_suffix(path), self.room)
        except BaseException:
            self.gave_up(path, size)
            raise
        with self.lock:
            self.coming -= size
            self.arriving -= 1
            if self.closed:
                picture.close()
                raise RefusedError(410, "the page is closed", "closed")
            identity = path.parent.name
            self.pictures[identity] = picture
        return identity, picture

    def gave_up(self, path: Path, size: int) -> None:
        """A file didn't come, or can't be used."""
        with self.lock:
            self.coming -= size
            self.arriving -= 1
        shutil.rmtree(path.parent, ignore_errors=True)

    def picture(self, identity: str) -> Picture:
        """A file of the page.

        Raises:
            RefusedError: there is none.
        """
        with self.lock:
            found = self.pictures.get(identity)
        if found is None:
            raise RefusedError(404, "there is no such file on this page", "no_file")
        return found

    def remove(self, identity: str) -> None:
        """Let go of a file and of what was made of it."""
        with self.lock:
            picture = self.picture(identity)
            del self.pictures[identity]
            jobs = [job for job in self.jobs.values() if job.file == identity]
            for job in jobs:
                del self.jobs[job.id]
                job.stop.set()
            for fitting in [each for each in self.fittings.values() if each.file == identity]:
                del self.fittings[fitting.id]
                fitting.stop.set()
        picture.close()
        for folder in (picture.path.parent, *(job.folder for job in jobs if job.is_over)):
            shutil.rmtree(folder, ignore_errors=True)

    def save(self, queue: Jobs, identities: list[str], way: Way, report: bool) -> list[Job]:
        """Have files denoised to be saved, with a report or without; what is done already in this
        way isn't done again.

        Raises:
            RefusedError: there is no such file, or too many wait.
        """
        with self.lock:
            asked, new = [], []
            for identity in identities:
                picture = self.picture(identity)
                job = self._same(identity, way, report)
                if job is None:
                    folder = self.folder / "out" / secrets.token_hex(8)
                    job = Job(identity, picture, folder, way, report)
                    new.append(job)
                asked.append(job)
            queue.add(new)
            for job in new:
                self._forget_others(job)
                self.jobs[job.id] = job
            return asked

    def _same(self, identity: str, way: Way, report: bool) -> Job | None:
        for job in self.jobs.values():
            alive = job.state in ("waiting", "working", "done") and not job.stop.is_set()
            if (job.file, job.way, job.report) == (identity, way, report) and alive:
                return job
        return None

    def _forget_others(self, new: Job) -> None:
        """A file has one result: what was saved of it before goes."""
        for job in [job for job in self.jobs.values() if job.file == new.file]:
            if job.is_over:
                del self.jobs[job.id]
                shutil.rmtree(job.folder, ignore_errors=True)

    def fit(self, queue: Jobs, identity: str, way: Way) -> Fitting:
        """Have a model fitted to a file, unless it is, or is waited for.

        Raises:
            RefusedError: there is no such file, or too many wait.
            UserError: there is no such model.
        """
        with self.lock:
            picture = self.picture(identity)
        model, _ = picture.model_for(way)
        with self.lock:
            for known in [each for each in self.fittings.values() if each.file == identity]:
                same = known.way.noise == way.noise and picture.model_for(known.way)[0] == model
                if same and known.is_of_use:
                    return known
                if same:
                    del self.fittings[known.id]
            new = Fitting(identity, picture, way)
            queue.fit(new)
            self.fittings[new.id] = new
            return new

    def results(self, identities: list[str]) -> list[Path]:
        """What was written by these jobs.

        Raises:
            RefusedError: one of them isn't done.
        """
        with self.lock:
            jobs = [self.jobs.get(identity) for identity in identities]
        paths = [job.result for job in jobs if job is not None and job.result is not None]
        if not paths or len(paths) < len(identities):
            raise RefusedError(404, "there is no such result; save the file again")
        return paths

    def reports(self, identities: list[str]) -> list[Path]:
        """The reports of these jobs, as far as there are any."""
        with self.lock:
            jobs = [self.jobs.get(identity) for identity in identities]
        return [job.page for job in jobs if job is not None and job.page is not None]

    def as_json(self) -> dict[str, Any]:
        """How it stands, for the page."""
        with self.lock:
            return {
                "files": list(self.pictures),
                "jobs": [job.as_json() for job in self.jobs.values()],
                "fittings": [fitting.as_json() for fitting in self.fittings.values()],
            }

    def close(self) -> None:
        """Let everything go."""
        with self.lock:
            self.closed = True
            pictures, self.pictures = list(self.pictures.values()), {}
            for each in (*self.jobs.values(), *self.fittings.values()):
                each.stop.set()
        for picture in pictures:
            picture.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _bytes(self) -> int:
        return sum(size_of(picture.path) for picture in self.pictures.values())


def _with_suffix(path: Path) -> Path:
    """The file, with the suffix of what it holds at its end where it has none that is known: what
    is saved has its name."""
    if ending(path) in suffixes():
        return path
    return path.rename(path.with_name(path.name + suffix_of(path)))


class Pages:
    """All open pages, below a temporary folder that nobody else can look into.

    Folders of servers that were killed are removed when the next one starts.
    """

    def __init__(
        self, room: Room, clock: Callable[[], float] = time.monotonic, root: Path | None = None
    ) -> None:
        self._room, self._clock, self._held = room, clock, ExitStack()
        parent = Path(tempfile.gettempdir()) if root is None else root
        _sweep(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._held.enter_context(locked(self.folder))
        self._pages: dict[str, Page] = {}
        self._lock = threading.Lock()

    @property
    def limits(self) -> Limits:
        return self._room.limits

    def open(self) -> Page:
        """A new page.

        Raises:
            RefusedError: there are too many.
        """
        self.reap()
        with self._lock:
            if len(self._pages) >= self.limits.pages:
                raise RefusedError(
                    503,
                    f"{self.limits.pages} pages are open already; close one, and load again",
                    "pages",
                    most=self.limits.pages,
                )
            folder = Path(tempfile.mkdtemp(dir=self.folder))
            page = Page(folder, self._room, seen=self._clock())
            self._pages[page.id] = page
            return page

    def get(self, identity: str) -> Page:
        """An open page, which is alive, as it asks for something.

        Raises:
            RefusedError: there is none.
        """
        with self._lock:
            page = self._pages.get(identity)
            if page is None:
                raise RefusedError(410, "the page was closed; load it again", "closed")
            page.seen = self._clock()
            return page

    def all(self) -> list[Page]:
        """Those that are open."""
        with self._lock:
            return list(self._pages.values())

    def close(self, identity: str) -> None:
        """Close a page, if it is open."""
        with self._lock:
            page = self._pages.pop(identity, None)
        if page is not None:
            page.close()

    def reap(self) -> None:
        """Close the pages that haven't asked for anything for long."""
        late = self._clock() - self.limits.idle_seconds
        for page in self.all():
            if page.seen < late and page.arriving == 0:
                self.close(page.id)

    def shut(self) -> None:
        """Close all, and leave nothing behind."""
        for page in self.all():
            self.close(page.id)
        self._held.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove what servers left that were killed: folders of ours whose lock nobody holds."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError, UserError):
            if _is_ours(folder) and (folder / ".lock").is_file():
                with locked(folder):
                    pass
                shutil.rmtree(folder, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    if folder.is_symlink() or not folder.is_dir():
        return False
    return sys.platform == "win32" or status.st_uid == os.getuid()

"""`noise2noise denoise` at work: what is named becomes a batch, and what comes of it is told."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from noise2noise.batch import (
    QUALITIES,
    Errand,
    Found,
    Ledger,
    Models,
    Names,
    Result,
    SharedMemory,
    Source,
    Status,
    StoppedError,
    Work,
    find,
    in_flight,
    read_list,
    tally,
)
from noise2noise.cli.common import print_error, print_json, say
from noise2noise.cli.stopping import requests_to_stop
from noise2noise.denoiser import Denoiser, Outcome
from noise2noise.device import resolved
from noise2noise.errors import UserError
from noise2noise.files import Stack, Wanted, format_for, suffix_named, suffix_of
from noise2noise.inference import Settings, parse_memory
from noise2noise.noise import NoiseProfile

if TYPE_CHECKING:
    from noise2noise.cli.denoise import Asked

STREAM = "-"
INTERRUPTED, PIPE_BROKEN = 130, 141

_MOST_IN_FLIGHT = 4


def run(asked: Asked) -> int:
    """Do what is asked for. Returns the exit status.

    Raises:
        UserError: the options can't be, or nothing is there to be done.
    """
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    settings = _settings(asked)
    models = _models(asked, settings)
    # The workers of a scheduler have devices of their own.
    device = resolved(asked.device if asked.scheduler is None else "cpu")
    with tempfile.TemporaryDirectory(prefix="noise2noise-") as aside:
        found, ledger = _found(asked, Path(aside))
        names, to_stream = _names(asked, found, Path(aside))
        names.check(found.sources, models.candidates)
        work = Work(
            names,
            models,
            settings,
            said={"axes": asked.axes, "channel_axis": asked.channel_axis, "white": asked.white},
            jpeg_quality=asked.jpeg_quality,
            overwrite=asked.overwrite,
            ledger=ledger if found.batch else None,
            memory=SharedMemory(settings.memory),
            load=functools.cache(functools.partial(Denoiser.load, device=device)),
        )
        _check(work)
        if asked.single is not None:
            from noise2noise.cli.single import fits  # the others need nothing of it

            work = replace(work, fit=fits(asked, settings, found.sources, models))
        reporter = None
        if asked.report is not None or asked.residual is not None:
            from noise2noise.cli.report import reporter_of

            reporter = reporter_of(asked, settings, found.sources)
            work = replace(work, examine=reporter)
        if names.folder is not None and not asked.dry_run:
            _make_folder(names.folder)
        with _shared_out(asked, work, found) as work:
            status = _Session(asked, found, work, to_stream).run()
        if reporter is not None:
            reporter.write()
        return status


@contextmanager
def _shared_out(asked: Asked, work: Work, found: Found) -> Iterator[Work]:
    """The work, with others to do it where that is asked for, and where there is some."""
    alone = asked.workers is None and asked.scheduler is None
    if alone or asked.dry_run or not any(source.path.exists() for source in found.sources):
        yield work
        return
    from noise2noise.scale import Wish, denoise_store, joined

    wish = Wish(asked.scheduler, asked.workers, asked.threads)
    with joined(wish) as client:

        def others(errand: Errand, stack: Stack) -> Outcome:
            return denoise_store(client, errand, stack, wish.each, asked.device)

        yield replace(work, others=others)


def _models(asked: Asked, settings: Settings) -> Models:
    if asked.quality not in QUALITIES:
        raise UserError(
            f"there is no quality {asked.quality!r}; choose one of {', '.join(QUALITIES)}"
        )
    if asked.quality == "fast" and asked.model is not None:
        raise UserError(f"--quality fast chooses the model; leave --model {asked.model} out")
    # A fit is of the noise that a model is told.
    return Models(asked.model, asked.quality, settings.tells or asked.single is not None)


def _settings(asked: Asked) -> Settings:
    return Settings(
        strength=asked.strength,
        tile=asked.tile,
        memory=None if asked.memory is None else parse_memory(asked.memory),
        noise=None if asked.noise is None else NoiseProfile.parse(asked.noise),
        turns=asked.quality == "best",
        impulses=not asked.keep_impulses,
        wanted=Wanted.parse(asked.dtype, asked.bit_depth),
    )


def _check(work: Work) -> None:
    """What is wrong with the options is said once, not of each image."""
    for model in work.models.candidates:
        work.load(model).check(work.settings)


def _found(asked: Asked, aside: Path) -> tuple[Found, Ledger]:
    """What is named, and what earlier runs did."""
    ledger = Ledger()
    if asked.images == [STREAM] and asked.files_from is None:
        return Found([Source(_spooled(aside))]), ledger
    if STREAM in asked.images:
        raise UserError("- is an image from standard input, and goes alone")
    named: list[str | Path] = [*asked.images]
    if asked.files_from is not None:
        named += _listed(asked.files_from)
    if not named:
        raise UserError("no images are named; try: noise2noise denoise photo.jpg (or -h)")
    output = Path(asked.output) if asked.output not in (None, STREAM) else None
    found = find(named, asked.recursive, output, ledger)
    found.batch = found.batch or asked.files_from is not None
    return found, ledger


def _listed(place: str) -> list[Path]:
    if place == STREAM:
        return read_list(sys.stdin.buffer)
    try:
        with open(place, "rb") as file:
            return read_list(file)
    except OSError as error:
        raise UserError(f"{place} could not be read: {error.strerror or error}") from error


def _spooled(aside: Path) -> Path:
    """Standard input as a file whose suffix fits its content."""
    path = aside / "standard input"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path.rename(path.with_suffix(suffix_of(path)))


def _names(asked: Asked, found: Found, aside: Path) -> tuple[Names, bool]:
    """Where results go, and whether the one there is goes to standard output."""
    sources = found.sources
    suffix = "" if asked.format is None else suffix_named(asked.format)
    to_stream = asked.output == STREAM or (asked.images == [STREAM] and asked.output is None)
    if not to_stream:
        return Names.of(
            Path(asked.output) if asked.output else None, asked.name, sources, suffix
        ), False
    if len(sources) != 1:
        raise UserError(f"standard output takes one image, and there are {len(sources)}")
    if sys.stdout.isatty():
        raise UserError("the image would go to the terminal; send it somewhere: ... > clean.png")
    folder = aside / "result"
    folder.mkdir()
    names = Names(folder, None, asked.name or "{stem}{suffix}", suffix)
    result = format_for(names.place(sources[0], ""))
    if result.is_folder:
        raise UserError(f"{result.name} is a folder, which standard output can't take; name -o DIR")
    return names, True


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} can't be made: {error.strerror or error}") from error


class _Session:
    """A batch in a terminal or a pipe."""

    def __init__(self, asked: Asked, found: Found, work: Work, to_stream: bool) -> None:
        self._asked, self._found, self._work, self._to_stream = asked, found, work, to_stream
        self._results: list[Result] = []
        self._talks = not (asked.quiet or asked.as_json)

    def run(self) -> int:
        started = time.perf_counter()
        try:
            self._go()
        except StoppedError:
            count = len(self._found.sources)
            left = count - len(self._results)
            say(f"stopped; {left} of {count} images are left as they were")
            return INTERRUPTED
        except BrokenPipeError:
            self._work.stop.set()
            # Python would write what is left when it ends, and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return PIPE_BROKEN
        if self._asked.as_json:
            order = {source.path: place for place, source in enumerate(self._found.sources)}
            self._results.sort(key=lambda result: order[result.source])
            print_json([result.as_json() for result in self._results])
        if self._talks:
            self._sum_up(time.perf_counter() - started)
        return 2 if tally(self._results)[Status.FAILED] else 0

    def _go(self) -> None:
        stop, sources = self._work.stop, self._found.sources
        workers = min(len(sources), _MOST_IN_FLIGHT, max(os.cpu_count() or 1, 1))
        if self._work.others is not None:  # who are many enough for one
            workers = 1
        with requests_to_stop(stop), _bar(self._work, sources, self._asked.quiet) as work:
            do = work.plan if self._asked.dry_run else work
            for result in in_flight(sources, do, workers, stop):
                self._results.append(result)
                self._tell(result)

    def _tell(self, result: Result) -> None:
        if result.status is Status.FAILED:
            print_error(result.error)
        elif self._to_stream and result.output is not None:
            with result.output.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif self._talks and result.status is not Status.SKIPPED:
            print(f"{result.source} -> {result.output}  ({_facts(result)})", flush=True)

    def _sum_up(self, seconds: float) -> None:
        """The table below a batch; a single image has said all."""
        passed = self._found.passed_over()
        if not self._found.batch or (len(self._results) < 2 and not passed):
            return
        counts = tally(self._results)
        rows = [(each.value, str(counts[each]), _REMARKS[each]) for each in Status if counts[each]]
        rows += [("passed over", "", words) for words in passed]
        for name, count, remark in rows:
            say(f"{name:<12}{count:>6}  {remark}".rstrip())
        say(f"{'time':<12}{seconds:>6.1f}  s")


_REMARKS = {
    Status.DONE: "",
    Status.SKIPPED: "done by an earlier run",
    Status.FAILED: "see above",
    Status.PLANNED: "would be denoised",
}


def _facts(result: Result) -> str:
    facts = result.facts or {}
    parts = [" ".join([facts["model"], facts["why"]]).rstrip()]
    if "seconds" in facts:
        parts.append(f"{facts['seconds']:.1f} s")
    return "; ".join([", ".join(parts), *facts.get("notes", [])])


@contextmanager
def _bar(work: Work, sources: Iterable[Source], quiet: bool) -> Iterator[Work]:
    """The work with one progress bar over all of it, by the bytes of the files."""
    if quiet or not sys.stderr.isatty():
        yield work
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    from noise2noise.cli.common import messages

    sizes = {source.path: max(_size(source.path), 1) for source in sources}
    shares = dict.fromkeys(sizes, 0.0)
    lock = threading.Lock()
    bar = Progress(
        TextColumn("Denoising"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=messages,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    task = bar.add_task("", total=sum(sizes.values()))

    def progress(source: Source, share: float) -> None:
        with lock:
            bar.advance(task, (share - shares[source.path]) * sizes[source.path])
            shares[source.path] = share

    with bar:
        yield replace(work, progress=progress)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

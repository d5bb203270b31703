"""An OME-Zarr out of an image of any size, piece by piece, by the workers of a cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from noise2noise.batch import Errand
from noise2noise.denoiser import Denoiser, Outcome
from noise2noise.device import AUTO
from noise2noise.errors import UserError
from noise2noise.files import (
    BAND,
    Stack,
    Survey,
    format_for,
    refuse_existing,
    result_of,
    share_of,
    together,
    zarr_write,
)
from noise2noise.files.zarr import ZARR
from noise2noise.inference import Known
from noise2noise.scale.dispatch import Failure, spread
from noise2noise.scale.grid import Grid, coarse, grid_for, in_words
from noise2noise.scale.making import Making, making
from noise2noise.scale.worker import (
    Job,
    denoise_piece,
    digest_of,
    know,
    look_at,
    shrink_piece,
)

if TYPE_CHECKING:
    from distributed import Client

_LEAST = 1024  # pixels along Y and X of a piece of a smaller level
_ROWS = 4 * BAND  # that are looked at in one go


def denoise_store(
    client: Client,
    errand: Errand,
    stack: Stack,
    threads: int | None = None,
    device: str = AUTO,
) -> Outcome:
    """Denoise an image by all workers of a client.

    Each piece of the result is on the disk when it is done, so that a run that was killed goes on
    with those that are missing. One that fails is tried again, by another worker if there is one;
    the others are done in any case.

    Arguments:
        client: of `distributed`.
        errand: what is to be done. All workers must see its files. The memory of its settings is
            each worker's; a run with the same key goes on where one was stopped.
        stack: the image, opened; it can't be read afterwards.
        threads: on how many cores a worker computes; None for as many as it does anyway.
        device: what computes, by its name at the workers.

    Raises:
        UserError: it can't be done in pieces, or some of them could not be done.
        StoppedError: the errand was stopped; what was done is kept.
    """
    destination = errand.destination.absolute()
    if format_for(destination) is not ZARR:
        raise UserError(
            f"{destination.name} is no OME-Zarr, which is what several workers can write to; "
            "end its name in .zarr, or add --format zarr"
        )
    refuse_existing(destination, errand.overwrite)
    job = Job(
        errand.source.absolute(),
        dict(errand.said),
        destination,
        errand.model,
        digest_of(errand.model),
        errand.settings,
        threads,
        device,
    )
    return _Store(client, errand, job, stack).made()


class _Store:
    """A result on its way."""

    def __init__(self, client: Client, errand: Errand, job: Job, stack: Stack) -> None:
        self._client, self._errand, self._job = client, errand, job
        result = result_of(job.destination, stack, errand.settings.wanted)
        if not result.in_place:
            raise UserError(
                f"{stack.name} is developed or converted as a whole, which several workers can't "
                "do; leave --workers and --scheduler out"
            )
        self._header, self._source = result.header, result.source(stack)
        self._stop = errand.stop
        self._pieces = self._ended = 0

    def made(self) -> Outcome:
        job, settings = self._job, self._errand.settings
        denoiser = Denoiser.load(job.model, "cpu")  # only looked at: the workers compute
        denoiser.check(settings)
        axes, packed = zarr_write.arrangement(self._header)
        along = [packed[place] for place in axes.order]
        grid = grid_for(denoiser.network, self._source, self._header, along, settings.memory)
        with making(
            job.destination, self._header, self._errand.key, grid, self._errand.overwrite
        ) as result:
            known = result.plan.known or self._learn(result)
            impulses = self._fill(result, known)
            result.finish(job.destination, self._errand.overwrite)
        return Outcome(known.seen, impulses)

    # -- what there is to know ---------------------------------------------------------------------

    def _learn(self, result: Making) -> Known:
        seen = self._seen() if self._matters() else Survey(0, 255, 255, 0)
        found: list[Known] = []
        self._spread(
            functools.partial(know, self._job, seen),
            range(1),
            lambda _, known: found.append(known),
            lambda _: "its noise",
        )
        result.learned(found[0])
        return found[0]

    def _matters(self) -> bool:
        """Whether anything follows from the values: from those of 8 bits nothing does, unless
        somebody says what is white, or asks for others."""
        header, settings = self._source.header, self._errand.settings
        return header.dtype.name != "uint8" or header.white is not None or bool(settings.wanted)

    def _seen(self) -> Survey:
        header = self._source.header
        y = header.axes.index("Y")
        axes, packed = zarr_write.arrangement(self._header)
        step = [
            min(packed[place], size) for place, size in zip(axes.order, header.shape, strict=True)
        ]
        step[y:] = [min(_ROWS, header.height), *header.shape[y + 1 :]]
        grid = Grid(header.shape, tuple(step))
        looks: dict[int, Any] = {}
        self._spread(
            functools.partial(look_at, self._job, grid, share_of(header)),
            range(len(grid)),
            looks.__setitem__,
            lambda number: in_words(header.axes, grid[number]),
        )
        return together(looks[number] for number in sorted(looks))

    # -- pieces ------------------------------------------------------------------------------------

    def _fill(self, result: Making, known: Known) -> int:
        levels, grid = result.levels, result.plan.grid
        grids = [grid, *(self._grid_of(level.open()) for level in levels[1:])]
        self._pieces = sum(len(each) for each in grids)
        self._ended = sum(len(result.done(level)) for level in range(len(grids)))
        axes, _ = zarr_write.arrangement(self._header)
        tasks = [functools.partial(denoise_piece, self._job, known, grid, levels[0])]
        letters = [self._header.axes, *[axes.stored] * len(levels)]
        for place in range(1, len(levels)):
            pair = levels[place - 1], levels[place]
            tasks.append(functools.partial(shrink_piece, *pair, grids[place]))
        for place, (task, own) in enumerate(zip(tasks, grids, strict=True)):
            there = result.done(place)
            missing = [number for number in range(len(own)) if number not in there]
            self._spread(
                task,
                missing,
                functools.partial(self._note, result, place),
                lambda number, own=own, place=place: in_words(letters[place], own[number]),
                kept=True,
            )
        return sum(result.done(0).values())

    def _grid_of(self, array: Any) -> Grid:
        """The pieces of a smaller level, along its own axes."""
        axes, _ = zarr_write.arrangement(self._header)
        packed = array.shards or array.chunks
        step = tuple(min(own, size) for own, size in zip(packed, array.shape, strict=True))
        places = [axes.stored.index(letter) for letter in "YX"]
        return coarse(Grid(tuple(array.shape), step), places, _LEAST)

    def _note(self, result: Making, level: int, number: int, impulses: int) -> None:
        result.note(level, number, impulses)
        self._ended += 1
        self._errand.progress(self._ended / self._pieces)

    def _spread(
        self,
        do: Callable[[int], Any],
        numbers: Any,
        done: Callable[[int, Any], None],
        where: Callable[[int], str],
        kept: bool = False,
    ) -> None:
        """As `spread`; what failed is an error when the rest is done."""
        failures = spread(self._client, do, numbers, self._stop, done)
        if failures:
            raise self._failed(failures, len(numbers), where, kept)

    def _failed(
        self, failures: list[Failure], count: int, where: Callable[[int], str], kept: bool
    ) -> UserError:
        first = min(failures, key=lambda each: each.number)
        rest = "; the rest is done and kept, so run the same command to go on" if kept else ""
        return UserError(
            f"{len(failures)} of {count} pieces of {self._job.source} could not be done, the first "
            f"at {where(first.number)}: {first.reason}{rest}"
        )

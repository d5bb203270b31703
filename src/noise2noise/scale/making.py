"""A result while it is being made: a hidden folder beside its place, that a later run goes on with.

Beside the store lie `run.json`, what it follows from and how it is cut, and `done`, a line for each
piece that is there. Whatever stops a run, these two say what is missing. When nothing is, the store
is renamed, so that at its place it appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from chainrule.serialization import replacing
from noise2noise.errors import UserError
from noise2noise.files import Header, UnusableError, zarr_store, zarr_write
from noise2noise.fit.lock import locked
from noise2noise.inference import Known
from noise2noise.scale.grid import Grid
from noise2noise.scale.worker import Level


@dataclass(frozen=True)
class Plan:
    """What a result follows from.

    Attributes:
        key: of source, model and options, as `noise2noise.batch.key_of` makes it.
        grid: the pieces of the largest level.
        known: what was learned of the source; None until it was looked at.
    """

    key: str
    grid: Grid
    known: Known | None = None


_PLAN = TypeAdapter(Plan)


class Making:
    """A result that is being made.

    Attributes:
        plan: what it follows from.
        went_on: whether an earlier run began it.
    """

    def __init__(self, folder: Path, plan: Plan, went_on: bool) -> None:
        self._folder, self.plan, self.went_on = folder, plan, went_on
        self._done = _read_done(folder / "done")

    @property
    def levels(self) -> list[Level]:
        """The arrays, the largest first."""
        store = self._folder / "new"
        names = zarr_store.picture(store).levels
        return [Level(store / name, zarr_store.node(store / name).version) for name in names]

    def done(self, level: int) -> dict[int, int]:
        """The pieces of a level that are there, and how many impulses each had."""
        return self._done.get(level, {})

    def note(self, level: int, number: int, impulses: int) -> None:
        """A piece is there."""
        self._done.setdefault(level, {})[number] = impulses
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(self._folder / "done", flags, 0o666)
        try:
            os.write(file, f"{level} {number} {impulses}\n".encode())
        finally:
            os.close(file)

    def learned(self, known: Known) -> None:
        """Keep what was learned of the source."""
        self.plan = replace(self.plan, known=known)
        _write_plan(self._folder, self.plan)

    def finish(self, destination: Path, overwrite: bool) -> None:
        """Put the result in its place.

        Raises:
            UserError: something stands there, and `overwrite` is false.
        """
        old = self._folder / "old"
        if destination.exists():
            if not overwrite:
                raise UserError(
                    f"{destination} exists already; choose another name or add --overwrite"
                )
            destination.rename(old)
        try:
            (self._folder / "new").rename(destination)
        except OSError:
            if old.exists():
                old.rename(destination)
            raise


def folder_for(destination: Path) -> Path:
    """Where a result lies while it is being made."""
    return destination.parent / f".{destination.name}.partial"


@contextmanager
def making(
    destination: Path, header: Header, key: str, grid: Grid, overwrite: bool
) -> Iterator[Making]:
    """Begin a result, or go on with it. It is removed when the block ends well, and kept if not.

    Arguments:
        destination: where it is to be.
        header: of it.
        key, grid: what it follows from; that of an earlier run comes first if it has the same key.
        overwrite: begin anew where an earlier run made another one.

    Raises:
        UserError: an earlier run made another one, or another process is at it.
        OSError: the disk refused.
    """
    folder = folder_for(destination)
    folder.mkdir(exist_ok=True)
    with locked(folder, "denoising"):
        plan = _stored_plan(folder)
        if plan is not None and plan.key != key:
            if not overwrite:
                raise UserError(
                    f"{folder} holds a part of {destination.name} that was made of another image, "
                    "by another model or with other options; use these again to go on, or add "
                    "--overwrite to begin anew"
                )
            plan = None
        went_on = plan is not None
        if plan is None:
            plan = Plan(key, grid)
            _begin(folder, header, plan)
        yield Making(folder, plan, went_on)
    shutil.rmtree(folder, ignore_errors=True)


def _begin(folder: Path, header: Header, plan: Plan) -> None:
    (folder / "run.json").unlink(missing_ok=True)  # first: without it, nothing else counts
    (folder / "done").unlink(missing_ok=True)
    shutil.rmtree(folder / "new", ignore_errors=True)
    (folder / "new").mkdir()
    zarr_write.prepare(folder / "new", header)
    _write_plan(folder, plan)


def _stored_plan(folder: Path) -> Plan | None:
    try:
        plan = _PLAN.validate_json((folder / "run.json").read_bytes())
        zarr_store.picture(folder / "new")
    except (OSError, ValidationError, UnusableError, ValueError):
        return None
    return plan


def _write_plan(folder: Path, plan: Plan) -> None:
    with replacing(folder / "run.json", True) as temporary:
        Path(temporary).write_bytes(_PLAN.dump_json(plan))


def _read_done(path: Path) -> dict[int, dict[int, int]]:
    done: dict[int, dict[int, int]] = {}
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return done
    for line in lines:
        with suppress(ValueError):  # the last one may be cut short
            level, number, impulses = map(int, line.split())
            done.setdefault(level, {})[number] = impulses
    return done

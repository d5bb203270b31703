"""A file on a page: what it is, in words, and what the page shows of it, in tiles.

A tile is a square of the picture as it is seen, at a level of which each halves the one before.
Only tiles that are asked for are computed; at levels above 0 they are made of those of level 0.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from noise2noise.batch import Models as Choice
from noise2noise.files import Scale, Stack, open_stack, survey
from noise2noise.guidance import ChannelPlanes, Guidance, PlaneView
from noise2noise.inference import Settings, StackRun
from noise2noise.inference.known import Known, guide_of, looked_up, measured
from noise2noise.inference.preparation import Preparation
from noise2noise.noise import NoiseProfile
from noise2noise.noise.estimate import measure
from noise2noise.noise.words import describe, has_impulses, is_shared, kind_of
from noise2noise.web.computing import Cache, Models, Turns
from noise2noise.web.display import (
    TILE,
    Range,
    Turned,
    orientation_of,
    png,
    residual,
    shown,
    smaller,
)
from noise2noise.web.limits import Limits, RefusedError, in_words

NEAR = 48
"""Pixels around a tile that the network sees. Further ones reach it too, but change what is seen by
less than a step of 8 bits; what is saved is computed with all."""

_BANDS, _ROWS, _PLANES = 16, 64, 3  # of a picture, to learn what is black and white on the screen

Kind = Literal["before", "after", "residual"]
KINDS: tuple[Kind, ...] = ("before", "after", "residual")


class Gone(Exception):  # noqa: N818 (nobody waits for the answer any more)
    """Whoever asked for a tile looks at something else by now."""


@dataclass(frozen=True)
class Way:
    """How a picture is to be denoised.

    Attributes:
        model: of those that are offered; "" for the one that suits.
        quality: as `noise2noise denoise` takes it.
        strength: as `noise2noise denoise` takes it.
    """

    model: str = ""
    quality: str = "balanced"
    strength: float = 1.0

    def settings(self) -> Settings:
        """As `noise2noise denoise` makes them of its options."""
        return Settings(strength=self.strength, turns=self.quality == "best")


@dataclass(frozen=True)
class Ask:
    """Which tile is asked for.

    Attributes:
        kind: what of the picture.
        level: how often it is halved.
        x, y: the tile's column and row, counted in tiles.
        plane: of the stack.
        sample: of those that are shown one by one.
        way: how it is denoised.
    """

    kind: Kind
    level: int
    x: int
    y: int
    plane: int = 0
    sample: int = 0
    way: Way = Way()


class Desk:
    """The files that are open, of all pages: the last used ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: list[Picture] = []
        self._lock = threading.Lock()

    def used(self, picture: Picture) -> None:
        """Put a picture on top, and let go of those at the bottom that nobody reads just now."""
        with self._lock:
            self._open = [*(each for each in self._open if each is not picture), picture]
            for each in self._open[: -self._most]:
                if each.let_go(wait=False):
                    self._open.remove(each)

    def removed(self, picture: Picture) -> None:
        """Forget a picture."""
        with self._lock:
            self._open = [each for each in self._open if each is not picture]


@dataclass(frozen=True)
class Room:
    """What pictures share.

    Attributes:
        limits: that they keep to.
        models: that there are.
        turns: of those who compute.
        cache: of tiles.
        desk: of open files.
    """

    limits: Limits
    models: Models
    turns: Turns
    cache: Cache
    desk: Desk

    @classmethod
    def of(cls, limits: Limits, models: Models) -> Room:
        """An empty one."""
        return cls(limits, models, Turns(), Cache(limits.cached_bytes), Desk(limits.open_files))


class Picture:
    """A file on a page. It may be used in several threads, which take turns.

    Arguments:
        path: where the file lies.
        room: what is shared with others.

    Raises:
        UserError: it can't be read.
        RefusedError: it is too large.
    """

    def __init__(self, path: Path, room: Room) -> None:
        self.path, self._room = path, room
        self._lock = threading.RLock()
        self._stack: Stack | None = None
        self._runs: dict[tuple[str, bool, int], StackRun] = {}
        self._ranges: dict[tuple[int, int], Range] = {}
        self._chosen: dict[bool, tuple[str, str]] = {}
        self._measured: dict[tuple[Scale, int], Guidance] = {}
        try:
            with self._opened() as stack:
                self.header = stack.header
                self._turned = Turned(
                    stack.header.height, stack.header.width, orientation_of(stack.header.metadata)
                )
                self._seen = survey(stack)
        except BaseException:
            self.close()
            raise

    # -- what it is -------------------------------------------------------------------------------

    @property
    def levels(self) -> int:
        """How many there are: at the last one tile holds all."""
        return 1 + max(0, math.ceil(math.log2(max(self._turned.shape) / TILE)))

    @property
    def samples(self) -> int:
        """How many of a pixel's samples are shown one by one; 1 where they make a colour."""
        return 1 if self.header.colour == "rgb" else self.header.colours

    def facts(self) -> dict[str, Any]:
        """For the page, as JSON."""
        header = self.header
        height, width = self._turned.shape
        before = header.axes[: header.axes.index("Y")]
        return {
            "name": self.path.name,
            "bytes": self.path.stat().st_size,
            "width": width,
            "height": height,
            "axes": [[axis, size] for axis, size in zip(before, header.shape, strict=False)],
            "samples": self.samples,
            "dtype": str(header.dtype),
            "colour": header.colour,
            "notes": list(header.notes),
            "levels": self.levels,
            "tile": TILE,
        }

    def noise(self, plane: int) -> dict[str, Any]:
        """What `noise2noise inspect` says of a plane, and which model suits.

        Raises:
            RefusedError: there is no such plane.
        """
        self._check_plane(plane)
        with self._opened() as stack:
            parts = PlaneView(stack, Scale(0, 1), plane).parts()
        profile, points = measure(parts)
        levels = [float(each.level.max()) for each in points if len(each.level)]
        brightest = max(levels, default=profile.black)
        model, why = self.model_for(Way())
        return {
            "kind": kind_of(profile, brightest),
            "shared": is_shared(profile),
            "impulses": profile.impulses if has_impulses(profile) else 0,
            "deviation": profile.pixel,
            "confidence": profile.confidence,
            "sentence": describe(profile, brightest),
            "model": model,
            "why": why,
        }

    def model_for(self, way: Way) -> tuple[str, str]:
        """The model's name, and why it was chosen; "" where it was named."""
        if way.model:
            return way.model, ""
        with self._opened() as stack:
            told = way.settings().tells
            if told not in self._chosen:
                self._chosen[told] = Choice(None, told=told).choose(stack)
            usual, why = self._chosen[told]
        return Choice(None, way.quality).in_place_of(usual), why

    # -- what is shown ----------------------------------------------------------------------------

    def tile(self, ask: Ask, gone: Callable[[], bool] = lambda: False) -> bytes:
        """A tile as a PNG.

        Arguments:
            ask: which.
            gone: whether nobody waits for it any more; looked at before each piece of work.

        Raises:
            UserError: the file is damaged there, or the model can't be used so.
            RefusedError: there is no such tile.
            Gone: nobody waits for it.
        """
        self._check(ask)
        if ask.kind == "before":
            return png(shown(self._before(ask)))
        after = self._after(ask, gone)
        if ask.kind == "after":
            return png(shown(after))
        return png(residual(self._before(ask), after))

    def is_at_hand(self, ask: Ask) -> bool:
        """Whether a tile can be had without computing."""
        if ask.kind == "before" or ask.way.strength == 0:
            return True
        key = self._key(ask, ask.x, ask.y)
        return ask.level == 0 and self._room.cache.get(key) is not None

    def _check(self, ask: Ask) -> None:
        self._check_plane(ask.plane)
        height, width = self._turned.shape
        side = TILE << min(max(ask.level, 0), 30)
        fits = 0 <= ask.level < self.levels and 0 <= ask.sample < self.samples
        if not (fits and 0 <= ask.x * side < width and 0 <= ask.y * side < height):
            raise RefusedError(404, "there is no such part of the picture")

    def _check_plane(self, plane: int) -> None:
        if not 0 <= plane < self.header.planes:
            raise RefusedError(404, f"there are {self.header.planes} planes, and no {plane}")

    def _before(self, ask: Ask) -> np.ndarray:
        """A tile as it was, (h, w, C) on the screen's scale."""
        rows, columns = self._window(ask.x, ask.y, TILE << ask.level)
        step, factor = max(TILE, 1 << ask.level), 1 << ask.level
        parts = []
        with self._opened() as stack:
            shades = self._range(stack, ask)
            for top in range(rows.start, rows.stop, step):
                band = slice(top, min(top + step, rows.stop))
                pixels = self._turned.seen(
                    stack.read(ask.plane, *self._turned.stored(band, columns))
                )
                parts.append(shades.unit(smaller(self._chosen_samples(pixels, ask), factor)))
        return np.concatenate(parts)

    def _after(self, ask: Ask, gone: Callable[[], bool]) -> np.ndarray:
        """As `_before`, denoised."""
        if ask.way.strength == 0:
            return self._before(ask)
        count, factor = 1 << ask.level, 1 << ask.level
        height, width = self._turned.shape
        lines = []
        for y in range(ask.y * count, min((ask.y + 1) * count, -(-height // TILE))):
            parts = []
            for x in range(ask.x * count, min((ask.x + 1) * count, -(-width // TILE))):
                piece = self._piece(ask, x, y, gone)
                parts.append(smaller(self._chosen_samples(piece, ask), factor))
            lines.append(np.concatenate(parts, axis=1))
        with self._opened() as stack:
            return self._range(stack, ask).unit(np.concatenate(lines))

    def _piece(self, ask: Ask, x: int, y: int, gone: Callable[[], bool]) -> np.ndarray:
        """A tile of level 0, denoised, (h, w, samples) as stored."""
        key = self._key(ask, x, y)
        found = self._room.cache.get(key)
        if found is not None:
            return found
        if gone():
            raise Gone
        with self._opened() as stack:
            run = self._run(stack, ask)
            rows, columns = self._turned.stored(*self._window(x, y, TILE))
            piece = self._turned.seen(run.window(ask.plane, rows, columns, NEAR))
        self._room.cache.put(key, piece)
        return piece

    def _key(self, ask: Ask, x: int, y: int) -> tuple[Any, ...]:
        model = self._room.models.load(self.model_for(ask.way)[0])
        way = (id(model), ask.way.quality == "best", ask.way.strength)
        return (id(self), *way, ask.plane, x, y)

    def _run(self, stack: Stack, ask: Ask) -> StackRun:
        """What denoises a plane's channel; its noise is measured once, whatever the model."""
        way, channels = ask.way, ChannelPlanes.of(self.header)
        channel = channels.channel(ask.plane)
        name, _ = self.model_for(way)
        model, turns = self._room.models.load(name), way.quality == "best"
        model.check(way.settings())
        key = f"{name} {id(model)}", turns, channel
        if key not in self._runs:
            asked, turn = Settings(turns=turns), self._room.turns.first
            scale, settings, _ = looked_up(model.network, self.header, self._seen, asked)
            prepared = Preparation(model.network.needs, stack, scale, self._seen)
            told = guide_of(model.network, prepared, settings, channel, self._measure)
            guides = tuple(told if each == channel else None for each in range(channels.channels))
            known = Known(self._seen, scale, guides)
            self._runs[key] = model.run(stack, settings, turn=turn, known=known)
        return self._runs[key].at(way.strength)

    def _measure(self, prepared: Preparation, channel: int, noise: NoiseProfile | None) -> Guidance:
        """As `measured`, once for all models that see the picture as it is on the same scale."""
        if noise is not None or not prepared.idle:
            return measured(prepared, channel, noise)
        key = prepared.scale, channel
        if key not in self._measured:
            self._measured[key] = measured(prepared, channel, None)
        return self._measured[key]

    def _window(self, x: int, y: int, side: int) -> tuple[slice, slice]:
        height, width = self._turned.shape
        rows = slice(y * side, min((y + 1) * side, height))
        return rows, slice(x * side, min((x + 1) * side, width))

    def _chosen_samples(self, pixels: np.ndarray, ask: Ask) -> np.ndarray:
        if self.header.colour == "rgb":
            return pixels[..., :3]
        return pixels[..., ask.sample : ask.sample + 1]

    def _range(self, stack: Stack, ask: Ask) -> Range:
        """What is black and white on the screen: the same for all planes of a channel."""
        channels = ChannelPlanes.of(self.header)
        key = channels.channel(ask.plane), ask.sample
        if key not in self._ranges:
            tops = np.linspace(0, max(0, self.header.height - _ROWS), _BANDS).astype(int)
            bands = [
                self._chosen_samples(stack.read(plane, slice(top, top + _ROWS)), ask)
                for plane in channels.some(key[0], _PLANES)
                for top in sorted({int(top) for top in tops})
            ]
            self._ranges[key] = Range.of(self.header, bands)
        return self._ranges[key]

    # -- the file ---------------------------------------------------------------------------------

    @contextmanager
    def _opened(self) -> Iterator[Stack]:
        with self._lock:
            if self._stack is None:
                stack = open_stack(self.path)
                if stack.header.plane_bytes > self._room.limits.plane_bytes:
                    stack.close()
                    size, most = stack.header.plane_bytes, self._room.limits.plane_bytes
                    raise RefusedError(
                        413,
                        f"{self.path.name} has planes of {in_words(size)}, and the page takes "
                        f"{in_words(most)}; use: noise2noise denoise",
                    )
                self._stack = stack
            self._room.desk.used(self)
            yield self._stack

    def let_go(self, wait: bool = True) -> bool:
        """Close the file until it is needed again. Returns whether it is closed."""
        if not self._lock.acquire(blocking=wait):
            return False
        try:
            self._runs.clear()
            stack, self._stack = self._stack, None
            if stack is not None:
                stack.close()
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """Let go of the file for good."""
        self._room.desk.removed(self)
        self.let_go()

"""A file on a page: what it is, in words, and what the page shows of it, in tiles.

A tile is a square of the picture as it is seen, at a level of which each halves the one before.
Only tiles that are asked for are computed, neighbours of them together; at levels above 0 they are
made of those of level 0.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from noise2noise.batch import Models as Choice
from noise2noise.denoiser import Denoiser
from noise2noise.files import Scale, Stack, survey
from noise2noise.guidance import ChannelPlanes, Guidance, PlaneView
from noise2noise.inference import Settings, StackRun
from noise2noise.inference.known import Known, guide_of, looked_up, measured
from noise2noise.inference.preparation import Preparation
from noise2noise.noise import NoiseProfile
from noise2noise.noise.estimate import measure
from noise2noise.noise.words import describe, has_impulses, is_shared, kind_of
from noise2noise.single import Fitted, Options, fit
from noise2noise.web.computing import Door
from noise2noise.web.display import (
    TILE,
    Range,
    Turned,
    levels_of,
    orientation_of,
    png,
    residual,
    shown,
    smaller,
)
from noise2noise.web.limits import RefusedError, in_words, size_of
from noise2noise.web.room import Room, SharedStack
from noise2noise.web.ways import Ask, Gone, Way

NEAR = 48
"""Pixels around tiles that the network sees. Further ones reach them too, but change what is seen
by less than a step of 8 bits; what is saved is computed with all."""

BLOCK = 6
"""So many tiles in a row, and rows of them, are computed at once at most: with what is around them
they are as large as takes least time for a pixel (`inference.TILE`)."""

_NUMBERS = itertools.count()
_BANDS, _ROWS, _PLANES = 16, 64, 3  # of a picture, to learn what is black and white on the screen


class Picture:
    """A file on a page. It may be used in several threads; while one computes, others read.

    Arguments:
        path: where the file lies.
        room: what is shared with others.

    Raises:
        UserError: it can't be read.
        RefusedError: it is too large.
    """

    def __init__(self, path: Path, room: Room) -> None:
        self.path, self._room = path, room
        self._number = next(_NUMBERS)  # what is kept of a picture is no other's, ever
        self._state = threading.Condition()  # of the open file
        self._learning = threading.RLock()  # held while something is learned that is kept
        self._stack: Stack | None = None
        self._readers = 0
        self._runs: dict[tuple[Any, ...], StackRun] = {}
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
        """How many there are."""
        return levels_of(*self._turned.shape)

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
            "bytes": size_of(self.path),
            "width": width,
            "height": height,
            "axes": [[axis, size] for axis, size in zip(before, header.shape, strict=False)],
            "samples": self.samples,
            "dtype": str(header.dtype),
            "colour": header.colour,
            "notes": list(header.notes),
            "levels": self.levels,
            "tile": TILE,
            "around": NEAR,
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
        told = way.tells
        with self._learning:
            if told not in self._chosen:
                with self._opened() as stack:
                    self._chosen[told] = Choice(None, told=told).choose(stack)
            usual, why = self._chosen[told]
        return Choice(None, way.quality).in_place_of(usual), why

    # -- what is shown ----------------------------------------------------------------------------

    def tile(
        self, ask: Ask, gone: Callable[[], bool] = lambda: False, ahead: bool = False
    ) -> bytes:
        """Tiles side by side as a PNG.

        Arguments:
            ask: which.
            gone: whether nobody waits for them any more; looked at before each piece of work.
            ahead: whether nobody waits for them yet: what others want is computed before.

        Raises:
            UserError: the file is damaged there, or the model can't be used so.
            RefusedError: there is no such tile.
            Gone: nobody waits for them.
        """
        self._check(ask)
        if ask.kind == "before":
            return png(shown(self._before(ask)))
        after = self._after(ask, gone, ahead)
        if ask.kind == "after":
            return png(shown(after))
        return png(residual(self._before(ask), after))

    def is_at_hand(self, ask: Ask) -> bool:
        """Whether tiles can be had without computing."""
        if ask.kind == "before" or ask.way.strength == 0:
            return True
        self._check(ask)
        key = self._key(ask)
        across, down = self._extent(ask)
        return all(self._room.cache.has((*key, x, y)) for y in down for x in across)

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
        """Tiles as they were, (h, w, C) on the screen's scale."""
        factor = 1 << ask.level
        across, down = self._extent(ask)
        rows, columns = self._window(across, down)
        parts = []
        with self._opened() as stack:
            shades = self._range(stack, ask)
            for top in range(rows.start, rows.stop, TILE):
                band = slice(top, min(top + TILE, rows.stop))
                pixels = self._turned.seen(
                    stack.read(ask.plane, *self._turned.stored(band, columns))
                )
                parts.append(shades.unit(smaller(self._chosen_samples(pixels, ask), factor)))
        return np.concatenate(parts)

    def _after(self, ask: Ask, gone: Callable[[], bool], ahead: bool) -> np.ndarray:
        """As `_before`, denoised."""
        if ask.way.strength == 0:
            return self._before(ask)
        factor, lines = 1 << ask.level, []
        across, down = self._extent(ask)
        for rows in _parts(down):
            parts = []
            for columns in _parts(across):
                block = self._block(ask, columns, rows, gone, ahead)
                parts.append(smaller(self._chosen_samples(block, ask), factor))
            lines.append(np.concatenate(parts, axis=1))
        with self._opened() as stack:
            return self._range(stack, ask).unit(np.concatenate(lines))

    def _block(
        self, ask: Ask, columns: range, rows: range, gone: Callable[[], bool], ahead: bool
    ) -> np.ndarray:
        """Tiles of level 0, denoised, (h, w, samples) as stored. Those that aren't kept are
        computed together, with what lies between them."""
        key, cache = self._key(ask), self._room.cache
        kept = {(x, y): cache.get((*key, x, y)) for y in rows for x in columns}
        missing = [place for place, tile in kept.items() if tile is None]
        if missing:
            if gone():
                raise Gone
            (xs, ys) = (sorted({place[axis] for place in missing}) for axis in (0, 1))
            across, down = range(xs[0], xs[-1] + 1), range(ys[0], ys[-1] + 1)
            made = self._computed(ask, self._window(across, down), gone, ahead)
            for x in across:
                for y in down:
                    top, left = (y - down.start) * TILE, (x - across.start) * TILE
                    # A copy, or each tile would keep all of its block in memory.
                    kept[x, y] = tile = made[top : top + TILE, left : left + TILE].copy()
                    cache.put((*key, x, y), tile)
        lines = [[cast("np.ndarray", kept[x, y]) for x in columns] for y in rows]
        return np.concatenate([np.concatenate(line, axis=1) for line in lines])

    def _computed(
        self, ask: Ask, window: tuple[slice, slice], gone: Callable[[], bool], ahead: bool
    ) -> np.ndarray:
        """A window of the picture as it is seen, denoised."""
        turns = self._room.turns
        with self._opened() as stack:
            run = self._run(stack, ask).at(
                ask.way.strength, (turns.last if ahead else turns.first).unless(gone)
            )
            return self._turned.seen(run.window(ask.plane, *self._turned.stored(*window), NEAR))

    def _extent(self, ask: Ask) -> tuple[range, range]:
        """Columns and rows of the tiles of level 0 that tiles are made of."""
        height, width = self._turned.shape
        count = 1 << ask.level
        across, down = (
            range(first * count, min((first + number) * count, -(-size // TILE)))
            for first, number, size in ((ask.x, ask.columns, width), (ask.y, ask.rows, height))
        )
        return across, down

    def _window(self, across: range, down: range) -> tuple[slice, slice]:
        height, width = self._turned.shape
        rows = slice(down.start * TILE, min(down.stop * TILE, height))
        return rows, slice(across.start * TILE, min(across.stop * TILE, width))

    def _key(self, ask: Ask) -> tuple[Any, ...]:
        """Under what a tile is kept, but for its column and row."""
        way = (ask.way.quality == "best", ask.way.strength, ask.way.noise)
        return (self._number, self._denoiser(ask.way), *way, ask.plane)

    # -- what denoises ----------------------------------------------------------------------------

    def fitted(self, way: Way) -> Fitted | None:
        """What a model came to that was fitted to this picture."""
        return self._room.fits.get(self._fit_key(way))

    def fit(self, way: Way, progress: Callable[[float], None], turn: Door) -> Fitted:
        """Fit a model to this picture, unless it is fitted already.

        Arguments:
            way: which model, and which noise.
            progress: told how far it is, from 0 to 1; what it raises ends the fit.
            turn: held by who calls; others are let by in between.

        Raises:
            UserError: the file is damaged, or the model can't be used so.
        """

        def stepped(share: float) -> None:
            progress(share)
            turn.let_by()

        found = self.fitted(way)
        if found is None:
            model = self._model(way)
            settings = Settings(noise=way.noise)
            model.check(settings)
            with self._opened() as stack:
                found = fit(model, [stack], settings, Options(), stepped)
            self._room.fits.put(self._fit_key(way), found)
        return found

    def _fit_key(self, way: Way) -> tuple[Any, ...]:
        return self._number, self._model(way), way.noise

    def _model(self, way: Way) -> Denoiser:
        return self._room.models.load(self.model_for(way)[0])

    def _denoiser(self, way: Way) -> Denoiser:
        """The model, fitted if that is asked for.

        Raises:
            RefusedError: it isn't fitted yet.
        """
        if not way.single:
            return self._model(way)
        fitted = self.fitted(way)
        if fitted is None:
            raise RefusedError(409, "the model isn't fitted to this picture any more; fit it again")
        return fitted.denoiser

    def _run(self, stack: Stack, ask: Ask) -> StackRun:
        """What denoises a plane's channel; its noise is measured once, whatever the model."""
        way, channels = ask.way, ChannelPlanes.of(self.header)
        channel = channels.channel(ask.plane)
        model, turns = self._denoiser(way), way.quality == "best"
        model.check(way.settings())
        key = model, turns, way.noise, channel
        with self._learning:
            if key not in self._runs:
                asked = Settings(turns=turns, noise=way.noise)
                scale, settings, _ = looked_up(model.network, self.header, self._seen, asked)
                prepared = Preparation(model.network.needs, stack, scale, self._seen)
                told = guide_of(model.network, prepared, settings, channel, self._measure)
                guides = tuple(
                    told if each == channel else None for each in range(channels.channels)
                )
                known = Known(self._seen, scale, guides)
                self._runs[key] = model.run(stack, settings, known=known)
            return self._runs[key]

    def _measure(self, prepared: Preparation, channel: int, noise: NoiseProfile | None) -> Guidance:
        """As `measured`, once for all models that see the picture as it is on the same scale."""
        if noise is not None or not prepared.idle:
            return measured(prepared, channel, noise)
        key = prepared.scale, channel
        if key not in self._measured:
            self._measured[key] = measured(prepared, channel, None)
        return self._measured[key]

    def _chosen_samples(self, pixels: np.ndarray, ask: Ask) -> np.ndarray:
        if self.header.colour == "rgb":
            return pixels[..., :3]
        return pixels[..., ask.sample : ask.sample + 1]

    def _range(self, stack: Stack, ask: Ask) -> Range:
        """What is black and white on the screen: the same for all planes of a channel."""
        channels = ChannelPlanes.of(self.header)
        key = channels.channel(ask.plane), ask.sample
        with self._learning:
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
        with self._state:
            if self._stack is None:
                self._stack = self._open()
            stack, self._readers = self._stack, self._readers + 1
        self._room.desk.used(self)
        try:
            yield stack
        finally:
            with self._state:
                self._readers -= 1
                self._state.notify_all()

    def _open(self) -> Stack:
        stack = SharedStack(self.path)
        size, most = stack.header.plane_bytes, self._room.limits.plane_bytes
        if size <= most:
            return stack
        stack.close()
        raise RefusedError(
            413,
            f"{self.path.name} has planes of {in_words(size)}, and the page takes "
            f"{in_words(most)}; use: noise2noise denoise",
            "plane_large",
            name=self.path.name,
            size=in_words(size),
            most=in_words(most),
        )

    def let_go(self) -> bool:
        """Close the file until it is needed again, unless somebody reads it just now. Returns
        whether it is closed."""
        if not self._state.acquire(blocking=False):
            return False
        try:
            if self._readers:
                return False
            self._put_away()
            return True
        finally:
            self._state.release()

    def close(self) -> None:
        """Let go of the file for good, once nobody reads it."""
        self._room.desk.removed(self)
        with self._state:
            self._state.wait_for(lambda: self._readers == 0)
            self._put_away()

    def _put_away(self) -> None:
        self._runs.clear()
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()


def _parts(tiles: range) -> Iterator[range]:
    """A range in parts of much the same length, at most `BLOCK` each."""
    count = max(1, -(-len(tiles) // BLOCK))
    edges = [tiles.start + len(tiles) * number // count for number in range(count + 1)]
    return (range(*pair) for pair in itertools.pairwise(edges))

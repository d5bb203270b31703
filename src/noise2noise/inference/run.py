"""A stack on its way through a network: bands of rows come out as they are asked for.

All that happens to a pixel happens while its tile is in the cache, from the 8 bits of the image to
those of the result: beside these two no array is as large as the image.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from noise2noise.errors import naming
from noise2noise.files import STREAMED, Held, Scale, Stack, Survey, survey
from noise2noise.guidance import ChannelPlanes, Guidance, PlaneView
from noise2noise.inference.budget import tile_side
from noise2noise.inference.known import Known, guide_of, looked_up
from noise2noise.inference.network import SMALLEST, Network
from noise2noise.inference.preparation import Preparation, Ready
from noise2noise.inference.settings import Settings
from noise2noise.noise import remove_impulses
from noise2noise.suiting import is_grey
from noise2noise.tiling import Tile, extended, filled, tile_around, tiles

if TYPE_CHECKING:
    from noise2noise.data import Track

_NOTHING = Survey(0, 0, 0, 0)
_LITTLE = 1 / 255  # noise, of which nothing is seen beside salt and pepper


class StackRun:
    """One stack and one network.

    Arguments:
        network: what removes the noise.
        stack: the images. All are read once, now, unless `scale` is given.
        settings: what is asked for.
        track: shows the progress over the tiles.
        turn: held while the network computes. Runs in several threads that share a lock take turns,
            each with all cores, while the others read and write.
        scale: between the images' values and the network's; by default what the values say.
        known: what was learned of the whole of which `stack` is a part; nothing is looked at then.
        core: the rows and columns that are wanted; the others are there to be looked at.
        writing: what the format takes that the result is written in; it counts as memory, too.

    Attributes:
        seen: what values there are.
        scale: between the images' values and the network's.
        knows_noise: whether the noise is told as it was in what the network learned from.
        impulses: how many there were in what was handed out so far; each channel's counts.

    Raises:
        UserError: the file is damaged, or the memory is not enough.
    """

    def __init__(
        self,
        network: Network,
        stack: Stack,
        settings: Settings,
        track: Track | None = None,
        turn: AbstractContextManager[Any] | None = None,
        writing: Held = STREAMED,
        scale: Scale | None = None,
        known: Known | None = None,
        core: tuple[slice, slice] | None = None,
    ) -> None:
        self._network, self._stack = network, stack
        self._settings, self._track, self._turn = settings, track, turn or nullcontext()
        self._known = known
        height, width = stack.header.height, stack.header.width
        self._core = core or (slice(0, height), slice(0, width))
        self._side = self._tile_side(writing)
        self.impulses, self.knows_noise = 0, False
        if known is not None:
            self.seen, self.scale = known.seen, known.scale
        elif scale is not None:
            self.seen = survey(stack) if network.needs.salt else _NOTHING
            self.scale = scale
        else:
            self.seen = survey(stack)
            self.scale, self._settings, self.knows_noise = looked_up(
                network, stack.header, self.seen, settings
            )
        self._prepared = Preparation(network.needs, stack, self.scale, self.seen)
        self._guide = self.guides()
        # A network that isn't told the noise would find some in an image of one value.
        self._flat = self.seen is not _NOTHING and self.seen.low == self.seen.high

    def at(self, strength: float, turn: AbstractContextManager[Any] | None = None) -> StackRun:
        """The same run at another strength, other than 0, and with turns of its own where they are
        given; what was measured of the noise is not measured again."""
        other = copy.copy(self)
        other._settings = replace(self._settings, strength=strength)
        other._turn = turn or self._turn
        return other

    def bands(self) -> Iterator[np.ndarray]:
        """Rows, (h, W, samples), from top to bottom, plane after plane. Beside what is in `stack`,
        no more is read than the next band needs."""
        header, network, side = self._stack.header, self._network, self._side
        height, width = (size + network.missing(size) for size in (header.height, header.width))
        across = list(tiles(width, side, network.overlap, network.multiple))
        down = list(tiles(height, side, network.overlap, network.multiple))
        cells = (
            (plane, rows, columns)
            for plane in range(header.planes)
            for rows in down
            for columns in across
        )
        count = header.planes * len(down) * len(across)
        noisy = clean = np.empty(0)
        tracked = self._track(cells, "Denoising", count) if self._track else cells
        for plane, rows, columns in tracked:
            if columns is across[0]:
                stop = min(rows.whole.stop, header.height)
                noisy = self._stack.read(plane, slice(rows.whole.start, stop))
                clean = noisy[rows.inner].copy()  # with its transparency
            part = noisy[:, columns.whole, : header.colours]
            place = clean[:, columns.core, : header.colours]
            with naming(self._stack.name):
                result = self._tile(part, plane, rows, columns, self._guide(plane))
            place[...] = result[: place.shape[0], : place.shape[1]]
            wanted, inside = _meeting(rows.core, self._core[0]), self._core[1]
            if columns is across[-1] and wanted.start < wanted.stop:
                yield clean[wanted, inside]

    def window(
        self, plane: int, rows: slice, columns: slice, overlap: int | None = None
    ) -> np.ndarray:
        """A part of a plane alone, (h, w, samples), for whoever looks at no more than that.

        Arguments:
            plane: counted as the stack does.
            rows, columns: of the part; they lie in the plane.
            overlap: how many pixels around the part the network sees at least. By default all that
                reach it, and the result is what `bands` has there, but for rounding of floats.
        """
        header, network = self._stack.header, self._network
        asked = network.overlap if overlap is None else min(overlap, network.overlap)
        around = max(asked, SMALLEST, network.multiple)
        down, across = (
            tile_around(size + network.missing(size), core, around, network.multiple)
            for size, core in ((header.height, rows), (header.width, columns))
        )
        noisy = self._stack.read(
            plane,
            slice(down.whole.start, min(down.whole.stop, header.height)),
            slice(across.whole.start, min(across.whole.stop, header.width)),
        )
        clean = noisy[down.inner, across.inner].copy()  # with its transparency
        with naming(self._stack.name):
            part = noisy[..., : header.colours]
            clean[..., : header.colours] = self._tile(part, plane, down, across, self._guide(plane))
        return clean

    def view(self, plane: int) -> PlaneView:
        """A plane as the network is to see it, but for impulses."""
        return self._prepared.view(plane)

    def _tile_side(self, writing: Held) -> int:
        network, stack, tile = self._network, self._stack, self._settings.tile
        if tile is not None:
            return tile // network.multiple * network.multiple
        with naming(stack.name):
            return tile_side(network, stack.header, self._settings.memory, stack.held, writing)

    def guides(self) -> Callable[[int], Guidance | None]:
        """What the network is told about each plane: the same for all planes of a channel."""
        channels = ChannelPlanes.of(self._stack.header)
        if self._known is not None:
            known = self._known.guides
            return lambda plane: known[channels.channel(plane)]

        @functools.cache
        def of(channel: int) -> Guidance | None:
            return guide_of(self._network, self._prepared, self._settings, channel)

        return lambda plane: of(channels.channel(plane))

    def _tile(
        self, part: np.ndarray, plane: int, rows: Tile, columns: Tile, guidance: Guidance | None
    ) -> np.ndarray:
        """What a tile decides, (h, w, C) as stored, from its part of the image, the same."""
        header, strength = self._stack.header, self._settings.strength
        inner = part[rows.inner, columns.inner]
        silent = guidance is not None and guidance.silent
        if strength == 0 or self._flat or (silent and self._prepared.idle):
            return inner
        unit = self.scale.to_unit(part.transpose(2, 0, 1))
        bad = ~np.isfinite(unit) if header.dtype.kind == "f" else np.zeros(1, bool)
        if bad.any():
            unit = filled(unit, bad)
        ready = Ready(unit)
        if not self._prepared.idle:
            ready = self._prepared(unit, plane, *_place(unit, rows, columns))
            unit = ready.image
        if guidance and self._settings.impulses:
            unit, found = remove_impulses(unit, guidance.noise)
            decided = found[:, rows.inner, columns.inner]
            within = (_meeting(rows.core, self._core[0]), _meeting(columns.core, self._core[1]))
            self.impulses += int(decided[:, within[0], within[1]].sum())
        missing = rows.length - unit.shape[1], columns.length - unit.shape[2]
        whole = extended(unit, *missing)
        unsure = None if ready.spread is None else extended(ready.spread, *missing)
        way = _Way(self._network, self._settings.turns, strength, guidance, self._turn, unsure)
        one_scene = header.colour == "rgb" or header.colours == self._network.channels
        result = whole if silent else way.clean(whole) if one_scene else way.each(whole)
        if ready.places is not None:
            self.impulses += int(ready.places[:, rows.inner, columns.inner].sum())
            if guidance and guidance.noise.pixel < _LITTLE:  # all the rest is as good as it gets
                places = extended(ready.places, *missing)
                result = np.where(places, result, whole)
        result = result[:, rows.inner, columns.inner]
        before = unit[:, rows.inner, columns.inner]
        result = result[:, : before.shape[1], : before.shape[2]]
        if strength != 1 and guidance is None:
            result = before + np.float32(strength) * (result - before)
        stored = self.scale.from_unit(result, header.dtype).transpose(1, 2, 0)
        if not bad.any():
            return stored
        kept = bad[:, rows.inner, columns.inner].transpose(1, 2, 0)
        return np.where(kept, inner, stored)


def _meeting(tile: slice, core: slice) -> slice:
    """Where a core lies in a part of the image that a tile decides, from the part's beginning."""
    start, stop = max(core.start, tile.start), min(core.stop, tile.stop)
    return slice(start - tile.start, max(start, stop) - tile.start)


def _place(part: np.ndarray, rows: Tile, columns: Tile) -> tuple[slice, slice]:
    """Where in its plane a part is that a tile begins with; the rest of it is beyond the edge."""
    top, left = rows.whole.start, columns.whole.start
    return slice(top, top + part.shape[1]), slice(left, left + part.shape[2])


@dataclass(frozen=True)
class _Way:
    """How channels go through the network, whatever their number.

    Attributes:
        network: what removes the noise.
        turns: whether the mean over the eight flips and turns is taken.
        strength: how much of the noise is removed.
        guidance: what the network is told; None where it is told nothing.
        turn: held while the network computes.
        unsure: the least noise that is told of each value, (C, h, w); None for none.
    """

    network: Network
    turns: bool
    strength: float
    guidance: Guidance | None
    turn: AbstractContextManager[Any]
    unsure: np.ndarray | None = None

    def clean(self, noisy: np.ndarray) -> np.ndarray:
        """The result for a tile of one scene, (C, H, W) of any number of channels."""
        if len(noisy) == self.network.channels:
            return self._infer(noisy)
        if len(noisy) > 1 and is_grey(noisy):
            return self._channel(0).clean(noisy[:1]).repeat(len(noisy), 0)
        if len(noisy) > 1:
            return self.each(noisy)
        return self._infer(noisy.repeat(self.network.channels, 0)).mean(0, keepdims=True)

    def each(self, noisy: np.ndarray) -> np.ndarray:
        """The result, channel by channel."""
        return np.concatenate([self._channel(i).clean(x[None]) for i, x in enumerate(noisy)])

    def _channel(self, index: int) -> _Way:
        if self.guidance is None:
            return self
        unsure = None if self.unsure is None else self.unsure[index : index + 1]
        return replace(self, guidance=self.guidance.channel(index), unsure=unsure)

    def _infer(self, noisy: np.ndarray) -> np.ndarray:
        if self.guidance is None:
            return self._run(noisy)
        x = self.guidance.input(noisy, self.strength)
        if self.unsure is not None:
            told = x[len(noisy) :]
            np.maximum(told, self.unsure, out=told)
        return self.guidance.result(self._run(x))

    def _run(self, x: np.ndarray) -> np.ndarray:
        return self.network.run(x, self.turns, self.turn)

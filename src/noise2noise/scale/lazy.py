"""A Dask array in, a lazy one out, with the values that it would have in one piece.

Nothing is computed before the result is. Then the values are looked at and the noise is measured,
once, and every chunk is told; a chunk is given what lies around it, as far as the network sees.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noise2noise.batch import Models
from noise2noise.denoiser import Denoiser
from noise2noise.device import AUTO
from noise2noise.errors import UserError
from noise2noise.files import (
    BAND,
    ArrayStack,
    Axes,
    Header,
    Look,
    Stack,
    Survey,
    colour_of,
    look,
    share_of,
    together,
)
from noise2noise.files.guard import MAX_PIXELS
from noise2noise.guidance import ChannelPlanes
from noise2noise.inference import USUAL, Known, Settings, looked_at
from noise2noise.kinds import NOTHING, Said
from noise2noise.kinds.arrays import axes_of
from noise2noise.noise.patches import MOST_CROPS, crops
from noise2noise.scale.cluster import needed
from noise2noise.scale.grid import around
from noise2noise.scale.worker import TURN, digest_of, loaded

if TYPE_CHECKING:
    import dask.array as da

_LEAST = 512  # pixels along Y and X: smaller chunks are joined, since they'd compute much twice


def denoise_dask(
    x: da.Array,
    model: str | Path | None = None,
    settings: Settings = USUAL,
    said: Said = NOTHING,
    quality: str = "balanced",
    device: str = AUTO,
) -> da.Array:
    """Denoise an array that may be larger than memory. Returns at once.

    Arguments:
        x: integers or floats of any range, of shape (..., H, W) or (..., H, W, S) with up to four
            samples S, or with other axes. Chunks may have any size. It is computed twice, since its
            values are looked at before the first is denoised.
        model: as `Denoiser.load` takes it, where every worker finds it; by default the shipped one
            that suits the first plane.
        settings: what is asked for. `memory` limits the tiles, not what Dask takes for chunks.
        said: of the array where it isn't what the shape and the values say.
        quality: of the model that is chosen; `settings.turns` is what "best" adds.
        device: what computes, by its name wherever that is.

    Returns:
        The same shape, dtype and chunks.

    Raises:
        UserError: dask isn't installed, or the array can't be denoised, or not so.
    """
    needed()
    array = _Array.of(x, said)
    if settings.wanted is not None:
        raise UserError("a Dask array keeps its dtype; use .astype on the result")
    choice = Models(None if model is None else str(model), quality, settings.tells)
    rgb = array.header.colour == "rgb"
    names = choice.candidates if rgb or choice.named else [choice.in_place_of("grey")]
    way = _Way(choice, tuple((name, digest_of(name)) for name in names), settings, device)
    for denoiser in way.denoisers:
        denoiser.check(settings)
    return array.back(_denoised(array, way)).rechunk(x.chunks)


@dataclass(frozen=True)
class _Way:
    """How chunks are denoised.

    Attributes:
        choice: what chooses the model.
        models: names and digests of those of which one is chosen.
        settings: what is asked for.
        device: what computes.
    """

    choice: Models
    models: tuple[tuple[str, str], ...]
    settings: Settings
    device: str = AUTO

    @property
    def denoisers(self) -> list[Denoiser]:
        return [loaded(*model, self.device) for model in self.models]

    def chosen(self, first: Stack | None) -> int:
        """Which model suits a stack, of which the first plane is looked at."""
        if len(self.models) == 1 or first is None:
            return 0
        names = [name for name, _ in self.models]
        return names.index(self.choice.choose(first)[0])


@dataclass(frozen=True)
class _Array:
    """A Dask array whose axes lie as a header has them: (..., Y, X[, S])."""

    x: da.Array
    axes: Axes
    header: Header

    @classmethod
    def of(cls, x: da.Array, said: Said) -> _Array:
        shape: tuple[int, ...] = tuple(x.shape)  # pyright: ignore[reportAssignmentType]
        if not all(size == size for size in shape):
            raise UserError(
                "the chunks of the array have unknown sizes; call compute_chunk_sizes() before"
            )
        if 0 in shape or x.dtype.kind not in "uif":
            raise UserError(
                f"an array of {x.dtype} and shape {shape} is no image; it must hold integers or "
                "floats"
            )
        axes = axes_of(shape, said)
        header = Header(
            axes.letters, axes.sizes, x.dtype.newbyteorder("="), colour_of(axes), white=said.white
        )
        return cls(x.transpose(axes.order), axes, header)

    def back(self, x: da.Array) -> da.Array:
        """Axes as they lay before."""
        return x.transpose([int(place) for place in np.argsort(self.axes.order)])

    @property
    def y(self) -> int:
        return self.header.axes.index("Y")


def _denoised(array: _Array, way: _Way) -> da.Array:
    import dask.array as da
    from dask.delayed import delayed

    from noise2noise.scale.again import again

    networks = [each.network for each in way.denoisers]
    depth = max(each.overlap + each.multiple - 1 for each in networks)
    joined: Any = _joined(array, max(depth, _LEAST))
    x = array.x.rechunk(joined)
    facts = delayed(_known)(array.header, way, *_looks(array), _windows(array), _first(array, way))
    x = again(x, facts)
    wide = {place: depth * (x.numblocks[place] > 1) for place in (array.y, array.y + 1)}
    padded = da.overlap.overlap(x, wide, boundary="none", allow_rechunk=False)
    return da.map_blocks(
        functools.partial(_chunk, array.header, way, x.chunks, depth),
        padded,
        facts,
        dtype=array.header.dtype,
        chunks=x.chunks,
        meta=np.empty((0,) * x.ndim, array.header.dtype),
    )


def _joined(array: _Array, least: int) -> tuple[tuple[int, ...], ...]:
    """The chunks, of which neighbours along Y and X are joined until they are large enough."""
    chunks = [*array.x.chunks]
    for place in (array.y, array.y + 1):
        sizes: list[int] = []
        for size in chunks[place]:
            if sizes and sizes[-1] < least:
                sizes[-1] += size
            else:
                sizes.append(size)
        if len(sizes) > 1 and sizes[-1] < least:
            sizes[-2:] = [sum(sizes[-2:])]
        chunks[place] = tuple(sizes)
    for place in range(array.y + 2, array.x.ndim):  # a pixel's samples are one
        chunks[place] = (array.x.shape[place],)
    return tuple(chunks)


def _chunk(
    header: Header,
    way: _Way,
    chunks: tuple[tuple[int, ...], ...],
    depth: int,
    padded: np.ndarray,
    facts: tuple[int, Known],
    block_id: tuple[int, ...],
) -> np.ndarray:
    """A chunk of the result, from what lies within `depth` pixels of it."""
    chosen, known = facts
    denoiser = way.denoisers[chosen]
    y = header.axes.index("Y")
    starts = [sum(own[:number]) for own, number in zip(chunks, block_id, strict=True)]
    sizes = [own[number] for own, number in zip(chunks, block_id, strict=True)]
    window, core = [slice(None)] * y, list[slice]()
    for place, length in ((y, header.height), (y + 1, header.width)):
        own = slice(starts[place], starts[place] + sizes[place])
        seen = around(own, length, denoiser.network)
        first = max(0, own.start - depth)  # where what was given begins
        window.append(slice(seen.start - first, seen.stop - first))
        core.append(slice(own.start - seen.start, own.stop - seen.start))
    part = _stack(header, padded[tuple(window)])
    if ChannelPlanes.of(header).channels > 1:
        place = header.axes.index("C")
        known = known.part(slice(starts[place], starts[place] + sizes[place]))
    run = denoiser.run(part, way.settings, turn=TURN, known=known, core=(core[0], core[1]))
    result = np.empty(sizes, header.dtype)
    rows = result.reshape(-1, *sizes[y + 1 : y + 2], part.header.samples)
    top = 0
    for band in run.bands():
        rows[top : top + len(band)] = band
        top += len(band)
    return result


def _stack(header: Header, pixels: np.ndarray) -> Stack:
    """An array, or a part of it with all its axes, as a stack."""
    header = replace(header, shape=pixels.shape)
    native = pixels.astype(header.dtype, copy=False)
    shape = (header.planes, header.height, header.width, header.samples)
    return ArrayStack(header, native.reshape(shape))


# What there is to know before the first chunk.


def _known(
    header: Header,
    way: _Way,
    looks: Sequence[Look],
    seen: Survey | None,
    windows: dict[_Place, np.ndarray],
    first: np.ndarray | None,
) -> tuple[int, Known]:
    """Which model, and what it is told."""
    seen = together(looks) if seen is None else seen
    plane = None if first is None else _stack(replace(header, axes="YXS"), first)
    chosen = way.chosen(plane)
    network = way.denoisers[chosen].network
    return chosen, Known.of(network, _Windows(header, windows), way.settings, seen)


class _Windows(Stack):
    """A stack of which some windows are there."""

    def __init__(self, header: Header, windows: dict[_Place, np.ndarray]) -> None:
        super().__init__(header)
        self._windows = windows

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        return self._windows[_place(plane, rows, columns)]


_Place = tuple[int, int, int, int, int]
"""Plane, first row and the one after the last, and columns the same."""


def _place(plane: int, rows: slice, columns: slice) -> _Place:
    return plane, rows.start, rows.stop, columns.start, columns.stop


def _windows(array: _Array) -> dict[_Place, Any]:
    """Whatever of the array its noise is measured in, as tasks that give (h, w, samples)."""
    from dask.delayed import delayed

    from noise2noise.scale.again import again

    header, found = array.header, dict[_Place, Any]()
    stack = _Windows(header, {})
    for channel in range(ChannelPlanes.of(header).channels):
        planes = looked_at(stack, channel)
        few = crops(header.height, header.width, max(MOST_CROPS // len(planes), 1))
        places = [*crops(header.height, header.width), *few]
        for plane, (rows, columns) in itertools.product(planes, places):
            if _place(plane, rows, columns) in found:
                continue
            numbers = np.unravel_index(plane, header.shape[: array.y]) if array.y else ()
            window = again(array.x[(*map(int, numbers), rows, columns)])
            found[_place(plane, rows, columns)] = delayed(_pixels)(header, window)
    return found


def _pixels(header: Header, window: np.ndarray) -> np.ndarray:
    native = window.astype(header.dtype, copy=False)
    return native if native.ndim == 3 else native[..., None]


def _first(array: _Array, way: _Way) -> Any:
    """The first plane where a model is chosen by it."""
    from noise2noise.scale.again import again

    if len(way.models) == 1:
        return None
    if array.header.height * array.header.width > MAX_PIXELS:
        raise UserError(
            f"planes of {array.header.width} x {array.header.height} pixels are too large to "
            "choose a model by; name it"
        )
    return again(array.x[(0,) * array.y])


def _looks(array: _Array) -> tuple[list[Any], Survey | None]:
    """What is seen of the values, and what of them nothing has to be seen."""
    from dask.delayed import delayed

    from noise2noise.scale.again import again

    header = array.header
    if header.dtype == np.uint8 and header.white is None:
        return [], Survey(0, 255, 255, 0)
    bands = {array.y: BAND, array.y + 1: -1}
    leading = dict.fromkeys(range(array.y), 1)
    rest = dict.fromkeys(range(array.y + 2, array.x.ndim), -1)
    chunks: Any = {**leading, **bands, **rest}
    x = again(array.x).rechunk(chunks)
    share = share_of(header)
    looks: list[Any] = [
        delayed(_look)(header, share, block) for block in x.to_delayed().ravel().tolist()
    ]
    while len(looks) > _TOGETHER:
        looks = [delayed(_merged)(part) for part in _parts(looks)]
    return looks, None


_TOGETHER = 32  # looks that are merged at a time


def _look(header: Header, share: int, band: np.ndarray) -> Look:
    return look(_stack(header, band), share)


def _parts(looks: list[Any]) -> Iterable[list[Any]]:
    return (looks[start : start + _TOGETHER] for start in range(0, len(looks), _TOGETHER))


def _merged(looks: Sequence[Look]) -> Look:
    lows = [value for each in looks for value in each.lows]
    highs = [value for each in looks for value in each.highs]
    samples = np.concatenate([each.samples for each in looks])
    return Look(lows, highs, samples, sum(each.bad for each in looks))

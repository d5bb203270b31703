"""How an image is cut into pieces, and what is looked at around each of them.

A piece is made of whole chunks (or shards) of the result, so that no two workers write to one file.
Along Y and X it takes in so many of them that least is computed twice: what a network looks at
around a piece is that of its neighbours, too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from noise2noise.errors import UserError
from noise2noise.files import Header, Held, Part, Stack
from noise2noise.inference import SMALLEST, Network, needed
from noise2noise.tiling import tiles

LARGEST = 2048
"""Pixels along Y or X that several chunks make up at most: a large piece is long under way."""


@dataclass(frozen=True)
class Grid:
    """An array cut into pieces, numbered with the last axis fastest.

    Attributes:
        shape: of the array.
        step: of a piece; those at the end are smaller.
    """

    shape: tuple[int, ...]
    step: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many there are along each axis."""
        return tuple(-(-size // step) for size, step in zip(self.shape, self.step, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __getitem__(self, number: int) -> tuple[slice, ...]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        place: list[slice] = []
        for count, step, size in zip(
            reversed(self.counts), reversed(self.step), reversed(self.shape), strict=True
        ):
            number, own = divmod(number, count)
            place.append(slice(own * step, min(own * step + step, size)))
        return tuple(reversed(place))

    def __iter__(self) -> Iterator[tuple[slice, ...]]:
        return (self[number] for number in range(len(self)))


def in_words(axes: str, piece: Sequence[slice]) -> str:
    """Where a piece is: `T 3, Y 0 to 1023, X 1024 to 2047`."""
    return ", ".join(
        f"{letter} {each.start}"
        if each.stop == each.start + 1 and letter not in "YX"
        else f"{letter} {each.start} to {each.stop - 1}"
        for letter, each in zip(axes, piece, strict=False)
        if letter != "S"
    )


def around(core: slice, length: int, network: Network) -> slice:
    """What a network has to see along an axis of `length` pixels so that it knows `core`.

    It begins where the network's own grid does, and goes on to the edge where that is near.
    """
    multiple, overlap = network.multiple, network.overlap
    stop = -(-(core.stop + overlap) // multiple) * multiple
    start = max(0, core.start - overlap)
    if stop >= length:  # what is shorter would be extended further than the whole is
        stop, start = length, max(0, min(start, length - SMALLEST))
    return slice(start // multiple * multiple, stop)


def window_of(
    piece: Sequence[slice], header: Header, network: Network
) -> tuple[tuple[slice, ...], tuple[slice, slice]]:
    """The window of a stack that a piece needs, without samples; and its rows and columns in it."""
    y = header.axes.index("Y")
    window = [*piece[: y + 2]]
    core: list[slice] = []
    for place, length in ((y, header.height), (y + 1, header.width)):
        own = piece[place]
        window[place] = seen = around(own, length, network)
        core.append(slice(own.start - seen.start, own.stop - seen.start))
    return tuple(window), (core[0], core[1])


def grid_for(
    network: Network, stack: Stack, header: Header, packed: Sequence[int], memory: int | None
) -> Grid:
    """The pieces in which a result is to be made.

    Arguments:
        network: what makes it.
        stack: what of; columns of it can't be read afterwards.
        header: of the result.
        packed: along its axes, what is written at once.
        memory: bytes that a worker may take; None for as many as are best.

    Raises:
        UserError: they aren't enough for one chunk.
    """
    y = header.axes.index("Y")
    step = [min(own, size) for own, size in zip(packed, header.shape, strict=True)]
    step[y + 2 :] = header.shape[y + 2 :]
    sides = [_sides(step[place], header.shape[place], network) for place in (y, y + 1)]
    pairs = sorted(
        itertools.product(*sides), key=lambda pair: (pair[0].cost * pair[1].cost, pair[0].length)
    )
    least = 0
    for down, across in pairs:
        step[y], step[y + 1] = down.length, across.length
        grid = Grid(header.shape, tuple(step))
        if memory is None:
            return grid
        least = needed_for(grid, network, stack, header)
        if least <= memory:
            return grid
    raise UserError(
        f"{stack.name} has chunks for which a worker needs {-(-least // 10**6)} MB, and "
        f"{memory // 10**6 if memory else 0} MB are allowed; allow more, or save it in smaller "
        "chunks"
    )


@dataclass(frozen=True)
class _Side:
    """How long a piece may be along an axis, and how many pixels are computed for one of it."""

    length: int
    cost: float


def _sides(step: int, length: int, network: Network) -> list[_Side]:
    sides = []
    for count in range(1, max(LARGEST // step, 1) + 1):
        own = min(count * step, length)
        cuts = tiles(
            min(own + 2 * network.overlap, length + network.missing(length)),
            network.best_tile,
            network.overlap,
            network.multiple,
        )
        sides.append(_Side(own, sum(tile.length for tile in cuts) / own))
        if own == length:
            break
    return sides


def needed_for(grid: Grid, network: Network, stack: Stack, header: Header) -> int:
    """How many bytes a worker takes at most for a piece, in the smallest tiles."""
    part, writing = _largest(grid, network, stack, header)
    return needed(network, part.header, network.least_tile, part.held, writing)


def _largest(grid: Grid, network: Network, stack: Stack, header: Header) -> tuple[Part, Held]:
    """What is looked at for a piece in the middle, and what its result takes."""
    middle = tuple(
        slice(count // 2 * step, min(count // 2 * step + step, size))
        if count > 2
        else slice(0, step)
        for count, step, size in zip(grid.counts, grid.step, grid.shape, strict=True)
    )
    window, _ = window_of(middle, stack.header, network)
    return Part(stack, window), written(grid.step, header)


def written(sizes: Sequence[int], header: Header) -> Held:
    """What a piece's result takes: itself and, while it is packed, a copy in the store's order and
    what it is packed into."""
    result = math.prod(sizes) * header.dtype.itemsize
    return Held(result, 3 * result)


def coarse(grid: Grid, places: Sequence[int], least: int) -> Grid:
    """Pieces of several chunks along these axes, of `least` or more together."""
    step = [*grid.step]
    for place in places:
        own = step[place]
        step[place] = min(own * -(-least // own), grid.shape[place])
    return replace(grid, step=tuple(step))

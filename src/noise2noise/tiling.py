"""How a length is cut into overlapping tiles, and how pixels continue beyond an edge."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tile:
    """One tile along one axis.

    Attributes:
        whole: what goes into the network.
        core: what part of the image it decides.
        inner: where that is in it.
    """

    whole: slice
    core: slice
    inner: slice

    @property
    def length(self) -> int:
        return self.whole.stop - self.whole.start


def tiles(length: int, tile: int, overlap: int, multiple: int) -> Iterator[Tile]:
    """Tiles that cover `length` pixels, each of at most `tile`, cores side by side.

    As few as there can be, and all of one size, so that each finds memory where the one before left
    it. All numbers are multiples of `multiple`.
    """
    if length <= tile:
        everything = slice(0, length)
        yield Tile(everything, everything, everything)
        return
    count = -(-(length - 2 * overlap) // (tile - 2 * overlap))
    side = -(-(length + (count - 1) * 2 * overlap) // (count * multiple)) * multiple
    firsts = [place * (side - 2 * overlap) for place in range(count - 1)] + [length - side]
    cuts = [0, *(first + overlap for first in firsts[1:]), length]
    for first, start, stop in zip(firsts, cuts, cuts[1:], strict=False):
        inner = slice(start - first, stop - first)
        yield Tile(slice(first, first + side), slice(start, stop), inner)


def tile_around(length: int, core: slice, overlap: int, multiple: int) -> Tile:
    """The tile that decides `core` alone; its ends, but for those of `core`, are multiples of
    `multiple`, as `length` is."""
    start = max(0, (core.start - overlap) // multiple * multiple)
    stop = min(length, -(-(core.stop + overlap) // multiple) * multiple)
    return Tile(slice(start, stop), core, slice(core.start - start, core.stop - start))


def extended(part: np.ndarray, below: int, right: int) -> np.ndarray:
    """(C, H, W) with rows below and columns at the right, reflected."""
    if below == right == 0:
        return part
    return np.pad(part, ((0, 0), (0, below), (0, right)), mode="reflect")


def filled(part: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """(C, H, W) with a good value of its channel in the place of each bad one: that which lies as
    far behind the nearest good one as the bad one lies before it, so that noise and texture go on
    as they are; in streaks of one value there would be none. Where nothing lies there, the nearest
    itself; 0 where a channel has none."""
    result = np.where(bad, part.dtype.type(0), part)
    for channel, missing in zip(result, bad, strict=True):
        left = missing.copy()
        for _ in range(_MIRRORS):
            if left.all() or not left.any() or not _mirror(channel, left):
                break
        if left.any() and not left.all():
            channel[left] = channel[tuple(_nearest_good(left)[:, left])]
    return result


_MIRRORS = 8  # one behind the other, each about twice as far as the one before


def _mirror(channel: np.ndarray, missing: np.ndarray) -> bool:
    """Fill what has something good behind the nearest good value, and take it from `missing`;
    whether there was any."""
    places = np.array(np.nonzero(missing))
    behind = 2 * _nearest_good(missing)[:, missing] - places
    inside = (behind >= 0) & (behind < np.array(missing.shape)[:, None])
    there: np.ndarray = np.all(inside, axis=0)
    there[there] = ~missing[tuple(behind[:, there])]
    channel[tuple(places[:, there])] = channel[tuple(behind[:, there])]
    missing[tuple(places[:, there])] = False
    return bool(there.any())


def _nearest_good(missing: np.ndarray) -> np.ndarray:
    """The row and column of the nearest good value of each, (2, H, W)."""
    import scipy.ndimage  # here, because few need it and it takes a while

    nearest = np.empty((missing.ndim, *missing.shape), np.int32)
    scipy.ndimage.distance_transform_edt(
        missing, return_distances=False, return_indices=True, indices=nearest
    )
    return nearest

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
    """(C, H, W) with the nearest good value of its channel in the place of each bad one; 0 where
    a channel has none."""
    import scipy.ndimage  # here, because few need it and it takes a while

    result = np.where(bad, np.float32(0), part)
    for channel, missing in zip(result, bad, strict=True):
        if missing.any() and not missing.all():
            nearest = np.empty((missing.ndim, *missing.shape), np.int32)
            scipy.ndimage.distance_transform_edt(
                missing, return_distances=False, return_indices=True, indices=nearest
            )
            channel[...] = channel[tuple(nearest)]
    return result

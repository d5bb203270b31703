"""A network as its work sees it: what it asks of an image, and its result for a tile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from chainrule import Module, backend, fuse, record
from noise2noise.device import forget, free_memory, home, infer
from noise2noise.errors import out_of_memory
from noise2noise.inference.learned import Learned
from noise2noise.networks import Needs
from noise2noise.noise.impulses import REACH
from noise2noise.noise.profile import MARGIN
from noise2noise.noise.salt import REACH as SALT
from noise2noise.tiling import tiles

ALONE = nullcontext()
"""The turn of those who share the cores with nobody."""

TILE = 704
"""Side of a tile in pixels, overlap included; larger where the network reaches far.

Smaller ones overlap more; larger ones fit the caches less, and powers of two worst. The shipped
models take least time for a pixel with 700 to 900."""

GPU_TILE = 1408
"""The same on a GPU, which has more to do at once than a processor, if its memory is enough."""

_OVERLAPS = 8.5
"""A tile is at least so many times as large as it overlaps its neighbours: what is computed twice
is then three quarters of what counts. Half a one more than 8, because of the powers of two."""

SMALLEST = 16
"""Images are extended to at least so many pixels: some networks convolve without padding, and would
have nothing left of a smaller one."""

_RECORDED = 256  # side of the tile that is recorded to learn what a pixel costs
# Of the memory that recorded tensors need at once, what the kernels take: they keep half as much
# again, and a little, to hand it out anew; the reference's convolutions copy each window.
_NEEDED = {"native": (1.7, 2**25), "triton": (2, 0)}
_REFERENCE = 10
_SHARE = 0.5  # of a GPU's free memory, for a tile


class Network:
    """A network, ready to work.

    Arguments:
        model: maps (N, C, H, W) to the same shape, or, if it is told the noise, (N, C + levels, H,
            W) to (N, C, H, W).
        needs: what it asks of images.
        learned: what it knows of images like those that it learned from.

    Attributes:
        needs, learned: as given.
        channels: of the images that it takes, C.
        told: whether it is told the noise.
        multiple: heights and widths must be multiples of this.
        overlap: of tiles with their neighbours in pixels, a multiple of `multiple`: as much as a
            pixel can reach.
    """

    def __init__(self, model: Module, needs: Needs, learned: Learned | None = None) -> None:
        self.model, self.needs, self.learned = fuse(model.eval()), needs, learned
        self.channels, self.told, self.multiple = needs.channels, needs.told, needs.multiple
        # What is told of a pixel follows from those around it, and they from impulses near them.
        reach = needs.reach + (MARGIN + REACH if self.told else 0) + (SALT if needs.salt else 0)
        self.overlap = -(-reach // self.multiple) * self.multiple
        self._bytes_per_pixel = needs.memory

    @property
    def least_tile(self) -> int:
        """The smallest side that a tile can have."""
        return 2 * self.overlap + self.multiple

    @property
    def best_tile(self) -> int:
        """The side of a tile with which a pixel takes least time; on a GPU of those that fit into
        its free memory."""
        free = free_memory(home(self.model))
        usual = TILE if free is None else GPU_TILE
        side = int(max(usual, 2 * self.least_tile, _OVERLAPS * self.overlap))
        side -= side % self.multiple
        while free is not None and self.tile_bytes(side, side) > _SHARE * free:
            if side - self.multiple < self.least_tile:
                break
            side -= self.multiple
        return side

    def missing(self, length: int) -> int:
        """How many pixels are needed beyond `length`."""
        return -(-max(length, SMALLEST) // self.multiple) * self.multiple - length

    def tile_bytes(self, height: int, width: int) -> int:
        """How much memory of its device `run` takes at most for a tile: by the tensors of a
        recorded run that are alive at once, and by what the backend needs besides, as measured."""
        if not self._bytes_per_pixel:
            side = -(-_RECORDED // self.multiple) * self.multiple
            recording = record(self.model, (1, self.channels + self.needs.levels, side, side))
            alive = max((op.alive_bytes for op in recording.ops), default=0)
            self._bytes_per_pixel = alive / side**2
        factor, kept = _NEEDED.get(backend(device=home(self.model)), (_REFERENCE, 0))
        return int(self._bytes_per_pixel * height * width * factor) + kept

    @property
    def shares_memory(self) -> bool:
        """Whether its device has the memory that the image is in."""
        return home(self.model).type == "cpu"

    def run(
        self,
        x: np.ndarray,
        turns: bool = False,
        turn: AbstractContextManager[Any] = ALONE,
    ) -> np.ndarray:
        """The result for a tile, (C, H, W), from its input, (C, H, W) or (C + levels, H, W).

        Where its device's memory is not enough the tile is cut into smaller ones.

        Arguments:
            x: float32; height and width are multiples of `multiple`.
            turns: the mean over the eight flips and turns.
            turn: held while the network computes; given back between two of the eight.
        """
        if not turns:
            with turn:
                return self._run(x)
        total = np.zeros((self.channels, *x.shape[1:]), np.float32)
        for forth, back in _TURNS:
            turned = np.ascontiguousarray(forth(x))
            with turn:
                clean = self._run(turned)
            total += back(clean)
        return total / np.float32(len(_TURNS))

    def _run(self, x: np.ndarray) -> np.ndarray:
        try:
            return infer(self.model, x[None])[0]
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or max(x.shape[1:]) <= self.least_tile:
                raise
        forget(home(self.model))
        return self._run_in_parts(x)

    def _run_in_parts(self, x: np.ndarray) -> np.ndarray:
        half = max(x.shape[1:]) // 2 // self.multiple * self.multiple
        side = max(half, self.least_tile)
        result = np.empty((self.channels, *x.shape[1:]), np.float32)
        for rows in tiles(x.shape[1], side, self.overlap, self.multiple):
            for columns in tiles(x.shape[2], side, self.overlap, self.multiple):
                part = self._run(np.ascontiguousarray(x[:, rows.whole, columns.whole]))
                result[:, rows.core, columns.core] = part[:, rows.inner, columns.inner]
        return result


Turn = Callable[[np.ndarray], np.ndarray]


def _turn(quarters: int, flipped: bool) -> tuple[Turn, Turn]:
    """One of the eight flips and turns of (C, H, W), and its inverse."""

    def forth(x: np.ndarray) -> np.ndarray:
        return np.rot90(x[..., ::-1] if flipped else x, quarters, (1, 2))

    def back(x: np.ndarray) -> np.ndarray:
        turned = np.rot90(x, -quarters, (1, 2))
        return turned[..., ::-1] if flipped else turned

    return forth, back


_TURNS = [_turn(quarters, flipped) for flipped in (False, True) for quarters in range(4)]

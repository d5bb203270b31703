"""Arrays that lie in a file as they do in memory: read from the disk as they are asked for, and
written as they come, so that they may be larger than memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from noise2noise.files.axes import Axes
from noise2noise.files.guard import UnusableError
from noise2noise.files.stack import STREAMED, Header, Held

_BLOCK = 2**20


@dataclass(frozen=True)
class Flat:
    """Where an array lies, and how.

    Attributes:
        path: of the file.
        offset: of its first byte.
        axes: of it.
        dtype: byte order included.
        fortran: whether the first index is the fastest.
    """

    path: Path
    offset: int
    axes: Axes
    dtype: np.dtype
    fortran: bool = False

    def check(self) -> None:
        """Refuse an array that the file ends before.

        Raises:
            UnusableError: it does.
        """
        end = self.offset + math.prod(self.axes.shape) * self.dtype.itemsize
        size = self.path.stat().st_size
        if end > size:
            raise UnusableError(
                f"is cut short (its pixels end at byte {end}, the file at {size}); "
                "copy or save it again"
            )

    def read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        """A window, (h, w, samples), in memory of its own and of the file's dtype."""
        # Mapped anew each time: pages that were looked at would stay in memory with the map.
        window = self._map("r")[self.axes.window(plane, rows, columns)]
        return np.array(self.axes.from_stored(window))

    def write(self, file: BinaryIO, bands: Iterable[np.ndarray]) -> None:
        """Write all rows, plane after plane, into the file, which is open and ends at `offset`."""
        if self.in_order:
            for band in bands:
                file.write(np.ascontiguousarray(band, self.dtype).tobytes())
            return
        # Take room on the disk: where there is none, writing into a map of the file would kill.
        size = math.prod(self.axes.shape) * self.dtype.itemsize
        for start in range(0, size, _BLOCK):
            file.write(bytes(min(_BLOCK, size - start)))
        file.flush()
        array = self._map("r+")
        self.axes.put(array, bands)
        array.flush()

    @property
    def in_order(self) -> bool:
        """Whether pixels lie in the file as they are handed out."""
        return self.axes.in_order and not self.fortran

    def held(self, header: Header) -> Held:
        """What writing takes."""
        if self.in_order:
            return STREAMED
        pixels = header.planes * header.plane_bytes  # in a map of the file
        return Held(pixels, pixels)

    def _map(self, mode: str) -> np.memmap:
        order = "F" if self.fortran else "C"
        shape = self.axes.shape
        return np.memmap(self.path, self.dtype, mode, self.offset, shape, order)  # type: ignore[call-overload]


def each(
    bands: Iterable[np.ndarray], change: Callable[[np.ndarray], np.ndarray]
) -> Iterable[np.ndarray]:
    """Bands with other values, one at a time."""
    return (change(band) for band in bands)

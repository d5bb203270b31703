"""`.npy`: one array, read from the disk as it is asked for: it may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.lib.format

from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_size
from noise2noise.files.stack import Colour, Header, Metadata, Stack

_MAGIC = b"\x93NUMPY"
_MOST_SAMPLES = 4  # a last axis no longer than this holds the samples of a pixel


@dataclass(frozen=True)
class NpyLayout:
    """The shape and dtype of the array, byte order included."""

    shape: tuple[int, ...]
    dtype: np.dtype


class _Npy(Format):
    name, suffixes = "NPY", (".npy",)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(_MAGIC)

    def open(self, path: Path) -> Stack:
        return _NpyStack(path)

    def refusal(self, header: Header) -> str:
        del header
        return ""

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        layout = header.metadata.layout
        own = isinstance(layout, NpyLayout) and layout.dtype.newbyteorder("=") == header.dtype
        shape, dtype = (layout.shape, layout.dtype) if own else (header.shape, header.dtype)
        described = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        with path.open("wb") as file:
            numpy.lib.format.write_array_header_2_0(file, described)
            for band in bands:
                file.write(np.ascontiguousarray(band, dtype).tobytes())


NPY = _Npy()


class _NpyStack(Stack):
    def __init__(self, path: Path) -> None:
        # Pickled objects can run code, and are no pixels.
        array = np.lib.format.open_memmap(path, mode="r")
        axes, colour = _axes(array.shape)
        if array.dtype.kind not in "uif":
            raise UnusableError(f"holds {array.dtype}; save it as integers or floats")
        layout = NpyLayout(array.shape, array.dtype)
        header = Header(
            axes,
            array.shape,
            array.dtype.newbyteorder("="),
            colour,
            metadata=Metadata(layout=layout),
        )
        check_size(header.width, header.height)
        planes = (header.planes, header.height, header.width, header.samples)
        self._planes = array.reshape(planes)
        super().__init__(header, path)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        return self._planes[plane, rows, columns].astype(self.header.dtype)


def _axes(shape: tuple[int, ...]) -> tuple[str, Colour]:
    """(..., H, W), or (..., H, W, S) where S is 1 to 4; the axes before are T, Z and C."""
    if len(shape) > 2 and shape[-1] <= _MOST_SAMPLES:
        colours: dict[int, Colour] = {1: "grey", 3: "rgb"}
        colour = colours.get(shape[-1], "channels")
        return _leading(len(shape) - 1) + "S", colour
    return _leading(len(shape)), "grey"


def _leading(dimensions: int) -> str:
    if not 2 <= dimensions <= 5:
        raise UnusableError(f"holds an array of {dimensions} dimensions; 2 to 5 are an image")
    return "TZC"[: dimensions - 2] + "YX"

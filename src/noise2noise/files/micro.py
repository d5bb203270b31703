"""Microscope makers' files, by the readers of bioio: CZI of Zeiss, ND2 of Nikon, LIF of Leica.

They are read plane by plane, and results are OME-TIFF: no library writes these formats as their
makers do. Sizes of voxels, time steps and channel names go along, and of several scenes the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from noise2noise.files.axes import MOST_DIMENSIONS
from noise2noise.files.extras import needed
from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_growth, check_size, shown
from noise2noise.files.stack import Channel, Colour, Header, Metadata, Stack, Step

_GROWTH = 1e5  # times its size that a plane may grow: JPEG XR and Zstandard of nothing
_MOST_PLANES = 2**22
_LETTERS = "TZCSYX"  # that mean the same here; others number planes


class _Micro(Format):
    """Files of one maker.

    Attributes:
        reader: loads the class that reads them.
        magic: how they begin.
    """

    written_as = ".ome.tif"

    def __init__(self, name: str, suffix: str, reader: Callable[[], Any], magic: bytes) -> None:
        self.name, self.suffixes = name, (suffix,)
        self.reader, self.magic = reader, magic

    def recognises(self, head: bytes) -> bool:
        return head.startswith(self.magic)

    def open(self, path: Path) -> Stack:
        with needed("micro", f"a file of a microscope ({self.name})"):
            reader = self.reader()
        return _MicroStack(_opened(reader, path), path)

    def refusal(self, header: Header) -> str:
        del header
        return "is a format that can only be read; end the name in .ome.tif or .ome.zarr"


def _czi() -> Any:
    from bioio_czi import Reader

    return Reader


def _nd2() -> Any:
    from bioio_nd2 import Reader  # pyright: ignore[reportMissingImports]

    return Reader


def _lif() -> Any:
    from bioio_lif import Reader  # pyright: ignore[reportMissingImports]

    return Reader


CZI = _Micro("CZI", ".czi", _czi, b"ZISRAWFILE")
ND2 = _Micro("ND2", ".nd2", _nd2, b"\xda\xce\xbe\x0a")
LIF = _Micro("LIF", ".lif", _lif, b"\x70\0\0\0")


def _opened(reader: Any, path: Path) -> Any:
    """A reader that reads plane by plane: most are told so, others always do."""
    try:
        return reader(str(path), chunk_dims=["Y", "X"])
    except TypeError:
        return reader(str(path))


class _MicroStack(Stack):
    """The first scene of a file, its planes decoded one at a time."""

    def __init__(self, reader: Any, path: Path) -> None:
        names, sizes = str(reader.dims.order), tuple(int(size) for size in reader.dims.shape)
        dtype = np.dtype(reader.dtype).newbyteorder("=")
        kept = [i for i, name in enumerate(names) if name in "YXS" or sizes[i] > 1]
        letters = _letters("".join(names[i] for i in kept))
        shape = tuple(sizes[i] for i in kept)
        if letters[-1:] == "S" and shape[-1] == 1:
            letters, shape = letters[:-1], shape[:-1]
        if not letters.rstrip("S").endswith("YX") or dtype.kind not in "uif":
            raise UnusableError(
                f"has axes {shown(names)} of {dtype}; save it as OME-TIFF by its maker's program"
            )
        self._order = sizes[: names.index("Y")]
        self._plane, self._pixels = -1, np.empty(0)
        samples = shape[-1] if letters.endswith("S") else 1
        colours: dict[int, Colour] = {1: "grey", 3: "rgb", 4: "rgb"}
        header = Header(
            letters,
            shape,
            dtype,
            colours.get(samples, "channels"),
            "straight" if samples == 4 else "",
            notes=_notes(reader),
        )
        _check(header, path)
        # From here on the reader lists all planes.
        metadata = Metadata(steps=tuple(_steps(reader)), channels=_channels(reader))
        header = replace(header, metadata=metadata)
        self._data = reader.dask_data
        super().__init__(header, path)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        if plane != self._plane:
            header = self.header
            numbers = np.unravel_index(plane, self._order) if self._order else ()
            found = np.asarray(self._data[tuple(int(each) for each in numbers)].compute())
            self._pixels = found.reshape(header.height, header.width, header.samples)
            self._plane = plane
        return self._pixels[rows, columns].astype(self.header.dtype, copy=False)

    def forget(self) -> None:
        self._plane, self._pixels = -1, np.empty(0)


def _letters(names: str) -> str:
    """Axes as they are named here; of unknown ones, mosaics' tiles for one, all are sequences."""
    if len(names) > MOST_DIMENSIONS:
        raise UnusableError(f"has {len(names)} axes; save it as OME-TIFF by its maker's program")
    return "".join(name if name in _LETTERS else "Q" for name in names)


def _check(header: Header, path: Path) -> None:
    check_size(header.width, header.height)
    size = path.stat().st_size
    check_growth(header.width, header.height, header.plane_bytes, size, _GROWTH)
    if header.planes > min(_MOST_PLANES, size):
        raise UnusableError(f"is damaged ({header.planes} planes); copy or save it again")


def _notes(reader: Any) -> tuple[str, ...]:
    others = len(reader.scenes) - 1
    return (f"{others} other scene{'s' * (others > 1)} left out",) if others > 0 else ()


def _steps(reader: Any) -> Iterator[Step]:
    """Sizes of a voxel, which bioio has in micrometers."""
    sizes = reader.physical_pixel_sizes
    for axis in "ZYX":
        size = getattr(sizes, axis, None)
        if size is not None and 0 < size < math.inf:
            yield Step(axis, float(size), "micrometer")
    interval: Any = getattr(reader, "time_interval", None)
    seconds = interval.total_seconds() if hasattr(interval, "total_seconds") else interval
    if isinstance(seconds, int | float) and 0 < seconds < math.inf:
        yield Step("T", float(seconds), "second")


def _channels(reader: Any) -> tuple[Channel, ...]:
    return tuple(Channel(shown(name)) for name in reader.channel_names or ())

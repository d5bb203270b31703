"""MRC and CCP4 maps: what electron microscopes write, volumes, tilt series and movies of one grey.

mrcfile knows the header; pixels lie behind it as they do in memory, and are read as they are asked
for. A result has its source's header, extended header included, but for what is said of values:
smallest, largest, mean and their deviation are those of the result.

Source: https://www.ccpem.ac.uk/mrc_format/mrc2014.php, and IMOD's manual for what it adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noise2noise.files.axes import Axes
from noise2noise.files.extras import missing, needed
from noise2noise.files.flat import Flat, each
from noise2noise.files.format import KEPT, Format
from noise2noise.files.guard import UnusableError, check_size
from noise2noise.files.stack import STREAMED, Header, Held, Metadata, Stack, Step

_HEADER = 1024  # bytes
_MAP = slice(208, 211)  # where it says MAP
_MOST_EXTENDED = 2**30  # bytes; a movie's have some kilobytes a frame
_MODES = {"i1": 0, "i2": 1, "f4": 2, "u2": 6, "f2": 12}
# IMOD's mark, and of its flags that which says that bytes have a sign.
_IMOD, _SIGNED = 1146047817, 1
_ANGSTROM = {"angstrom": 1, "nanometer": 10, "micrometer": 1e4, "millimeter": 1e7, "meter": 1e10}


@dataclass(frozen=True)
class MrcLayout:
    """What stands before the pixels.

    Attributes:
        header: of 1024 bytes, with named fields in the byte order of the file.
        extended: the extended header.
        axes: of the pixels.
        dtype: of them, byte order included.
    """

    header: np.ndarray
    extended: bytes
    axes: Axes
    dtype: np.dtype


class _Mrc(Format):
    name, suffixes = "MRC", (".mrc", ".mrcs", ".map", ".ccp4", ".rec", ".ali")
    without = tuple(KEPT)

    def recognises(self, head: bytes) -> bool:
        return len(head) >= _HEADER and head[_MAP] == b"MAP"

    def open(self, path: Path) -> Stack:
        return _MrcStack(_layout(path), path)

    def refusal(self, header: Header) -> str:
        lacking = missing("mrcfile", "mrc", self.name)
        if lacking:
            return lacking
        if header.samples > 1:
            kind = "transparency" if header.alpha else f"{header.colour} pixels"
            return f"MRC can't hold {kind}; end the name in .tif"
        if _own(header) is None and header.dtype.str[1:] not in _MODES:
            wider = "uint16" if header.dtype == np.uint8 else "float32"
            return f"MRC can't hold {header.dtype} pixels; add --dtype {wider}"
        return ""

    def held(self, header: Header) -> Held:
        del header
        return STREAMED

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        layout = _own(header) or _new(path, header)
        said, seen = layout.header.copy(), _Seen()
        flat = Flat(path, _HEADER + len(layout.extended), layout.axes, layout.dtype)
        with path.open("wb") as file:
            file.write(said.tobytes() + layout.extended)
            flat.write(file, seen.noting(bands))
            said["dmin"], said["dmax"], said["dmean"], said["rms"] = seen.told()
            file.seek(0)
            file.write(said.tobytes())


MRC = _Mrc()


def _layout(path: Path) -> MrcLayout:
    with needed("mrc", "an MRC file"):
        from mrcfile import dtypes, utils
    with path.open("rb") as file:
        said = np.frombuffer(file.read(_HEADER), dtypes.HEADER_DTYPE).reshape(())
        try:
            order = utils.byte_order_from_machine_stamp(said["machst"])
        except ValueError:  # old programs leave it empty
            order = "<"
        said = said.view(said.dtype.newbyteorder(order))
        length = int(said["nsymbt"])
        if not 0 <= length <= min(_MOST_EXTENDED, path.stat().st_size):
            raise UnusableError(
                f"is damaged (an extended header of {length} bytes); copy or save it again"
            )
        extended = file.read(length)
    mode = int(said["mode"])
    if mode not in _MODES.values():
        raise UnusableError(f"has pixels of mode {mode}; save it as integers or floats (mode 2)")
    dtype = utils.dtype_from_mode(mode).newbyteorder(order)
    if mode == 0 and _unsigned(said):
        dtype = np.dtype(np.uint8)
    return MrcLayout(said, extended, _axes(said), dtype)


def _unsigned(said: np.ndarray) -> bool:
    """Whether bytes have no sign: IMOD's, unless its flags say that they have."""
    extra = said["extra2"].tobytes()  # from byte 112; IMOD's mark is at 152
    mark, flags = np.frombuffer(extra[40:48], said["mode"].dtype)
    return int(mark) == _IMOD and not int(flags) & _SIGNED


def _axes(said: np.ndarray) -> Axes:
    """Sections are depths of a volume or, of space group 0, images that follow each other."""
    width, height, sections = (int(said[name]) for name in ("nx", "ny", "nz"))
    group, depth = int(said["ispg"]), int(said["mz"])
    if min(width, height, sections) <= 0:
        raise UnusableError(
            f"has no pixels ({width} x {height} x {sections}); copy or save it again"
        )
    check_size(width, height)
    if 401 <= group <= 630 and depth > 0 and sections % depth == 0:
        return Axes("QZYX", (sections // depth, depth, height, width))
    if sections == 1 and group == 0:
        return Axes("YX", (height, width))
    return Axes("QYX" if group == 0 else "ZYX", (sections, height, width))


def _steps(said: np.ndarray) -> Iterator[Step]:
    """Sizes of a voxel: a cell's, by how often it is sampled."""
    for letter, count in (("X", "mx"), ("Y", "my"), ("Z", "mz")):
        length, parts = float(said["cella"][letter.lower()]), int(said[count])
        if length > 0 and parts > 0 and math.isfinite(length):
            yield Step(letter, length / parts, "angstrom")


class _MrcStack(Stack):
    def __init__(self, layout: MrcLayout, path: Path) -> None:
        axes = layout.axes
        self._flat = Flat(path, _HEADER + len(layout.extended), axes, layout.dtype)
        self._flat.check()
        metadata = Metadata(steps=tuple(_steps(layout.header)), layout=layout)
        dtype = layout.dtype.newbyteorder("=")
        super().__init__(Header(axes.stored, axes.shape, dtype, metadata=metadata), path)

    @property
    def held(self) -> Held:
        return STREAMED

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        return self._flat.read(plane, rows, columns).astype(self.header.dtype, copy=False)


# Out.


def _own(header: Header) -> MrcLayout | None:
    """The source's own, if pixels lie as they did there."""
    layout = header.metadata.layout
    if not isinstance(layout, MrcLayout) or layout.axes.shape != header.shape:
        return None
    return layout if layout.dtype.newbyteorder("=") == header.dtype else None


def _new(path: Path, header: Header) -> MrcLayout:
    """A header for pixels that come from elsewhere, as mrcfile begins one."""
    import mrcfile

    old = header.metadata.layout
    if isinstance(old, MrcLayout) and old.axes.shape == header.shape:  # of another dtype
        said, extended = old.header.copy(), old.extended
    else:
        with mrcfile.new(path, overwrite=True) as file:
            said, extended = np.array(file.header), b""
        _describe(said, header)
    said["mode"] = _MODES[header.dtype.str[1:]]
    order: Any = said.dtype["mode"].byteorder
    return MrcLayout(
        said, extended, Axes(header.axes, header.shape), header.dtype.newbyteorder(order)
    )


def _describe(said: np.ndarray, header: Header) -> None:
    leading = header.axes[: header.axes.index("Y")]
    depth = header.shape[leading.index("Z")] if leading.endswith("Z") else 1
    said["nx"], said["ny"], said["nz"] = header.width, header.height, header.planes
    said["mx"], said["my"], said["mz"] = header.width, header.height, depth
    volumes = header.planes // depth
    said["ispg"] = 0 if depth == 1 else 1 if volumes == 1 else 401
    steps = {step.axis: step for step in header.metadata.steps}
    for letter, parts in (("X", header.width), ("Y", header.height), ("Z", depth)):
        step = steps.get(letter)
        if step is not None and step.unit in _ANGSTROM:
            said["cella"][letter.lower()] = step.size * _ANGSTROM[step.unit] * parts


class _Seen:
    """What values went by."""

    def __init__(self) -> None:
        self._low, self._high, self._sums, self._count = math.inf, -math.inf, np.zeros(2), 0

    def noting(self, bands: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
        return each(bands, self._note)

    def _note(self, band: np.ndarray) -> np.ndarray:
        values = band.astype(np.float64)
        values = values[np.isfinite(values)]
        if values.size:
            self._low = min(self._low, float(values.min()))
            self._high = max(self._high, float(values.max()))
            self._sums += values.sum(), np.square(values).sum()
            self._count += values.size
        return band

    def told(self) -> tuple[float, float, float, float]:
        """Smallest, largest, mean, and root of the mean square deviation from it."""
        if not self._count:
            return 0, -1, -2, -1  # which says that they aren't known
        mean, square = self._sums / self._count
        return self._low, self._high, float(mean), math.sqrt(max(square - mean**2, 0))

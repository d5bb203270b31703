"""What the rest of the program sees of a file: a `Stack` of planes, and what its `Header` says.

A file is opened, tells its axes, and hands out planes one at a time, or windows of one: nobody but
a format's own file knows how that is done. Files are written the same way: a header, then bands of
rows in order, so that neither side ever has to hold more than a band.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files.axes import Axes, named, with_samples
from noise2noise.files.cicp import Cicp
from noise2noise.files.guard import reading

ALL = slice(None)

Colour = Literal["grey", "rgb", "channels", "cmyk", "lab"]
"""What a pixel's samples mean. Those of `rgb` are denoised together, the others one by one: what a
camera sees in three colours is one scene, two stains are two."""

Alpha = Literal["", "straight", "premultiplied"]


@dataclass(frozen=True)
class Step:
    """How far apart what lies along an axis is.

    Attributes:
        axis: its letter.
        size: from one to the next, in `unit`.
        unit: in full, as OME-Zarr has it: "micrometer", "second"; "" if none is said.
    """

    axis: str
    size: float
    unit: str = ""


@dataclass(frozen=True)
class Channel:
    """What a channel of a micrograph is called, and its colour on a screen, as RRGGBB; or ""."""

    name: str = ""
    colour: str = ""


@dataclass(frozen=True)
class Metadata:
    """What a file says about its pixels.

    Attributes:
        exif: the EXIF block, without the marker `Exif\\0\\0` that JPEG puts before it.
        icc_profile: the ICC colour profile.
        resolution: pixels per unit along x and y, and the unit as TIFF numbers it: 1 none (a ratio,
            or a unit that the description names), 2 inch, 3 centimetre.
        description: a TIFF's ImageDescription.
        described: shape and dtype of the pixels that the description was written for. ImageJ and
            OME descriptions state them, so a description isn't written beside any others.
        xmp: the XMP packet.
        photoshop: the image resources that Photoshop wrote, in which IPTC lies (JPEG's APP13).
        cicp: what colours are, if they aren't sRGB's and no profile says so, as `cicp.py` has it.
        steps: sizes of a pixel and of other steps, where a unit of length or time is known.
        channels: of the axis C, in order.
        converted: whether pixels have other values than in the source: what it says of them there,
            by tags that are known, isn't true of them.
        jpeg_quality: of a JPEG that is written, from 1 to 100; None for as fine as the source.
        layout: what only the format that the file came in can hold (compression, tiles, private
            tags), for the writer of that format; each has a class of its own.
    """

    exif: bytes = b""
    icc_profile: bytes = b""
    resolution: tuple[float, float, int] | None = None
    description: str = ""
    described: tuple[tuple[int, ...], str] | None = None
    xmp: bytes = b""
    photoshop: bytes = b""
    steps: tuple[Step, ...] = ()
    channels: tuple[Channel, ...] = ()
    converted: bool = False
    jpeg_quality: int | None = None
    cicp: Cicp | None = None
    layout: Any = field(default=None, compare=False, repr=False)


class Held(NamedTuple):
    """How much memory, in bytes, a format takes for an open file, beside the bands that go in and
    out.

    Attributes:
        kept: as long as the file is open.
        peak: at most, while a plane is decoded or encoded; `kept` included.
    """

    kept: int
    peak: int


STREAMED = Held(0, 0)
"""Of formats that are read and written in parts."""


@dataclass(frozen=True)
class Header:
    """What a file holds, before any pixel is read.

    Attributes:
        axes: a letter for each dimension of `shape`, as tifffile names them: T time, Z depth, C
            channel, I or Q any sequence, and last Y, X and, if a pixel has several, S samples.
        shape: the sizes along `axes`.
        dtype: of the samples, in the machine's byte order.
        colour: what the samples mean, transparency left out.
        alpha: whether the last sample is transparency, and the colours are multiplied by it.
        white: the value that stands for white, where the file says so.
        whole: the dtype of the integers that floats stand for, if they do.
        notes: what of the file isn't in the planes, for people: "2 smaller pages are left out".
        metadata: carried from file to file.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    colour: Colour = "grey"
    alpha: Alpha = ""
    white: float | None = None
    notes: tuple[str, ...] = ()
    metadata: Metadata = field(default=Metadata(), repr=False)
    whole: np.dtype | None = None

    @property
    def height(self) -> int:
        return self.shape[self.axes.index("Y")]

    @property
    def width(self) -> int:
        return self.shape[self.axes.index("X")]

    @property
    def samples(self) -> int:
        """How many numbers a pixel has, transparency included."""
        return self.shape[-1] if self.axes.endswith("S") else 1

    @property
    def colours(self) -> int:
        """How many numbers a pixel has, transparency left out."""
        return self.samples - bool(self.alpha)

    @property
    def planes(self) -> int:
        """How many planes of `height` x `width` pixels there are."""
        return math.prod(self.shape[: self.axes.index("Y")])

    @property
    def plane_bytes(self) -> int:
        """Bytes of a plane in memory."""
        return self.height * self.width * self.samples * self.dtype.itemsize


Finish = Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]]
"""Makes the bands of a result out of denoised bands."""


def unchanged(bands: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    """The bands as they are."""
    return bands


class Stack(ABC):
    """An open file, or an array that is used like one. A context manager: leaving it closes it.

    Planes are numbered in the order of the axes before Y, the last of them fastest. A format
    defines `_read`, and `close` if there is something to close.

    Attributes:
        redrawn: whether results have other values than planes: those of a picture that is made of
            them, over all of their dtype's range.
    """

    redrawn: bool = False

    def __init__(self, header: Header, name: str | Path = "") -> None:
        self.header, self.name = header, name

    def with_white(self, white: float) -> None:
        """Say what is white where the file doesn't, or is wrong."""
        self.header = replace(self.header, white=white)

    @property
    def axes(self) -> str:
        """The axes in the order in which they lie in the file."""
        return self.header.axes

    def with_axes(self, letters: str) -> None:
        """Say what the axes are where the file doesn't, or is wrong.

        Arguments:
            letters: one of T, Z, C, S, Y, X, Q, I for each of `axes`. Samples named S are a
                colour's and, if there are three, denoised together; named C they are channels of a
                micrograph, each denoised alone.

        Raises:
            UserError: other letters, another number of them, or an order that this file can't have.
        """
        header = self.header
        given = named(letters, header.shape, self.name)
        if not given.in_order or given.letters.index("Y") != header.axes.index("Y"):
            last = header.axes[header.axes.index("Y") :]
            raise UserError(
                f"{self.name} has axes {header.axes}, and --axes {letters} has others last than "
                f"{last}; only the names of those before can change, and S to C"
            )
        colour, alpha = header.colour, header.alpha
        if given.stored.endswith("C"):
            colour, alpha = "channels", ""
        elif given.are_colours:
            colour = "rgb"
        self.header = replace(header, axes=given.letters, colour=colour, alpha=alpha)

    def with_channel_axis(self, place: int) -> None:
        """Say which of `axes` holds the samples of a pixel: three of them are red, green and blue.

        Raises:
            UserError: as `with_axes`.
        """
        self.with_axes(with_samples(self.axes, place, self.name))

    def read(self, plane: int = 0, rows: slice = ALL, columns: slice = ALL) -> np.ndarray:
        """A window of a plane, (h, w, samples), as stored and in memory that may be shared.

        Raises:
            UserError: the file is damaged there, or doesn't fit into memory.
        """
        with reading(self.name):
            return self._read(plane, rows, columns)

    @abstractmethod
    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        """As `read`; whatever it raises is told as one sentence."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, of the header's shape: `numpy.asarray(stack)`."""
        if copy is False:
            raise ValueError("what a stack holds has to be read, so it is a copy")
        planes = [self.read(plane) for plane in range(self.header.planes)]
        return np.stack(planes).reshape(self.header.shape).astype(dtype or self.header.dtype)

    @property
    def held(self) -> Held:
        """What reading takes; by default what decoding a plane at once does."""
        plane = self.header.plane_bytes
        return Held(plane, 3 * plane)

    def narrow(self, columns: slice) -> None:
        """From now on only these columns will be read: no others need be decoded with them."""
        del columns

    def forget(self) -> None:
        """Nothing more will be read: what was decoded may go."""
        return

    def result(self, holds: Callable[[Header], bool]) -> tuple[Header, Finish]:
        """What is to be written in the place of this file, and how to get it from denoised bands.

        The same header and the bands themselves, but for planes that aren't what the file is
        about: a raw file's mosaic, or colours that stand for inks.

        Arguments:
            holds: whether the format that is to be written can hold what a header says.
        """
        del holds
        return self.header, unchanged

    def close(self) -> None:
        """Let go of the file."""
        return

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ArrayStack(Stack):
    """Pixels in memory, (planes, H, W, samples)."""

    def __init__(self, header: Header, pixels: np.ndarray, name: str | Path = "") -> None:
        super().__init__(header, name)
        self._pixels = pixels

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        return self._pixels[plane, rows, columns]

    @property
    def held(self) -> Held:
        return Held(self._pixels.nbytes, self._pixels.nbytes)

    def forget(self) -> None:
        self._pixels = self._pixels[:0]


class DecodedStack(Stack):
    """One plane that is decoded as a whole, when it is asked for first.

    Arguments:
        decode: gives pixels, (H, W) or (H, W, samples), of the header's dtype.
    """

    def __init__(
        self, header: Header, decode: Callable[[], np.ndarray], name: str | Path = ""
    ) -> None:
        super().__init__(header, name)
        self._decode, self._pixels = decode, np.empty(0)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        header = self.header
        if not self._pixels.size:
            expected = header.height, header.width, header.samples
            found = self._decode()
            if found.size != math.prod(expected) or found.dtype != header.dtype:
                raise ValueError(f"expected {expected} of {header.dtype}, got {found.shape}")
            self._pixels = found.reshape(expected)
        return self._pixels[rows, columns]

    def forget(self) -> None:
        self._pixels = np.empty(0)


def colour_of(axes: Axes) -> Colour:
    """What samples along these axes mean."""
    if axes.are_colours:
        return "rgb"
    return "grey" if not axes.letters.endswith("S") or axes.sizes[-1] == 1 else "channels"


def bands_of(stack: Stack, rows: int = 256) -> Iterator[np.ndarray]:
    """All of a stack as a writer takes it: bands of so many rows, plane after plane."""
    header = stack.header
    for plane in range(header.planes):
        for top in range(0, header.height, rows):
            yield stack.read(plane, slice(top, min(top + rows, header.height)))


def blocks_of(bands: Iterable[np.ndarray], rows: int) -> Iterator[np.ndarray]:
    """The rows of a plane, so many at a time; the last may be fewer."""
    kept: list[np.ndarray] = []
    count = 0
    for band in bands:
        kept.append(band)
        count += len(band)
        if count < rows:
            continue
        joined = np.concatenate(kept) if len(kept) > 1 else band
        whole = count // rows * rows
        for top in range(0, whole, rows):
            yield joined[top : top + rows]
        kept, count = ([joined[whole:]], count - whole) if count > whole else ([], 0)
    if count:
        yield np.concatenate(kept)


def next_plane(bands: Iterator[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """The bands of the next plane."""
    row = 0
    while row < height:
        band = next(bands)
        row += len(band)
        yield band


def whole_planes(header: Header, bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Bands put together to planes, (H, W, samples), for formats that take a plane at once."""
    pixels, row = None, 0
    for band in bands:
        if row == 0 and len(band) == header.height:
            yield band
            continue
        if pixels is None:
            pixels = np.empty((header.height, *band.shape[1:]), band.dtype)
        pixels[row : row + len(band)] = band
        row += len(band)
        if row == header.height:
            yield pixels
            pixels, row = None, 0


def stack_of(image: np.ndarray) -> Stack:
    """An image in memory, (H, W), (H, W, 1) or (H, W, 3), as a stack.

    Raises:
        ValueError: another shape, no pixel, or pixels that are no numbers.
    """
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] not in (1, 3)):
        raise ValueError(f"expected pixels of shape (H, W) or (H, W, 3), got {image.shape}")
    if image.size == 0:
        raise ValueError(f"expected at least one pixel, got the shape {image.shape}")
    if image.dtype.kind not in "uif":
        raise ValueError(f"expected pixels of integers or floats, got {image.dtype}")
    return array_stack(np.atleast_3d(image))


def array_stack(pixels: np.ndarray) -> Stack:
    """(H, W, C) as a stack; three channels are colours."""
    colours: dict[int, Colour] = {1: "grey", 3: "rgb"}
    colour = colours.get(pixels.shape[2], "channels")
    return ArrayStack(Header("YXS", pixels.shape, pixels.dtype, colour), pixels[None])

"""What the numbers of a DICOM file are: their bits, signs, colours and padding; and frames that are
compressed.

White is what MONOCHROME2 says it is: MONOCHROME1, in which 0 is white, is handed out the other way
round. Values aren't rescaled to Hounsfield's units or others: what is said of that stays in the
file, and goes for the result as well. Pixels with the value that stands for "outside of what was
scanned" are NaN, which nothing is made of.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image

from noise2noise.files.guard import UnusableError, check_growth, shown

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_INTEGER, _FLOAT, _DOUBLE = 0x7FE00010, 0x7FE00008, 0x7FE00009
EXPLICIT, IMPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
NATIVE = (EXPLICIT, IMPLICIT, BIG)
"""UIDs of how a file is written down without compression."""
_RLE = "1.2.840.10008.1.2.5"
_JPEG2000 = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (90, 91, 92, 93))
_JPEGS = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (50, 51, 57, 70, 80, 81))
_EXTENDED = "1.2.840.10008.1.2.4.51"
_LOSSLESS = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (57, 70))
_LS = tuple(f"1.2.840.10008.1.2.4.{end}" for end in (80, 81))
# How many times its size a frame can grow: runs of 128 bytes in two; others store zeros in nothing.
_RLE_GROWTH, _GROWTH = 64, 1e5
_GREY, _COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT")
_COLOUR = (*_COLOUR, "YBR_RCT", "YBR_PARTIAL_420", "YBR_PARTIAL_422")
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # markers among those of frames that are others
_JPEG_LS = 0xF7


class _Bounded(io.BufferedReader):
    """A file of which no more is read than there is: a made-up length takes no memory."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(str(path)))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._size - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left))


def bounded(path: Path) -> io.BufferedReader:
    """Open a file of which never more is read than there is."""
    return _Bounded(path)


@dataclass(frozen=True)
class Element:
    """Where the pixels lie.

    Attributes:
        tag: of the element.
        offset: of its first byte.
        length: in bytes, up to the end of the file if it isn't said.
        syntax: the UID of how the file is written down.
        height, width: of a frame; 0 before they are known.
    """

    tag: int
    offset: int
    length: int
    syntax: str
    height: int = 0
    width: int = 0


def element(path: Path, offset: int, syntax: str) -> Element:
    """The element of pixels that begins at `offset`.

    Raises:
        UnusableError: there is none.
    """
    order = ">" if syntax == BIG else "<"
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(12)
    if len(head) < 12:
        raise UnusableError("holds no pixels; use a file that does")
    group, number = struct.unpack_from(f"{order}HH", head)
    tag, implicit = group << 16 | number, syntax == IMPLICIT
    if tag not in (_INTEGER, _FLOAT, _DOUBLE):
        raise UnusableError("holds no pixels; use a file that does")
    (length,) = struct.unpack_from(f"{order}I", head, 4 if implicit else 8)
    start = offset + (8 if implicit else 12)
    left = path.stat().st_size - start
    return Element(tag, start, left if length == 2**32 - 1 else min(length, left), syntax)


@dataclass(frozen=True)
class Meaning:
    """Between the numbers of a file and those that are handed out.

    Attributes:
        stored: the dtype in the file.
        dtype: that is handed out where nothing is masked.
        bits: of a number in the file, and `used` so many of them.
        samples: of a pixel.
        inverted: 0 is white.
        padding: the lowest and highest value that stands for no pixel, or None.
        plain: whether colours lie in the file as they are handed out.
    """

    stored: np.dtype
    dtype: np.dtype
    bits: int
    used: int
    samples: int = 1
    inverted: bool = False
    padding: tuple[int, int] | None = None
    plain: bool = True

    @classmethod
    def of(cls, said: Any, tag: int) -> Meaning:
        """That of a data set.

        Raises:
            UnusableError: its pixels are something else than grey or colours.
        """
        kind, samples = str(said.get("PhotometricInterpretation", "")), said.get("SamplesPerPixel")
        if tag != _INTEGER:
            dtype = FLOATS[tag == _DOUBLE]
            return cls(dtype, dtype, 8 * dtype.itemsize, 8 * dtype.itemsize)
        expected = {1: _GREY, 3: _COLOUR}
        if kind not in expected.get(samples, ()):
            raise UnusableError(f"has {shown(kind)} pixels; convert it to RGB or grey first")
        bits, used = int(said.BitsAllocated), int(said.BitsStored)
        high = int(said.get("HighBit", used - 1))
        if bits == 1:
            raise UnusableError("has 1 bit a pixel, a mask without noise; use the image it is of")
        if bits not in (8, 16, 32) or not 0 < used <= bits or high != used - 1:
            raise UnusableError(
                f"has {used} bits in {bits}, up to bit {high}; save it with 8 or 16 bits"
            )
        signed = said.get("PixelRepresentation") == 1
        dtype = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
        if samples == 3 and dtype.kind == "i":
            raise UnusableError("has colours with a sign; save it as RGB of 8 or 16 bits")
        return cls(
            dtype,
            dtype,
            bits,
            used,
            samples,
            kind == "MONOCHROME1",
            _padding(said, bits, signed) if samples == 1 else None,
            kind in _GREY or kind == "RGB",
        )

    @property
    def masked(self) -> np.dtype:
        """The dtype that is handed out where padding is masked."""
        return np.dtype(np.float32 if self.bits <= 16 else np.float64)

    @property
    def white(self) -> float | None:
        """The largest number, where it is less than what the bits hold."""
        short = self.used < self.bits and self.dtype.kind == "u" and self.bits <= 16
        return float(2**self.used - 1) if short else None

    def load(self, values: np.ndarray) -> np.ndarray:
        """Numbers of the file, (h, w, samples), in the sense of MONOCHROME2."""
        values = values.astype(self.dtype, copy=False)
        if self.dtype.kind == "f":
            return values
        spare = self.bits - self.used
        if spare:  # what stands above the bits that are used is something else
            spare = self.dtype.type(spare)
            values = (values << spare) >> spare
        return self._inverted(values)

    def store(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `load`, clipped to the bits that are used."""
        if self.dtype.kind == "f":
            return values
        low = -(2 ** (self.used - 1)) if self.dtype.kind == "i" else 0
        return self._inverted(values.clip(low, low + 2**self.used - 1).astype(self.dtype))

    def _inverted(self, values: np.ndarray) -> np.ndarray:
        if not self.inverted:
            return values
        if self.dtype.kind == "i":
            return ~values
        return (self.dtype.type(2**self.used - 1) - values).astype(self.dtype)

    def mask(self, values: np.ndarray) -> np.ndarray:
        """NaN in the place of padding."""
        if self.padding is None:
            return values
        stored = self._inverted(values)
        low, high = self.padding
        outside = (stored >= low) & (stored <= high)
        return np.where(outside, np.nan, values).astype(self.masked)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """Integers of floats; 0 where there is no number."""
        limits = np.iinfo(self.dtype)
        finite = np.where(np.isfinite(values), values, 0).astype(np.float64)
        return np.rint(finite).clip(limits.min, limits.max).astype(self.dtype)


def _padding(said: Any, bits: int, signed: bool) -> tuple[int, int] | None:
    ends = [said.get("PixelPaddingValue"), said.get("PixelPaddingRangeLimit")]
    if not isinstance(ends[0], int):
        return None
    ends = [end if isinstance(end, int) else ends[0] for end in ends]
    if signed:
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    return min(ends), max(ends)


# Frames that are compressed, or whose colours aren't red, green and blue.


def check_packed(meaning: Meaning, frames: int, found: Element) -> None:
    """Refuse what can't be decoded, or not be so large.

    Raises:
        UnusableError: it is.
    """
    syntax, height, width = found.syntax, found.height, found.width
    if not _decodes(meaning, syntax):
        from pydicom.uid import UID

        name = shown(UID(syntax).name)
        raise UnusableError(
            f"has pixels packed as {name}, which can't be read; save it uncompressed"
        )
    growth = {**dict.fromkeys(NATIVE, 2), _RLE: _RLE_GROWTH}.get(syntax, _GROWTH)
    plane = height * width * meaning.samples * meaning.stored.itemsize
    check_growth(width, height, plane, -(-found.length // frames), growth)


def _decodes(meaning: Meaning, syntax: str) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    if syntax in (*_LOSSLESS, *_LS) and meaning.plain:
        return True
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def frame(path: Path, number: int, frames: int, found: Element, meaning: Meaning) -> np.ndarray:
    """A frame, (h, w) or (h, w, 3), as stored but for colours, which are red, green and blue."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import pixel_array

    syntax = found.syntax
    with bounded(path) as file:
        if syntax in (*_JPEGS, *_JPEG2000):
            file.seek(found.offset)
            data = get_frame(file, number, number_of_frames=frames)
            _check_frame(data, found, syntax)
            if syntax in _LS:
                return imagecodecs.jpegls_decode(data)
            if syntax in _LOSSLESS:
                return imagecodecs.ljpeg_decode(data)
            if syntax == _EXTENDED and meaning.samples == 1:  # of 12 bits, which Pillow lacks
                return imagecodecs.jpeg8_decode(data)
            file.seek(0)
        return pixel_array(file, index=number)


def _check_frame(data: bytes, found: Element, syntax: str) -> None:
    """Refuse a frame of another size than is said, before there is memory taken for it."""
    if syntax in _JPEG2000:
        with PIL.Image.open(io.BytesIO(data), formats=["JPEG2000"]) as picture:
            width, height = picture.size
    else:
        width, height = _jpeg_size(data)
    if (width, height) != (found.width, found.height):
        raise UnusableError(
            f"is damaged (a frame of {width} x {height} in an image of "
            f"{found.width} x {found.height}); copy or save it again"
        )


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, place)
        kind = marker & 0xFF
        if (0xC0 <= kind <= 0xCF and kind not in _NO_SIZE) or kind == _JPEG_LS:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + length

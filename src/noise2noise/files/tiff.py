"""TIFF in: of every integer and float type, in strips or tiles, of one page or many.

tifffile reads the structure and imagecodecs the pixels: a window decodes only those strips or tiles
that it touches. Pillow, which has libtiff, decodes what they don't: luma and chroma that aren't
JPEG. `tiff_samples.py` knows what values mean, `tiff_tags.py` which tags stay; `tiff_write.py`
writes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tifffile

from noise2noise.files import tiff_tags, tiff_write
from noise2noise.files.exif import turned
from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_growth, check_size
from noise2noise.files.nodata import masked
from noise2noise.files.raw import RAW
from noise2noise.files.stack import STREAMED, Header, Held, Stack
from noise2noise.files.tiff_samples import meaning

_PHOTOMETRIC, _COMPRESSION = tifffile.PHOTOMETRIC, tifffile.COMPRESSION
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# How many times its size compressed data can grow at most: none; CCITT, LZW, deflate twice,
# PackBits, LZMA, JPEG. Measured on tiles of zeros. Of the others some store "all zero" in a number.
_MOST_GROWTH = {1: 1, 5: 1500, 8: 1040, 32946: 1040, 32773: 64, 34925: 7200, 7: 1000}
_MOST_GROWTH_ELSE = 1e6
_JPEGS = (6, 7, 34892, 33007)
_PREVIEW = 4  # what has less than a fourth of the pixels of the largest page is a preview of it

Page = tifffile.TiffPage | tifffile.TiffFrame


class _Tiff(Format):
    name, suffixes = "TIFF", (".tif", ".tiff")
    without, multiplied = ("cicp",), True

    def recognises(self, head: bytes) -> bool:
        # DICOM files may begin like a TIFF.
        return head.startswith(_MAGIC) and head[128:132] != b"DICM"

    def open(self, path: Path) -> Stack:
        _check_chain(path)
        file = tifffile.TiffFile(path)
        try:
            if _is_raw(file):
                file.close()
                return RAW.open(path)
            return _without_nodata(_TiffStack(file, path))
        except BaseException:
            file.close()
            raise

    def refusal(self, header: Header) -> str:
        return tiff_write.refusal(header)

    def losses(self, header: Header) -> tuple[str, ...]:
        return (*super().losses(header), *tiff_write.losses(header))

    def held(self, header: Header) -> Held:
        return tiff_write.held(header)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        tiff_write.write(path, header, bands)


TIFF = _Tiff()


def _without_nodata(stack: _TiffStack) -> Stack:
    value = tiff_tags.nodata(stack.page)
    plain = stack.header.colour not in ("cmyk", "lab") and stack.stored.is_plain
    return stack if value is None or not plain else masked(stack, value)


class _TiffStack(Stack):
    """The main series of pages of an open TIFF.

    Attributes:
        page: the first of them.
        stored: how its values are handed out.
    """

    def __init__(self, file: tifffile.TiffFile, path: Path) -> None:
        series, notes = _main_series(file)
        page = series.keyframe
        _check_page(page)
        self._file, self._series, self.page, self._path = file, series, page, path
        self._segments: dict[tuple[int, int], np.ndarray] = {}
        self.stored, colour, alpha = meaning(page, file.is_imagej)
        samples = 3 if self.stored.palette is not None else page.samplesperpixel
        axes = series.axes.replace("S", "") + "S" * (samples > 1)
        shape = tuple(
            size for axis, size in zip(series.axes, series.shape, strict=True) if axis != "S"
        )
        planes = math.prod(shape[:-2])
        if axes.rstrip("S")[-2:] != "YX" or planes * page.size != math.prod(series.shape):
            raise UnusableError(f"has axes {series.axes} that aren't pages; save it as pages")
        self._pillow = _needs_pillow(page)
        shape = (*shape, samples) if samples > 1 else shape
        # The description is bound to pixels of the dtype in the file.
        metadata = tiff_tags.metadata(file, series, shape, np.dtype(page.dtype).str)
        white = tiff_tags.white(file, page) if self.stored.stretch == 1 else None
        dtype = self.stored.dtype
        super().__init__(Header(axes, shape, dtype, colour, alpha, white, notes, metadata), path)

    def close(self) -> None:
        self._file.close()

    @property
    def held(self) -> Held:
        header, page = self.header, self.page
        if self._pillow:
            return super().held
        if _is_plain(page):
            return STREAMED
        length, _ = _segment_shape(page)  # of a row of them all are decoded
        row = header.plane_bytes // header.height
        return Held(2 * length * row, 3 * length * row)

    def forget(self) -> None:
        self._segments = {}

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        header = self.header
        top, bottom, _ = rows.indices(header.height)
        left, right, _ = columns.indices(header.width)
        window = (top, bottom, left, right)
        if self._pillow:
            return self._read_with_pillow(plane)[top:bottom, left:right]
        values = self._truncated(plane, window)
        if values is None:
            values = self._decoded(plane, window)
        # Transparency that is said to be a channel stays among the others.
        stored = self.stored if header.alpha else replace(self.stored, alpha=None)
        return stored.load(values)

    # -- how pixels lie in a page ------------------------------------------------------------------

    def _decoded(self, plane: int, window: tuple[int, int, int, int]) -> np.ndarray:
        """A window from the strips or tiles that it touches, (h, w, samples) as in the file."""
        top, bottom, left, right = window
        keyframe = self.page
        page = self._series.pages[plane]
        shape = (bottom - top, right - left, keyframe.samplesperpixel)
        values = np.zeros(shape, keyframe.dtype)
        if page is None:  # a plane that its file lacks
            return values
        _check_data(page, keyframe)
        length, width = _segment_shape(keyframe)
        down, across = -(-keyframe.imagelength // length), -(-keyframe.imagewidth // width)
        separate = keyframe.planarconfig == 2 and keyframe.samplesperpixel > 1
        used = {}
        for part in range(keyframe.samplesperpixel if separate else 1):
            place = slice(part, part + 1) if separate else slice(None)
            for i in range(top // length, -(-bottom // length)):
                for j in range(left // width, -(-right // width)):
                    key = plane, (part * down + i) * across + j
                    first, last = max(top, i * length), min(bottom, (i + 1) * length)
                    begin, end = max(left, j * width), min(right, (j + 1) * width)
                    if _is_plain(keyframe):
                        segment = self._plain_rows(page, key[1], first - i * length, last - first)
                        offset = first
                    else:
                        segment = self._segments.get(key)
                        if segment is None:
                            segment = _decode(page, keyframe, key[1])
                        used[key] = segment
                        offset = i * length
                    values[first - top : last - top, begin - left : end - left, place] = segment[
                        first - offset : last - offset, begin - j * width : end - j * width
                    ]
        self._segments = used  # the next window begins with the last strips of this one
        return values

    def _plain_rows(self, page: Page, index: int, first: int, count: int) -> np.ndarray:
        """Rows of a strip that is stored as it is, without reading the others."""
        keyframe = self.page
        samples = 1 if keyframe.planarconfig == 2 else keyframe.samplesperpixel
        stored = np.dtype(keyframe.dtype).newbyteorder(keyframe.parent.byteorder)
        row = keyframe.imagewidth * samples * stored.itemsize
        data = _bytes(page, page.dataoffsets[index] + first * row, count * row)
        return np.frombuffer(data, stored).reshape(count, keyframe.imagewidth, samples)

    def _truncated(self, plane: int, window: tuple[int, int, int, int]) -> np.ndarray | None:
        """A window of a plane that has no directory of its own: ImageJ's, beyond 4 GB."""
        series, page = self._series, self.page
        if not series.is_truncated:
            return None
        top, bottom, left, right = window
        stored = np.dtype(page.dtype).newbyteorder(page.parent.byteorder)
        row = page.imagewidth * page.samplesperpixel * stored.itemsize
        start = (series.dataoffset or 0) + (plane * page.imagelength + top) * row
        _check_end(start + (bottom - top) * row, self._file.filehandle.size)
        data = _bytes(page, start, (bottom - top) * row)
        shape = (bottom - top, page.imagewidth, page.samplesperpixel)
        return np.frombuffer(data, stored).reshape(shape)[:, left:right]

    def _read_with_pillow(self, plane: int) -> np.ndarray:
        key = plane, -1
        if key not in self._segments:
            if _is_plain_chroma(self.page):
                pixels = self._from_plain_chroma(plane)
            else:
                pixels = self._decoded_by_pillow(plane)
            self._segments = {key: pixels.reshape(*pixels.shape[:2], -1)}
        return self._segments[key]

    def _decoded_by_pillow(self, plane: int) -> np.ndarray:
        page = self._series.pages[plane]
        with PIL.Image.open(self._path, formats=["TIFF"]) as file:
            file.seek(page.index if page is not None else 0)
            mode = {1: "L", 3: "RGB", 4: "RGBA"}[self.page.samplesperpixel]
            pixels = np.array(file.convert(mode))
        return _turned_back(pixels, self.page.tags.valueof(274, default=1))

    def _from_plain_chroma(self, plane: int) -> np.ndarray:
        """What Pillow before 13 takes for cut short."""
        height, width = self.header.height, self.header.width
        stored = self._decoded(plane, (0, height, 0, width))
        return np.array(
            PIL.Image.frombytes("YCbCr", (width, height), stored.tobytes()).convert("RGB")
        )


def _is_plain_chroma(page: tifffile.TiffPage) -> bool:
    """Whether each pixel has its own luma and chroma, stored as they are."""
    thinned = page.tags.valueof(530, default=(2, 2))
    return _is_plain(page) and page.samplesperpixel == 3 and thinned == (1, 1)


def _turned_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as stored: Pillow turns what it decodes, and the tag that asks for it stays."""
    return turned(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Whether strips hold rows as they are in memory but for the byte order."""
    plain = (page.compression, page.predictor, page.fillorder) == (1, 1, 1)
    return plain and not page.is_tiled and page.bitspersample == 8 * np.dtype(page.dtype).itemsize


def _segment_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip or page.imagelength, page.imagelength), page.imagewidth


def _decode(page: Page, keyframe: tifffile.TiffPage, index: int) -> np.ndarray:
    """A strip or tile, (h, w, samples)."""
    length, width = _segment_shape(keyframe)
    count = page.databytecounts[index]
    samples = keyframe.samplesperpixel if keyframe.planarconfig == 1 else 1
    if not count:
        return np.zeros((length, width, samples), keyframe.dtype)
    data = _bytes(page, page.dataoffsets[index], count)
    tables: dict[str, Any] = {}
    if keyframe.compression in _JPEGS:
        tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
    segment, _, shape = keyframe.decode(data, index, **tables)
    if segment is None:
        raise ValueError(f"strip or tile {index} has no data")
    return segment.reshape(-1, *segment.shape[-2:])[: shape[1], : shape[2]]


def _bytes(page: Page, offset: int, count: int) -> bytes:
    file = page.parent.filehandle  # of an OME-TIFF in several files, the one that this page is in
    if file.closed:
        file.open()
    file.seek(offset)
    return file.read(count)


# Before anything is decoded.


def _check_chain(path: Path) -> None:
    """Refuse directories that name an earlier one as the next: a reader would never end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = {b"I": "<", b"M": ">"}[file.read(1)]
        file.seek(2)
        (version,) = struct.unpack(f"{order}H", file.read(2))
        number, count, entry = ("Q", "Q", 20) if version == 43 else ("I", "H", 12)
        width = struct.calcsize(number)
        place, seen = 8 if version == 43 else 4, set()
        while True:
            file.seek(place)
            (offset,) = struct.unpack(order + number, file.read(width))
            if offset == 0 or offset >= size:
                return
            if offset in seen:
                raise UnusableError(
                    f"is damaged (its directory {len(seen)} names an earlier one as the next); "
                    "copy or save it again"
                )
            seen.add(offset)
            file.seek(offset)
            (entries,) = struct.unpack(order + count, file.read(struct.calcsize(count)))
            place = offset + struct.calcsize(count) + entries * entry
            if place + width > size:
                return


def _main_series(file: tifffile.TiffFile) -> tuple[tifffile.TiffPageSeries, tuple[str, ...]]:
    """The pages that make up the image, and notes on those that are left out: previews of it.

    Raises:
        UnusableError: there are pages that are as important and of other sizes.
    """
    _check_page_count(file)
    all_series = [series for series in file.series if math.prod(series.shape)]
    if not all_series:
        raise UnusableError("has no pixels (no page of it has any); save it again")
    main = max(all_series, key=lambda series: series.keyframe.size)
    for other in all_series:
        reduced = other.keyframe.is_reduced or _PREVIEW * other.keyframe.size <= main.keyframe.size
        if other is not main and not reduced:
            sizes = " and ".join(
                f"{each.keyframe.imagewidth} x {each.keyframe.imagelength}"
                for each in (main, other)
            )
            raise UnusableError(
                f"holds images of different kinds or sizes ({sizes}); "
                "save the one you want as a file of its own"
            )
    left_out = sum(len(series.pages) for series in all_series) - len(main.pages)
    notes = [f"{left_out} smaller page{'s' * (left_out > 1)} left out"] if left_out else []
    if main.is_pyramidal:
        levels = len(main.levels) - 1
        notes.append(f"{levels} smaller level{'s' * (levels > 1)} left out")
    return main, tuple(notes)


def _check_page_count(file: tifffile.TiffFile) -> None:
    first = file.pages.first
    check_size(first.imagewidth, first.imagelength)
    if first.imagedepth > 1:
        raise UnusableError(f"holds a page of {first.imagedepth} planes; save it as a stack")


def _is_raw(file: tifffile.TiffFile) -> bool:
    first = file.pages.first
    if 50706 in first.tags:  # DNGVersion
        return True
    inner = first.pages if first.subifds else None
    kinds = [page.aspage().photometric for page in inner or ()]
    raw = (_PHOTOMETRIC.CFA, _PHOTOMETRIC.LINEAR_RAW)
    return any(kind in raw for kind in [first.photometric, *kinds])


def _check_page(page: tifffile.TiffPage) -> None:
    check_size(page.imagewidth, page.imagelength)
    if page.dtype is None:
        raise UnusableError("has samples of a size that can't be read; save it with 8 or 16 bits")
    if page.dtype.kind not in "uifb":
        raise UnusableError(f"has {page.dtype} pixels; save it as 8-bit, 16-bit or 32-bit float")


def _check_data(page: Page, keyframe: tifffile.TiffPage) -> None:
    """Refuse what tifffile would fill up with zeros, before it takes the memory for them."""
    offsets, counts = page.dataoffsets, page.databytecounts
    end = max((offset + count for offset, count in zip(offsets, counts, strict=True)), default=0)
    _check_end(end, page.parent.filehandle.size)
    bits = keyframe.imagewidth * keyframe.imagelength * keyframe.samplesperpixel
    check_growth(
        keyframe.imagewidth,
        keyframe.imagelength,
        bits * keyframe.bitspersample // 8,
        sum(counts),
        _MOST_GROWTH.get(keyframe.compression, _MOST_GROWTH_ELSE),
    )


def _check_end(end: int, file_size: int) -> None:
    if end > file_size:
        raise UnusableError(
            f"is cut short (its pixels end at byte {end}, the file at {file_size}); "
            "copy or save it again"
        )


def _needs_pillow(page: tifffile.TiffPage) -> bool:
    if page.compression == 6:
        return True
    if page.photometric == _PHOTOMETRIC.YCBCR and page.compression not in _JPEGS:
        return page.bitspersample == 8
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise UnusableError(
            f"has pixels packed as {getattr(page.compression, 'name', page.compression)}, "
            "which can't be read; save the image uncompressed"
        )
    return False

"""Cameras' raw files, by LibRaw: the light that each pixel of the sensor caught, of one colour.

Denoised before demosaicing: there each pixel's noise is its own, grows with the light along a
straight line, and is what the networks that are told the noise were trained for. Demosaicing smears
it over the neighbours and from colour to colour. `python -m benchmarks.raw` compares the two.

The four pixels of the mosaic's pattern are four planes of half the size. When all are denoised they
are put back, and LibRaw develops the picture: the camera's white balance, sRGB, 16 bits. Sensors
with another pattern than 2 x 2 (X-Trans, Foveon) are developed first, and denoised in linear light.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from noise2noise.files import exif
from noise2noise.files.colour import srgb, srgb_curve
from noise2noise.files.exif import Entry
from noise2noise.files.extras import needed
from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_growth, check_size
from noise2noise.files.stack import ArrayStack, Finish, Header, Held, Metadata, Stack, whole_planes
from noise2noise.files.unheard import unheard

_COMPLAINTS = ("data corrupted at", "Unexpected end of file")  # LibRaw's, of a file that it reads
_MAGIC = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
_TIFFS = (b"II", b"MM")
_CANON = b"ftypcrx "
_MOST_GROWTH = 1040  # of deflate, which DNG may use
_ORIENTATIONS = {3: 3, 5: 8, 6: 6}  # LibRaw's number of a turn: EXIF's
_SHORT = 3


class _Raw(Format):
    name = "camera raw"
    suffixes = (".dng", ".nef", ".nrw", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef")
    suffixes += (".srw", ".3fr", ".iiq", ".x3f", ".mrw", ".erf", ".kdc", ".dcr")
    written_as = ".tif"

    def recognises(self, head: bytes) -> bool:
        """Those that look like a TIFF are left to TIFF, which tells them by what is in them."""
        return head.startswith(_MAGIC) or head[4:12] == _CANON

    def open(self, path: Path) -> Stack:
        with needed("raw", "a camera raw file"):
            import rawpy
        with unheard(*_COMPLAINTS):
            try:
                raw = rawpy.imread(str(path))
            except rawpy.LibRawFileUnsupportedError:
                raise UnusableError(
                    "is a camera raw file of a kind that LibRaw doesn't know; develop it to TIFF "
                    "first"
                ) from None
            try:
                return _opened(raw, path)
            except rawpy.LibRawTooBigError:
                raw.close()
                raise UnusableError(
                    "says that it holds more pixels than LibRaw decodes; copy or save it again"
                ) from None
            except BaseException:
                raw.close()
                raise


RAW = _Raw()


def _opened(raw: Any, path: Path) -> Stack:
    sizes = raw.sizes
    width, height = sizes.raw_width, sizes.raw_height
    check_size(width, height)
    check_growth(width, height, 2 * width * height, path.stat().st_size, _MOST_GROWTH)
    metadata = Metadata(exif=_exif(raw, path), icc_profile=srgb())
    pattern = raw.raw_pattern
    if raw.raw_type.name == "Flat" and pattern is not None and pattern.shape == (2, 2):
        return _Mosaic(raw, metadata, path)
    return _Developed(raw, metadata, path)


def _developed(raw: Any, bits: int, gamma: tuple[float, float]) -> np.ndarray:
    """(H, W, 3): the camera's white balance, sRGB's primaries, not turned, exposed as it was."""
    with unheard(*_COMPLAINTS):
        return raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            user_flip=0,
            output_bps=bits,
            gamma=gamma,
        )


class _Mosaic(Stack):
    """Four planes, one for each pixel of the pattern: black is 0, where the sensor is full is 1."""

    redrawn = True

    def __init__(self, raw: Any, metadata: Metadata, path: Path) -> None:
        self._raw, self._mosaic = raw, raw.raw_image_visible
        self._padded = _even(self._mosaic)
        colours = raw.raw_colors_visible[:2, :2].ravel()
        black = np.array(raw.black_level_per_channel, np.float32)[colours]
        self._black, self._range = black, raw.white_level - black
        if not (self._range > 0).all():
            raise UnusableError("is damaged (its black is brighter than its white); copy it again")
        height, width = (-(-size // 2) for size in self._mosaic.shape)
        notes = ("denoised before demosaicing",)
        header = Header(
            "CYX", (4, height, width), np.dtype(np.float32), notes=notes, metadata=metadata
        )
        super().__init__(header, path)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        top, left = divmod(plane, 2)
        stored = self._padded[top::2, left::2][rows, columns]
        return ((stored - self._black[plane]) / self._range[plane])[..., None]

    def result(self, holds: Callable[[Header], bool]) -> tuple[Header, Finish]:
        return _rgb(self.header, self._mosaic.shape, holds, self._demosaiced)

    def _demosaiced(self, bands: Iterable[np.ndarray], bits: int) -> Iterator[np.ndarray]:
        height, width = self._mosaic.shape
        top = np.iinfo(self._mosaic.dtype).max
        for plane, values in enumerate(whole_planes(self.header, bands)):
            row, column = divmod(plane, 2)
            stored = np.rint(values[..., 0] * self._range[plane] + self._black[plane])
            place = self._mosaic[row::2, column::2]
            place[...] = stored.clip(0, top)[: place.shape[0], : place.shape[1]]
        yield _developed(self._raw, bits, (2.4, 12.92))[:height, :width]

    @property
    def held(self) -> Held:
        """Developing takes four numbers of 16 bits a pixel, and those of the picture."""
        return Held(2 * self._mosaic.nbytes, 10 * self._mosaic.nbytes)

    def close(self) -> None:
        self._raw.close()


def _even(mosaic: np.ndarray) -> np.ndarray:
    """With a row or column more if it is odd: the last but one again, which has its colours."""
    odd = [size % 2 for size in mosaic.shape]
    return np.pad(mosaic, [(0, rest) for rest in odd], "reflect") if any(odd) else mosaic


class _Developed(ArrayStack):
    """Colours in linear light, for sensors without a pattern of 2 x 2."""

    redrawn = True

    def __init__(self, raw: Any, metadata: Metadata, path: Path) -> None:
        with raw:
            pixels = _developed(raw, 16, (1, 1)) / np.float32(65535)
        notes = ("denoised after demosaicing",)
        header = Header("YXS", pixels.shape, pixels.dtype, "rgb", notes=notes, metadata=metadata)
        super().__init__(header, pixels[None], path)

    def result(self, holds: Callable[[Header], bool]) -> tuple[Header, Finish]:
        return _rgb(self.header, self.header.shape[:2], holds, self._curved)

    def _curved(self, bands: Iterable[np.ndarray], bits: int) -> Iterator[np.ndarray]:
        dtype = np.dtype(f"u{bits // 8}")
        for band in bands:
            yield np.rint(srgb_curve(band.clip(0, 1)) * (2**bits - 1)).astype(dtype)


def _rgb(
    header: Header,
    shape: tuple[int, ...],
    holds: Callable[[Header], bool],
    finish: Callable[[Iterable[np.ndarray], int], Iterator[np.ndarray]],
) -> tuple[Header, Finish]:
    """A picture of 16 bits, or of 8 where the format has no more; `finish` is told how many."""
    deep = replace(header, axes="YXS", shape=(*shape, 3), dtype=np.dtype(np.uint16), colour="rgb")
    if holds(deep):
        return deep, lambda bands: finish(bands, 16)
    return replace(deep, dtype=np.dtype(np.uint8)), lambda bands: finish(bands, 8)


# What the camera wrote down.


def _exif(raw: Any, path: Path) -> bytes:
    """EXIF of the file itself, if it is built like a TIFF, or else of its preview, turned as LibRaw
    says that the picture is to be."""
    try:
        order, entries = _directory(path) or exif.read_block(_of_preview(raw))
    except Exception:  # none, or a damaged one: pixels are worth more
        order, entries = "<", ()
    kept = [
        entry
        for entry in entries
        if entry.code in exif.MAIN or (entry.code in exif.POINTERS and entry.directory)
    ]
    turn = struct.pack(f"{order}HH", _ORIENTATIONS.get(raw.sizes.flip, 1), 0)
    turned = Entry(exif.ORIENTATION, _SHORT, 1, turn[:2])
    kept = [entry for entry in kept if entry.code != exif.ORIENTATION]
    return exif.block([*kept, turned], order)


def _directory(path: Path) -> tuple[exif.Order, tuple[Entry, ...]] | None:
    with path.open("rb") as file:
        head = file.read(8)
        if not head.startswith(_TIFFS):
            return None
        order: exif.Order = "<" if head[:1] == b"I" else ">"
        (offset,) = struct.unpack(f"{order}I", head[4:])
        return order, exif.read_directory(file, offset, order)


def _of_preview(raw: Any) -> bytes:
    with PIL.Image.open(io.BytesIO(raw.extract_thumb().data), formats=["JPEG"]) as preview:
        return preview.info["exif"].removeprefix(b"Exif\0\0")

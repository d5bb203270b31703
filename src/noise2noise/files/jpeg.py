"""JPEG: 8 bits, grey, colour or CMYK; 12 bits, grey or colour, by imagecodecs.

What surrounds the pixels is a list of segments. Those that stay true when pixels change go into the
result as they are; the tables say how finely the file was quantized, and the result is as fine.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
from PIL.JpegImagePlugin import get_sampling

from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_size
from noise2noise.files.pillow import (
    INCH,
    encoded,
    open_with_pillow,
    refusal,
    resolution,
    save_options,
)
from noise2noise.files.stack import DecodedStack, Header, Metadata, Stack, whole_planes

Segment = tuple[int, bytes]
"""The second byte of its marker, and its data without the length."""

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_APP0, _APP1, _APP2, _APP13, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEF, 0xFE
# What others write again (JFIF, ICC, Adobe's colour transform), and what is no longer true: the
# index of other pictures in the file, and signatures (JUMBF).
_LEFT_OUT = (b"JFIF\0", b"JFXX\0", b"ICC_PROFILE\0", b"Adobe", b"MPF\0", b"JP")
_ICC, _PART = b"ICC_PROFILE\0", 65519  # bytes of a profile in one segment
_SCAN = 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_DEEP, _DEEP_WHITE = 12, 4095.0
_QUALITY = 95
# Never coarser than this: pixels that are denoised and quantized again lose twice.
_LEAST_QUALITY = 90


@dataclass(frozen=True)
class JpegLayout:
    """How a JPEG was quantized, and its comments and private segments.

    Attributes:
        tables: of quantization, 64 numbers each, by number.
        sampling: of colour, as Pillow numbers it: 0 4:4:4, 1 4:2:2, 2 4:2:0; -1 none of these.
        progressive: whether it is.
        segments: all that stay true when pixels change and that `Metadata` has no place for.
        bits: of a sample.
    """

    tables: dict[int, list[int]]
    sampling: int
    progressive: bool
    segments: tuple[Segment, ...]
    bits: int = 8


class _Jpeg(Format):
    name, suffixes = "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")
    without = ("cicp",)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"\xff\xd8\xff")

    def open(self, path: Path) -> Stack:
        deep = _deep_stack(path)
        return deep or open_with_pillow(path, "JPEG", _metadata, path)

    def refusal(self, header: Header) -> str:
        if header.colour == "cmyk":
            header = replace(header, colour="rgb")
        if _is_deep(header):
            header = replace(header, dtype=np.dtype(np.uint8))
        return refusal(self.name, header, alpha=False)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        metadata = header.metadata
        if _is_deep(header):
            path.write_bytes(_deep_file(header, bands))
            return
        options = save_options(metadata) | _quality(metadata)
        data = encoded(self.name, header, bands, **options)
        path.write_bytes(_with_segments(data, _segments(metadata)))


JPEG = _Jpeg()


def _metadata(file: Any, frames: int) -> Metadata:
    del frames
    info = file.info
    kept, xmp, photoshop = _sorted(_applications(file))
    layout = JpegLayout(
        {number: list(table) for number, table in file.quantization.items()},
        get_sampling(file),
        "progressive" in info,
        tuple(kept),
    )
    return Metadata(
        exif=(info.get("exif") or b"").removeprefix(_EXIF),
        icc_profile=info.get("icc_profile") or b"",
        resolution=_resolution(info),
        xmp=xmp,
        photoshop=photoshop,
        layout=layout,
    )


def _sorted(segments: Iterable[Segment]) -> tuple[list[Segment], bytes, bytes]:
    """Those that are kept as they are, XMP, and Photoshop's."""
    kept, xmp, photoshop = [], b"", b""
    for marker, body in segments:
        if marker == _APP1 and body.startswith(_XMP):
            xmp = body.removeprefix(_XMP)
        elif marker == _APP13 and body.startswith(_PHOTOSHOP):
            photoshop += body.removeprefix(_PHOTOSHOP)
        elif not body.startswith((_EXIF, *_LEFT_OUT)):
            kept.append((marker, body))
    return kept, xmp, photoshop


def _resolution(info: dict[str, Any]) -> tuple[float, float, int] | None:
    # Where neither JFIF nor EXIF names one, Pillow does.
    made_up = info.get("dpi") == (72, 72) and info.get("jfif_unit") not in (1, 2)
    if "dpi" in info and not made_up:
        return resolution(info["dpi"], INCH)
    if info.get("jfif_unit") == 0 and info.get("jfif_density") not in (None, (1, 1)):
        return resolution(info["jfif_density"], 1)
    return None


def _applications(file: Any) -> list[Segment]:
    """Application segments and comments, in the order of the file."""
    return [
        (_COMMENT if name == "COM" else _APP0 + int(name[3:]), bytes(body))
        for name, body in file.applist
    ]


def _quality(metadata: Metadata) -> dict[str, Any]:
    """How to quantize: as was asked for, or as finely as the source in everything, and never
    coarsely."""
    layout = metadata.layout
    if metadata.jpeg_quality is not None:
        return {"quality": metadata.jpeg_quality, "subsampling": "4:4:4"}
    if not isinstance(layout, JpegLayout):
        return {"quality": _QUALITY, "subsampling": "4:4:4"}
    least = _least_tables()
    tables = [
        [min(pair) for pair in zip(table, least[min(number, 1)], strict=True)]
        for number, table in sorted(layout.tables.items())
    ]
    options: dict[str, Any] = {"qtables": tables, "progressive": layout.progressive}
    if layout.sampling >= 0:
        options["subsampling"] = layout.sampling
    return options


@functools.cache
def _least_tables() -> tuple[list[int], list[int]]:
    """The tables of `_LEAST_QUALITY`, as libjpeg makes them: for brightness, and for colour."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=_LEAST_QUALITY)
    tables = PIL.Image.open(buffer).quantization  # type: ignore[attr-defined]
    return list(tables[0]), list(tables[1])


def _segments(metadata: Metadata) -> list[Segment]:
    segments: list[Segment] = []
    if metadata.xmp:
        segments.append((_APP1, _XMP + metadata.xmp))
    if metadata.photoshop:
        most = 2**16 - 3 - len(_PHOTOSHOP)
        for start in range(0, len(metadata.photoshop), most):
            segments.append((_APP13, _PHOTOSHOP + metadata.photoshop[start : start + most]))
    if isinstance(metadata.layout, JpegLayout):
        segments += metadata.layout.segments
    return segments


def _with_segments(data: bytes, segments: Sequence[Segment]) -> bytes:
    """A JPEG with more segments, after the application segments that it begins with."""
    position = 2
    while data[position + 1] in range(_APP0, _APP15 + 1):
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    parts = [
        struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        for marker, body in segments
        if len(body) < 2**16 - 2  # XMP from elsewhere may be longer, and goes without a place
    ]
    return data[:position] + b"".join(parts) + data[position:]


# 12 bits, which Pillow refuses.


def _is_deep(header: Header) -> bool:
    layout = header.metadata.layout
    deep = isinstance(layout, JpegLayout) and layout.bits > 8
    return deep and header.dtype == np.uint16 and header.colour in ("grey", "rgb")


def _deep_stack(path: Path) -> Stack | None:
    """A JPEG of 12 bits; None for all others."""
    data = path.read_bytes()
    segments = list(_before_pixels(data))
    frames = [body for marker, body in segments if marker in _FRAMES]
    if not frames or frames[-1][0] != _DEEP:
        return None
    height, width, samples = struct.unpack_from(">HHB", frames[-1], 1)
    check_size(width, height)
    if samples not in (1, 3):
        raise UnusableError(f"has {samples} samples of 12 bits; save it as grey or RGB")
    applications = [each for each in segments if each[0] == _COMMENT or each[0] & 0xF0 == _APP0]
    kept, xmp, photoshop = _sorted(applications)
    profile = sorted(body for _, body in applications if body.startswith(_ICC))
    blocks = [body for _, body in applications if body.startswith(_EXIF)]
    metadata = Metadata(
        exif=blocks[0].removeprefix(_EXIF) if blocks else b"",
        icc_profile=b"".join(body[len(_ICC) + 2 :] for body in profile),
        xmp=xmp,
        photoshop=photoshop,
        layout=JpegLayout({}, -1, False, tuple(kept), _DEEP),
    )
    header = Header(
        "YXS" if samples > 1 else "YX",
        (height, width, samples)[: 2 + (samples > 1)],
        np.dtype(np.uint16),
        "rgb" if samples > 1 else "grey",
        white=_DEEP_WHITE,
        metadata=metadata,
    )
    return DecodedStack(header, lambda: imagecodecs.jpeg8_decode(path.read_bytes()), path)


def _before_pixels(data: bytes) -> Iterator[Segment]:
    """All segments before the first scan, as far as they are whole."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, place + 1)
        if marker == _SCAN:
            return
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def _deep_file(header: Header, bands: Iterable[np.ndarray]) -> bytes:
    """The one plane as a JPEG of 12 bits."""
    (pixels,) = whole_planes(header, bands)
    pixels = pixels[..., 0] if header.samples == 1 else pixels
    deep = np.ascontiguousarray(np.minimum(pixels, np.uint16(_DEEP_WHITE)))
    metadata = header.metadata
    level = metadata.jpeg_quality or _QUALITY
    data = imagecodecs.jpeg8_encode(deep, level, bitspersample=_DEEP, subsampling="444")
    segments: list[Segment] = []
    if metadata.exif:
        segments.append((_APP1, _EXIF + metadata.exif))
    profile = metadata.icc_profile
    parts = [profile[start : start + _PART] for start in range(0, len(profile), _PART)]
    for number, part in enumerate(parts, 1):
        segments.append((_APP2, _ICC + bytes([number, len(parts)]) + part))
    return _with_segments(bytes(data), [*segments, *_segments(metadata)])

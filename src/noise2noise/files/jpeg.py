"""JPEG: 8 bits, grey, colour or CMYK.

What surrounds the pixels is a list of segments. Those that stay true when pixels change go into the
result as they are; the tables say how finely the file was quantized, and the result is as fine.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from PIL.JpegImagePlugin import get_sampling

from noise2noise.files.format import Format
from noise2noise.files.pillow import (
    INCH,
    encoded,
    open_with_pillow,
    refusal,
    resolution,
    save_options,
)
from noise2noise.files.stack import Header, Metadata, Stack

Segment = tuple[int, bytes]
"""The second byte of its marker, and its data without the length."""

_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_APP0, _APP1, _APP2, _APP13, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEF, 0xFE
# What others write again (JFIF, ICC, Adobe's colour transform), and what is no longer true: the
# index of other pictures in the file, and signatures (JUMBF).
_LEFT_OUT = (b"JFIF\0", b"JFXX\0", b"ICC_PROFILE\0", b"Adobe", b"MPF\0", b"JP")
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
    """

    tables: dict[int, list[int]]
    sampling: int
    progressive: bool
    segments: tuple[Segment, ...]


class _Jpeg(Format):
    name, suffixes = "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif")

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"\xff\xd8\xff")

    def open(self, path: Path) -> Stack:
        return open_with_pillow(path, "JPEG", _metadata, path)

    def refusal(self, header: Header) -> str:
        if header.colour == "cmyk":
            header = replace(header, colour="rgb")
        return refusal(self.name, header, alpha=False)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        metadata = header.metadata
        options = save_options(metadata) | _quality(metadata)
        data = encoded(self.name, header, bands, **options)
        path.write_bytes(_with_segments(data, _segments(metadata)))


JPEG = _Jpeg()


def _metadata(file: Any, frames: int) -> Metadata:
    del frames
    info, kept, xmp, photoshop = file.info, [], b"", b""
    for marker, body in _applications(file):
        if marker == _APP1 and body.startswith(_XMP):
            xmp = body.removeprefix(_XMP)
        elif marker == _APP13 and body.startswith(_PHOTOSHOP):
            photoshop += body.removeprefix(_PHOTOSHOP)
        elif not body.startswith((_EXIF, *_LEFT_OUT)):
            kept.append((marker, body))
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


def _resolution(info: dict[str, Any]) -> tuple[float, float, int] | None:
    if "dpi" in info:
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

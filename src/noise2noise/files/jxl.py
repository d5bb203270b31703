"""JPEG XL: 8 and 16 bits and floats, grey and colour; written without loss.

A file is either the bare code stream or a list of boxes, of which those with EXIF and XMP are moved
as they are. A picture that is to be shown turned is read turned, and written so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import imagecodecs
import numpy as np

from noise2noise.files.format import Format
from noise2noise.files.guard import check_size
from noise2noise.files.pillow import refusal
from noise2noise.files.stack import ArrayStack, Header, Metadata, Stack, whole_planes

_STREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width and height


class _Jxl(Format):
    name, suffixes = "JPEG XL", (".jxl",)

    def recognises(self, head: bytes) -> bool:
        return head.startswith((_STREAM, _CONTAINER))

    def open(self, path: Path) -> Stack:
        data = path.read_bytes()
        boxes = dict(_boxes(data)) if data.startswith(_CONTAINER) else {b"jxlc": data}
        check_size(*_size(boxes.get(b"jxlc") or boxes[b"jxlp"][4:]))
        pixels = imagecodecs.jpegxl_decode(data)
        if pixels.ndim > 3:
            pixels = pixels[0]  # of an animation
        pixels = pixels.reshape(1, *pixels.shape[:2], -1)
        samples = pixels.shape[-1]
        shape = pixels.shape[1:] if samples > 1 else pixels.shape[1:3]
        metadata = Metadata(exif=boxes.get(b"Exif", b"")[4:], xmp=boxes.get(b"xml ", b""))
        header = Header(
            "YXS"[: len(shape)],
            shape,
            pixels.dtype,
            "grey" if samples < 3 else "rgb",
            "straight" if samples in (2, 4) else "",
            metadata=metadata,
        )
        return ArrayStack(header, pixels, path)

    def refusal(self, header: Header) -> str:
        if header.dtype.str[1:] in ("u2", "f2", "f4"):
            header = Header(
                header.axes, header.shape, np.dtype(np.uint8), header.colour, header.alpha
            )
        return refusal(self.name, header, alpha=True)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        (pixels,) = whole_planes(header, bands)
        pixels = np.ascontiguousarray(pixels[..., 0] if header.samples == 1 else pixels)
        data = bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True))
        metadata = header.metadata
        if metadata.exif:
            data += _box(b"Exif", bytes(4) + metadata.exif)
        if metadata.xmp:
            data += _box(b"xml ", metadata.xmp)
        path.write_bytes(data)


JXL = _Jxl()


def _box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and bodies; of code streams in parts the first one is the last that is told."""
    position, found = 0, []
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        start = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = position + length if length else len(data)
        found.append((name, data[start:end]))
        if end <= position:
            break
        position = end
    yield from reversed(found)


def _size(stream: bytes) -> tuple[int, int]:
    """Width and height from the first bits of a code stream, least significant first."""
    bits, place = int.from_bytes(stream[2:16], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return bits >> (place - count) & (2**count - 1)

    def side(small: int) -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = side(small)
    ratio = take(3)
    if not ratio:
        return side(small), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height

"""PNG, animated PNG too: 8 and 16 bits, and every chunk that stays true when pixels change.

A PNG is a list of chunks. Decoders are given those alone that make up pixels, so that a broken
text or a huge profile doesn't keep anyone from the picture; the others are read here, and go into
the result as they are.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image

from noise2noise.files.cicp import Cicp, beyond_srgb
from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_growth, check_size
from noise2noise.files.pillow import INCH, encoded, open_with_pillow, picture, refusal, resolution
from noise2noise.files.stack import DecodedStack, Header, Held, Metadata, Stack, whole_planes

Chunk = tuple[bytes, bytes]
"""Its four letters and its data."""

_MAGIC = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT")
# Kept though they are "unsafe to copy": denoising changes nothing of what they say.
_COLOUR = (b"cHRM", b"gAMA", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi", b"sBIT")
_COMMON = (b"eXIf", b"iCCP", b"pHYs")  # which `Metadata` has places for
_XMP = b"XML:com.adobe.xmp\0"
_MOST_GROWTH = 1040  # of deflate
_METRES = 0.0254  # in an inch
_MOST_PROFILE = 2**26  # bytes; the largest in use have a few million


@dataclass(frozen=True)
class PngLayout:
    """Chunks that only PNG has, in the order of the file, and an animation's timing.

    Attributes:
        chunks: colour, text, private ones; all stand before the pixels.
        animation: options of Pillow's writer.
    """

    chunks: tuple[Chunk, ...]
    animation: dict[str, Any]


class _Png(Format):
    name, suffixes = "PNG", (".png", ".apng")
    without = ("photoshop",)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(_MAGIC[:4])

    def open(self, path: Path) -> Stack:
        data = path.read_bytes()
        chunks = list(_chunks(data))
        width, height, depth, kind = struct.unpack(">IIBB", chunks[0][1][:10])
        check_size(width, height)
        samples = {2: 3, 4: 2, 6: 4}.get(kind, 1)
        bits = width * height * samples * depth
        encoded_size = sum(len(body) for name, body in chunks if name in (b"IDAT", b"fdAT"))
        check_growth(width, height, bits // 8, encoded_size, _MOST_GROWTH)
        bare = _joined([chunk for chunk in chunks if chunk[0] in _PIXELS])
        if depth == 16:
            return _deep_stack(path, bare, chunks, samples)

        def describe(file: PIL.Image.Image, frames: int) -> Metadata:
            return _metadata(chunks, _animation(file, frames) if frames > 1 else {})

        return open_with_pillow(io.BytesIO(bare), "PNG", describe, path)

    def refusal(self, header: Header) -> str:
        if header.dtype == np.uint16 and header.planes == 1:
            header = _as_8_bits(header)
        return refusal(self.name, header, alpha=True, frames=True)

    def held(self, header: Header) -> Held:
        pixels = header.planes * header.plane_bytes
        return Held(pixels, 7 * pixels)  # the chunks, and what is joined from them

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        if header.planes > 1:
            data = _animated(header, bands)
        elif header.dtype == np.uint16:
            (pixels,) = whole_planes(header, bands)
            pixels = pixels[..., 0] if header.samples == 1 else pixels
            data = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6)
        else:
            data = encoded(self.name, header, bands)
        first, *rest = _chunks(bytes(data))
        rest = [chunk for chunk in rest if chunk[0] in _PIXELS]
        path.write_bytes(_joined([first, *_kept(header.metadata, header), *rest]))


PNG = _Png()


def _as_8_bits(header: Header) -> Header:
    return Header(header.axes, header.shape, np.dtype(np.uint8), header.colour, header.alpha)


def _deep_stack(path: Path, data: bytes, chunks: Sequence[Chunk], samples: int) -> Stack:
    """16 bits a sample, which Pillow would cut to 8 where there are several."""
    names = [name for name, _ in chunks]
    if b"acTL" in names:
        raise UnusableError("is an animation of 16 bits; save its frames as TIFF")
    samples += b"tRNS" in names and samples in (1, 3)  # a colour that is transparent becomes alpha
    width, height = struct.unpack(">II", chunks[0][1][:8])
    header = Header(
        "YXS" if samples > 1 else "YX",
        (height, width, samples) if samples > 1 else (height, width),
        np.dtype(np.uint16),
        "grey" if samples < 3 else "rgb",
        "straight" if samples in (2, 4) else "",
        metadata=_metadata(chunks, {}),
    )
    return DecodedStack(header, lambda: imagecodecs.png_decode(data), path)


def _chunks(data: bytes) -> Iterator[Chunk]:
    """All chunks; those that aren't needed for the pixels are left out if they are damaged.

    Raises:
        struct.error, ValueError: one that is needed is damaged, or the file ends before IEND.
    """
    position = len(_MAGIC)
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        name, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        position += length + 12
        whole = data[position - 4 : position] == struct.pack(">I", zlib.crc32(name + body))
        if whole:
            yield name, body
        elif name in _PIXELS:
            raise ValueError(f"the chunk {name!r} is cut short or altered")
        if name == b"IEND":
            return
    struct.unpack_from(">I", data, position)  # no end: raises


def _joined(chunks: Iterable[Chunk]) -> bytes:
    parts = [_MAGIC]
    for name, body in chunks:
        crc = struct.pack(">I", zlib.crc32(name + body))
        parts += [struct.pack(">I", len(body)), name, body, crc]
    return b"".join(parts)


def _metadata(chunks: Sequence[Chunk], animation: dict[str, Any]) -> Metadata:
    single, kept, xmp = {}, [], b""
    for name, body in chunks:
        if name in _COMMON:
            single[name] = body
        elif name == b"iTXt" and body.startswith(_XMP):
            xmp = _international_text(body)
        elif name not in _PIXELS and (name in _COLOUR or name[3] & 0x20):  # safe to copy
            kept.append((name, body))
    return Metadata(
        exif=single.get(b"eXIf", b"").removeprefix(b"Exif\0\0"),
        icc_profile=_profile(single.get(b"iCCP", b"")),
        resolution=_resolution(single.get(b"pHYs", b"")),
        xmp=xmp,
        cicp=beyond_srgb(_told(dict(kept).get(b"cICP", b""))),
        layout=PngLayout(tuple(kept), animation),
    )


def _told(body: bytes) -> Cicp | None:
    return (body[0], body[1]) if len(body) == 4 else None


def _profile(body: bytes) -> bytes:
    _, _, packed = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(packed[1:], _MOST_PROFILE) if packed else b""
    except zlib.error:  # viewers show a picture without its profile then
        return b""


def _international_text(body: bytes) -> bytes:
    """The text of an iTXt chunk: keyword 0 compressed, method, language 0 keyword 0 text."""
    _, _, rest = body.partition(b"\0")
    _, _, text = rest[2:].partition(b"\0")[2].partition(b"\0")
    return zlib.decompressobj().decompress(text, _MOST_PROFILE) if rest[:1] == b"\1" else text


def _resolution(body: bytes) -> tuple[float, float, int] | None:
    if len(body) != 9:
        return None
    x, y, unit = struct.unpack(">IIB", body)
    return resolution((_METRES * x, _METRES * y), INCH) if unit == 1 else resolution((x, y), 1)


def _kept(metadata: Metadata, header: Header) -> Iterator[Chunk]:
    """What stands between the header and the pixels of a new file."""
    if metadata.icc_profile:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.resolution:
        x, y, unit = metadata.resolution
        if unit != 1:
            x, y = (value / _METRES / (1 if unit == INCH else 1 / 2.54) for value in (x, y))
        if max(x, y) < 2**31:
            yield b"pHYs", struct.pack(">IIB", round(x), round(y), unit != 1)
    if metadata.xmp:
        yield b"iTXt", _XMP + b"\0\0\0\0" + metadata.xmp
    if isinstance(metadata.layout, PngLayout):
        for name, body in metadata.layout.chunks:
            if name != b"sBIT" or (len(body) == header.samples and not metadata.converted):
                yield name, body
    elif metadata.cicp:
        yield b"cICP", bytes([*metadata.cicp, 0, 1])


def _animation(file: PIL.Image.Image, frames: int) -> dict[str, Any]:
    """How Pillow is to write an animation that is like this one."""
    durations = []
    for frame in range(frames):
        file.seek(frame)
        durations.append(file.info.get("duration", 0))
    file.seek(0)
    return {
        "duration": durations,
        "loop": file.info.get("loop", 0),
        "default_image": file.info.get("default_image", False),
    }


def _animated(header: Header, bands: Iterable[np.ndarray]) -> bytes:
    layout = header.metadata.layout
    options = layout.animation if isinstance(layout, PngLayout) else {}
    first, *others = (picture(header, pixels) for pixels in whole_planes(header, bands))
    buffer = io.BytesIO()
    first.save(buffer, "PNG", save_all=True, append_images=others, blend=0, disposal=0, **options)
    return buffer.getvalue()

"""JPEG XL: 8 and 16 bits and floats, grey and colour; written without loss.

A file is either the bare code stream or a list of boxes, of which those with EXIF and XMP are moved
as they are. A picture that is to be shown turned is read turned, and written so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from noise2noise.files import exif, jxl_header
from noise2noise.files.cicp import beyond_srgb
from noise2noise.files.colour import srgb_curve
from noise2noise.files.format import Format, losses
from noise2noise.files.guard import UnusableError, check_size
from noise2noise.files.jxl_header import JxlHeader
from noise2noise.files.pillow import refusal
from noise2noise.files.stack import DecodedStack, Header, Metadata, Stack, whole_planes

_STREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"


@dataclass(frozen=True)
class JxlLayout:
    """Bits of a sample, and what its colours are said to be, as a `JxlHeader` has it."""

    bits: int
    colours: str | None


class _Jxl(Format):
    name, suffixes = "JPEG XL", (".jxl",)
    without = ("icc_profile", "photoshop")

    def recognises(self, head: bytes) -> bool:
        return head.startswith((_STREAM, _CONTAINER))

    def open(self, path: Path) -> Stack:
        said = jxl_header.header(_stream(path.read_bytes()))
        check_size(said.width, said.height)
        height, width = (said.height, said.width)[:: -1 if said.turned else 1]
        samples = said.samples
        header = Header(
            "YXS" if samples > 1 else "YX",
            (height, width, samples) if samples > 1 else (height, width),
            _dtype(said),
            "rgb" if not said.grey else "channels" if samples - said.alpha > 1 else "grey",
            "straight" if said.alpha else "",
            white=None if said.floats or said.bits in (8, 16) else float(2**said.bits - 1),
            notes=_notes(said),
            metadata=_metadata(path.read_bytes(), said),
        )
        return DecodedStack(header, lambda: _decoded(path, said, header.colours), path)

    def losses(self, header: Header) -> tuple[str, ...]:
        own = isinstance(header.metadata.layout, JxlLayout)
        return (*super().losses(header), *(() if own else losses(header, "cicp")))

    def refusal(self, header: Header) -> str:
        if header.dtype.str[1:] in ("u2", "f2", "f4"):
            header = Header(
                header.axes, header.shape, np.dtype(np.uint8), header.colour, header.alpha
            )
        return refusal(self.name, header, alpha=True)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        (pixels,) = whole_planes(header, bands)
        pixels = np.ascontiguousarray(pixels[..., 0] if header.samples == 1 else pixels)
        metadata, own = header.metadata, header.metadata.layout
        bits = own.bits if isinstance(own, JxlLayout) and _has_own_bits(header) else None
        data = imagecodecs.jpegxl_encode(
            pixels, lossless=True, usecontainer=True, bitspersample=bits
        )
        colours = own.colours if isinstance(own, JxlLayout) else None
        if colours is None and header.dtype.kind == "u" and header.colour == "rgb":
            colours = jxl_header.DEFAULT_COLOURS
        data = _recoloured(bytes(data), colours)
        if metadata.exif:
            data += _box(b"Exif", bytes(4) + metadata.exif)
        if metadata.xmp:
            data += _box(b"xml ", metadata.xmp)
        path.write_bytes(data)


JXL = _Jxl()


def _notes(said: JxlHeader) -> tuple[str, ...]:
    notes = []
    others = (1 if said.grey else 3) + said.extra - said.samples
    if others:
        notes.append(f"{others} other channel{'s' * (others > 1)} left out")
    if said.premultiplied:
        notes.append("its colours are no longer multiplied by its transparency")
    if not said.colours and said.linear and not said.floats:
        notes.append("its colours are sRGB's now, since its colour profile can't be read")
    elif not said.colours:
        notes.append("its colour profile can't be read and is left out")
    return tuple(notes)


def _dtype(said: JxlHeader) -> np.dtype:
    """What imagecodecs makes of so many bits."""
    if said.floats:
        return np.dtype(np.float16 if said.bits == 16 else np.float32)
    if said.bits > 16:
        raise UnusableError(f"has {said.bits} bits a sample; save it with 8 or 16 bits")
    return np.dtype(np.uint8 if said.bits <= 8 else np.uint16)


def _metadata(data: bytes, said: JxlHeader) -> Metadata:
    boxes = dict(_boxes(data)) if data.startswith(_CONTAINER) else {}
    # The code stream says how a picture is to be turned, whatever EXIF does.
    upright = exif.upright(boxes.get(b"Exif", b"")[4:])
    layout = JxlLayout(said.bits, said.colours)
    cicp = beyond_srgb(said.cicp)
    return Metadata(exif=upright, xmp=boxes.get(b"xml ", b""), cicp=cicp, layout=layout)


def _stream(data: bytes) -> bytes:
    """The code stream, or its first part."""
    if not data.startswith(_CONTAINER):
        return data
    boxes = dict(_boxes(data))
    return boxes.get(b"jxlc") or boxes[b"jxlp"][4:]


def _decoded(path: Path, said: JxlHeader, colours: int) -> np.ndarray:
    pixels = imagecodecs.jpegxl_decode(path.read_bytes())
    animated = pixels.ndim > 3
    pixels = pixels[0] if animated else pixels
    if said.grey and pixels.ndim == 3 and not said.alpha:  # each channel for itself
        return np.moveaxis(pixels, 0, -1)
    if said.premultiplied:
        pixels = _divided(pixels)
    return _in_srgb(pixels, said, colours) if said.linear and not said.floats else pixels


def _divided(pixels: np.ndarray) -> np.ndarray:
    """Colours that were multiplied by transparency, the last of the samples, as they were before;
    what is wholly transparent stays as it is."""
    top = 1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    clear = pixels[..., -1:].astype(np.float32)
    colours = pixels[..., :-1] * np.where(clear > 0, top / np.maximum(clear, 1e-6), 1)
    if pixels.dtype.kind != "f":
        colours = np.rint(colours).clip(0, top)
    return np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], -1)


def _in_srgb(pixels: np.ndarray, said: JxlHeader, colours: int) -> np.ndarray:
    """What was decoded as light on a linear scale, transparency left alone."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    top = np.float32(2**said.bits - 1)
    light = pixels[..., :colours].astype(np.float32) / top
    shown = np.rint(srgb_curve(light) * top).astype(pixels.dtype)
    return np.concatenate([shown, pixels[..., colours:]], -1)


def _has_own_bits(header: Header) -> bool:
    """Whether numbers have as many bits as in the source."""
    return header.dtype == np.uint16 and not header.metadata.converted


def _recoloured(data: bytes, colours: str | None) -> bytes:
    """A new file, bare or in boxes, with other words on its colours."""
    if colours is None:
        return data
    if not data.startswith(_CONTAINER):
        return jxl_header.recoloured(data, colours)
    parts = []
    for name, body in reversed(list(_boxes(data))):
        if name == b"jxlc":
            body = jxl_header.recoloured(body, colours)
        elif name == b"jxlp" and body[4:6] == _STREAM:
            body = body[:4] + jxl_header.recoloured(body[4:], colours)
        parts.append(_box(name, body))
    return b"".join(parts)


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

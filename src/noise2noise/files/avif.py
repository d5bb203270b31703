"""AVIF: 8 bits by Pillow, with metadata; 10 and 12 bits by imagecodecs, without, but for what
colours are. Those are read turned as they are to be shown, and written so."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image

from noise2noise.files import exif
from noise2noise.files.cicp import Cicp, beyond_srgb
from noise2noise.files.format import KEPT, Format, losses
from noise2noise.files.guard import UnusableError
from noise2noise.files.pillow import encoded, open_with_pillow, refusal, save_options
from noise2noise.files.stack import DecodedStack, Header, Metadata, Stack, whole_planes

_QUALITY = 95
_EXACT_ALPHA = {"alpha:lossless": "1"}  # as libaom takes it, for that part of a picture alone
_BRANDS = (b"avif", b"avis")
_CONFIGURATION = b"av1C"  # a box with the version, the profile, and bits that tell the bit depth
_COLOURS = b"colrnclx"  # a box with numbers of ITU-T H.273 behind it
_HIGH, _TWELVE, _GREY = 0x40, 0x20, 0x10


@dataclass(frozen=True)
class AvifLayout:
    """How a picture was stored.

    Attributes:
        bits: of a sample.
        colours: what they are said to be, as `cicp.py` has it.
        orientation: how it is to be turned, as EXIF numbers it.
    """

    bits: int
    colours: Cicp | None
    orientation: int = 1


class _Avif(Format):
    name, suffixes = "AVIF", (".avif",)
    without = ("photoshop",)

    def recognises(self, head: bytes) -> bool:
        return head[4:8] == b"ftyp" and head[8:12] in _BRANDS

    def open(self, path: Path) -> Stack:
        data = path.read_bytes()
        bits, grey = _kind(data)
        told = AvifLayout(bits, _colours(data))
        stack = open_with_pillow(path, "AVIF", lambda file, _: _metadata(file, told), path)
        if bits == 8:
            return stack
        with stack:
            header = stack.header
        if header.planes > 1:
            raise UnusableError(f"is an animation of {bits} bits; save its frames as TIFF")
        samples = (1 if grey else 3) + bool(header.alpha)
        metadata = header.metadata
        orientation = metadata.layout.orientation
        size = (header.height, header.width)[:: -1 if orientation > 4 else 1]
        deep = Header(
            "YXS" if samples > 1 else "YX",
            (*size, samples)[: 2 + (samples > 1)],
            np.dtype(np.uint16),
            "grey" if samples < 3 else "rgb",
            header.alpha,
            float(2**bits - 1),
            metadata=replace(metadata, exif=exif.upright(metadata.exif)),
        )
        return DecodedStack(deep, lambda: exif.turned(_decoded(path, samples), orientation), path)

    def refusal(self, header: Header) -> str:
        if _is_deep(header) and header.planes == 1:
            return ""
        return refusal(self.name, header, alpha=True)

    def losses(self, header: Header) -> tuple[str, ...]:
        if header.dtype != np.uint16:
            return super().losses(header)
        return losses(header, *(name for name in KEPT if name != "cicp"))

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        layout = header.metadata.layout
        own = isinstance(layout, AvifLayout)
        colours = layout.colours if own else header.metadata.cicp
        if own and _is_deep(header):
            (pixels,) = whole_planes(header, bands)
            pixels = pixels[..., 0] if header.samples == 1 else pixels
            pixels = np.ascontiguousarray(pixels)
            primaries, transfer = colours or (None, None)
            data = imagecodecs.avif_encode(
                pixels,
                _QUALITY,
                bitspersample=layout.bits,
                primaries=primaries,
                transfer=transfer,
            )
            path.write_bytes(data)
            return
        options = save_options(header.metadata) | {"quality": _QUALITY, "subsampling": "4:4:4"}
        if header.metadata.xmp:
            options["xmp"] = header.metadata.xmp
        if header.alpha:
            options["advanced"] = _EXACT_ALPHA
        data = encoded(self.name, header, bands, **options)
        path.write_bytes(_recoloured(data, colours) if colours else data)


AVIF = _Avif()


def _is_deep(header: Header) -> bool:
    """Whether it has more than 8 bits, as its source had."""
    layout = header.metadata.layout
    return header.dtype == np.uint16 and isinstance(layout, AvifLayout) and layout.bits > 8


def _colours(data: bytes) -> Cicp | None:
    """What colours are said to be."""
    place = data.find(_COLOURS)
    if not 0 <= place <= len(data) - len(_COLOURS) - 4:
        return None
    primaries, transfer = struct.unpack_from(">HH", data, place + len(_COLOURS))
    return primaries, transfer


def _recoloured(data: bytes, colours: Cicp) -> bytes:
    """A new file with other words on its colours: Pillow says of all that they are sRGB's."""
    before, box, after = data.partition(_COLOURS)
    return before + box + struct.pack(">HH", *colours) + after[4:] if box else data


def _kind(data: bytes) -> tuple[int, bool]:
    """Bits of a sample, and whether there is one colour."""
    place = data.find(_CONFIGURATION)
    flags = data[place + 6] if 0 <= place < len(data) - 6 else 0
    bits = 8 if not flags & _HIGH else 12 if flags & _TWELVE else 10
    return bits, bool(flags & _GREY)


def _decoded(path: Path, samples: int) -> np.ndarray:
    """Grey may come as colours, and the other way round."""
    pixels = imagecodecs.avif_decode(path.read_bytes(), index=0)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if samples == 1:
        return pixels[..., 0]
    return pixels[..., [0, -1]] if samples == 2 else pixels


def _metadata(file: PIL.Image.Image, told: AvifLayout) -> Metadata:
    """Pillow puts into EXIF how a picture is to be turned, whatever stood there."""
    orientation = file.getexif().get(exif.ORIENTATION, 1)
    return Metadata(
        exif=(file.info.get("exif") or b"").removeprefix(b"Exif\0\0"),
        icc_profile=file.info.get("icc_profile") or b"",
        xmp=file.info.get("xmp") or b"",
        cicp=None if file.info.get("icc_profile") else beyond_srgb(told.colours),
        layout=replace(told, orientation=orientation if orientation in range(1, 9) else 1),
    )

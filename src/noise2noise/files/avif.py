"""AVIF: 8 bits by Pillow, with metadata; 10 and 12 bits by imagecodecs, without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image

from noise2noise.files.format import Format
from noise2noise.files.guard import check_size
from noise2noise.files.pillow import encoded, open_with_pillow, refusal, save_options
from noise2noise.files.stack import ArrayStack, Header, Metadata, Stack, whole_planes

_QUALITY = 95
_EXACT_ALPHA = {"alpha:lossless": "1"}  # as libaom takes it, for that part of a picture alone
_BRANDS = (b"avif", b"avis")
_CONFIGURATION = b"av1C"  # a box with the version, the profile, and bits that tell the bit depth
_HIGH, _TWELVE = 0x40, 0x20


@dataclass(frozen=True)
class AvifLayout:
    """Bits of a sample."""

    bits: int


class _Avif(Format):
    name, suffixes = "AVIF", (".avif",)

    def recognises(self, head: bytes) -> bool:
        return head[4:8] == b"ftyp" and head[8:12] in _BRANDS

    def open(self, path: Path) -> Stack:
        stack = open_with_pillow(path, "AVIF", _metadata, path)
        data = path.read_bytes()
        bits = _bits(data)
        if bits == 8:
            return stack
        with stack:
            check_size(stack.header.width, stack.header.height)
        pixels = imagecodecs.avif_decode(data, index=0)
        pixels = pixels.reshape(1, *pixels.shape[:2], -1)
        samples = pixels.shape[-1]
        axes = "YXS" if samples > 1 else "YX"
        colour, alpha = (
            ("grey" if samples < 3 else "rgb"),
            ("straight" if samples in (2, 4) else ""),
        )
        shape = pixels.shape[1:] if samples > 1 else pixels.shape[1:3]
        metadata = Metadata(layout=AvifLayout(bits))
        white = float(2**bits - 1)
        header = Header(axes, shape, pixels.dtype, colour, alpha, white, metadata=metadata)
        return ArrayStack(header, pixels, path)

    def refusal(self, header: Header) -> str:
        layout = header.metadata.layout
        if header.dtype == np.uint16 and isinstance(layout, AvifLayout) and header.planes == 1:
            return ""
        return refusal(self.name, header, alpha=True)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        layout = header.metadata.layout
        if header.dtype == np.uint16 and isinstance(layout, AvifLayout):
            (pixels,) = whole_planes(header, bands)
            pixels = pixels[..., 0] if header.samples == 1 else pixels
            pixels = np.ascontiguousarray(pixels)
            data = imagecodecs.avif_encode(pixels, _QUALITY, bitspersample=layout.bits)
            path.write_bytes(data)
            return
        options = save_options(header.metadata) | {"quality": _QUALITY, "subsampling": "4:4:4"}
        if header.metadata.xmp:
            options["xmp"] = header.metadata.xmp
        if header.alpha:
            options["advanced"] = _EXACT_ALPHA
        path.write_bytes(encoded(self.name, header, bands, **options))


AVIF = _Avif()


def _bits(data: bytes) -> int:
    place = data.find(_CONFIGURATION)
    flags = data[place + 6] if 0 <= place < len(data) - 6 else 0
    return 8 if not flags & _HIGH else 12 if flags & _TWELVE else 10


def _metadata(file: PIL.Image.Image, frames: int) -> Metadata:
    del frames
    return Metadata(
        exif=(file.info.get("exif") or b"").removeprefix(b"Exif\0\0"),
        icc_profile=file.info.get("icc_profile") or b"",
        xmp=file.info.get("xmp") or b"",
    )

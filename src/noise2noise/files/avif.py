"""AVIF: 8 bits by Pillow, with metadata; 10 and 12 bits by imagecodecs, without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image

from noise2noise.files.format import KEPT, Format, losses
from noise2noise.files.guard import UnusableError
from noise2noise.files.pillow import encoded, open_with_pillow, refusal, save_options
from noise2noise.files.stack import DecodedStack, Header, Metadata, Stack, whole_planes

_QUALITY = 95
_EXACT_ALPHA = {"alpha:lossless": "1"}  # as libaom takes it, for that part of a picture alone
_BRANDS = (b"avif", b"avis")
_CONFIGURATION = b"av1C"  # a box with the version, the profile, and bits that tell the bit depth
_HIGH, _TWELVE, _GREY = 0x40, 0x20, 0x10


@dataclass(frozen=True)
class AvifLayout:
    """Bits of a sample."""

    bits: int


class _Avif(Format):
    name, suffixes = "AVIF", (".avif",)
    without = ("photoshop",)

    def recognises(self, head: bytes) -> bool:
        return head[4:8] == b"ftyp" and head[8:12] in _BRANDS

    def open(self, path: Path) -> Stack:
        stack = open_with_pillow(path, "AVIF", _metadata, path)
        bits, grey = _kind(path.read_bytes())
        if bits == 8:
            return stack
        with stack:
            header = stack.header
        if header.planes > 1:
            raise UnusableError(f"is an animation of {bits} bits; save its frames as TIFF")
        samples = (1 if grey else 3) + bool(header.alpha)
        deep = Header(
            "YXS" if samples > 1 else "YX",
            (header.height, header.width, samples)[: 2 + (samples > 1)],
            np.dtype(np.uint16),
            "grey" if samples < 3 else "rgb",
            header.alpha,
            float(2**bits - 1),
            metadata=replace(header.metadata, layout=AvifLayout(bits)),
        )
        return DecodedStack(deep, lambda: _decoded(path, samples), path)

    def refusal(self, header: Header) -> str:
        layout = header.metadata.layout
        if header.dtype == np.uint16 and isinstance(layout, AvifLayout) and header.planes == 1:
            return ""
        return refusal(self.name, header, alpha=True)

    def losses(self, header: Header) -> tuple[str, ...]:
        return losses(header, *KEPT) if header.dtype == np.uint16 else super().losses(header)

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


def _metadata(file: PIL.Image.Image, frames: int) -> Metadata:
    del frames
    return Metadata(
        exif=(file.info.get("exif") or b"").removeprefix(b"Exif\0\0"),
        icc_profile=file.info.get("icc_profile") or b"",
        xmp=file.info.get("xmp") or b"",
    )

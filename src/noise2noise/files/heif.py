"""HEIF: what phones write, HEVC in a box: 8, 10 and 12 bits, grey and colour.

Pictures that are to be shown turned are read turned, as the standard asks, and written so: their
EXIF says then that there is nothing to turn. Of several pictures the primary one is the one.
Transparency is written without loss, and colours with it; else as finely as can be with some.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from noise2noise.files import exif
from noise2noise.files.cicp import Cicp, beyond_srgb
from noise2noise.files.extras import missing, needed
from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_growth, check_size
from noise2noise.files.pillow import refusal
from noise2noise.files.stack import Header, Metadata, Stack, whole_planes

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF = b"avif"
_QUALITY, _LOSSLESS = 95, -1
_GROWTH = 1e5  # times its size that HEVC may grow: blocks of 64 x 64 in a few bits
_SAMPLES = {"L": 1, "I": 1, "LA": 2, "RGB": 3, "RGBA": 4, "RGBa": 4}
# Of what pillow-heif tells these stay true of other pixels, and are written by it.
_KEPT = ("content_light_level", "mastering_display_colour_volume", "pixel_aspect_ratio")
_KEPT += ("ambient_viewing_environment", "nominal_diffuse_white_luminance")
_NCLX = {
    "color_primaries": "color_primaries",
    "transfer_characteristics": "transfer_characteristic",
    "matrix_coefficients": "matrix_coefficients",
    "full_range_flag": "full_range_flag",
}


@dataclass(frozen=True)
class HeifLayout:
    """How a picture was stored.

    Attributes:
        bits: of a sample.
        chroma: how colour was sampled: 420, 422 or 444; None of grey.
        info: what only HEIF says of light and of pixels' shape.
        nclx: what colours are, by the numbers of ITU-T H.273, as pillow-heif's writer takes them.
    """

    bits: int
    chroma: int | None
    info: dict[str, Any] = field(default_factory=dict[str, Any])
    nclx: dict[str, int] = field(default_factory=dict[str, int])


class _Heif(Format):
    name, suffixes = "HEIF", (".heic", ".heif", ".hif")
    without, multiplied = ("photoshop",), True

    def recognises(self, head: bytes) -> bool:
        if head[4:8] != b"ftyp" or head[8:12] not in _BRANDS:
            return False
        length = int.from_bytes(head[:4], "big")
        return _AVIF not in head[8 : max(length, 12)]

    def open(self, path: Path) -> Stack:
        with needed("heif", "a HEIF picture"):
            import pillow_heif
        file = pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        picture = file[file.primary_index]
        width, height = picture.size
        check_size(width, height)
        check_growth(width, height, width * height, path.stat().st_size, _GROWTH)
        return _HeifStack(picture, _notes(picture.info, len(file)), path)

    def refusal(self, header: Header) -> str:
        lacking = missing("pillow_heif", "heif", self.name)
        if lacking:
            return lacking
        layout = header.metadata.layout
        if header.dtype == np.uint16 and isinstance(layout, HeifLayout) and layout.bits > 8:
            header = replace(header, dtype=np.dtype(np.uint8))
        return refusal(self.name, header, alpha=True)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        import pillow_heif

        (pixels,) = whole_planes(header, bands)
        if header.samples == 2:  # grey with transparency, which readers take for colour
            pixels = pixels[..., [0, 0, 0, 1]]
        metadata, own = header.metadata, header.metadata.layout
        layout = own if isinstance(own, HeifLayout) else HeifLayout(8, 420)
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
        mode = "RGBa" if header.alpha == "premultiplied" else mode
        if header.dtype == np.uint16:
            mode += f";{layout.bits}"
        file = pillow_heif.from_bytes(
            mode, (header.width, header.height), np.ascontiguousarray(pixels).tobytes()
        )
        options = {
            **layout.info,
            **(layout.nclx or _nclx(metadata.cicp)),
            "quality": _QUALITY,
            "chroma": layout.chroma or 420,
        }
        if header.alpha:
            options |= {"quality": _LOSSLESS, "chroma": 444, "matrix_coefficients": 0}
        options["exif"] = b"Exif\0\0" + metadata.exif if metadata.exif else None
        options["xmp"] = metadata.xmp or None
        if metadata.icc_profile:
            options |= {"icc_profile": metadata.icc_profile, "icc_profile_type": "prof"}
        buffer = io.BytesIO()
        file.save(buffer, **options)
        path.write_bytes(buffer.getvalue())


HEIF = _Heif()


class _HeifStack(Stack):
    """The primary picture, decoded when it is asked for."""

    def __init__(self, picture: Any, notes: tuple[str, ...], path: Path) -> None:
        kind, _, bits = str(picture.mode).partition(";")
        if kind not in _SAMPLES:
            raise UnusableError(f"has {kind} pixels; convert it to RGB or grey first")
        self._picture, self._samples = picture, _SAMPLES[kind]
        self._pixels = np.empty(0)
        width, height = picture.size
        deep = bool(bits)
        letters, shape = "YX", (height, width)
        if self._samples > 1:
            letters, shape = "YXS", (height, width, self._samples)
        depth = int(picture.info.get("bit_depth", 8)) if deep else 8
        header = Header(
            letters,
            shape,
            np.dtype(np.uint16 if deep else np.uint8),
            "grey" if self._samples < 3 else "rgb",
            {"A": "straight", "a": "premultiplied"}.get(kind[-1], ""),  # type: ignore[arg-type]
            white=float(2**depth - 1) if deep else None,
            notes=notes,
            metadata=_metadata(picture.info, depth),
        )
        super().__init__(header, path)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        if not self._pixels.size:
            values = np.asarray(self._picture)
            self._pixels = values.reshape(*values.shape[:2], -1)
        return self._pixels[rows, columns]

    def forget(self) -> None:
        self._pixels, self._picture = np.empty(0), None


def _notes(info: dict[str, Any], pictures: int) -> tuple[str, ...]:
    """What of the file is lost: other pictures, maps of depth and of brightness."""
    lost = []
    if pictures > 1:
        lost.append(f"{pictures - 1} other picture{'s' * (pictures > 2)}")
    if info.get("depth_images"):
        lost.append("its depth map")
    if any("gainmap" in str(kind) for kind in info.get("aux") or ()):
        lost.append("its HDR gain map")
    return (f"{' and '.join(lost)} left out",) if lost else ()


def _nclx(colours: Cicp | None) -> dict[str, int]:
    """What another format said of colours, for the writer."""
    if colours is None:
        return {}
    return dict(zip(("color_primaries", "transfer_characteristic"), colours, strict=True))


def _metadata(info: dict[str, Any], bits: int) -> Metadata:
    nclx = info.get("nclx_profile") or {}
    layout = HeifLayout(
        bits,
        info.get("chroma"),
        {name: info[name] for name in _KEPT if name in info},
        {name: int(nclx[told]) for told, name in _NCLX.items() if told in nclx},
    )
    return Metadata(
        exif=exif.upright((info.get("exif") or b"").removeprefix(b"Exif\0\0")),
        icc_profile=info.get("icc_profile") or b"",
        xmp=info.get("xmp") or b"",
        cicp=None if info.get("icc_profile") else beyond_srgb(_told(nclx)),
        layout=layout,
    )


def _told(nclx: dict[str, Any]) -> Cicp | None:
    if not nclx:
        return None
    return int(nclx["color_primaries"]), int(nclx["transfer_characteristics"])

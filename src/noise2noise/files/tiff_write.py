"""TIFF out: page by page, strip by strip, so that only a few rows are ever in memory."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from noise2noise.files import exif, ome, tiff_tags
from noise2noise.files.exif import Entry, Order
from noise2noise.files.guard import quiet
from noise2noise.files.stack import Header, Held, blocks_of, next_plane, whole_planes
from noise2noise.files.tiff_samples import moved
from noise2noise.files.tiff_tags import TiffLayout

_PHOTOMETRIC = tifffile.PHOTOMETRIC
# Lossless, and written here strip by strip: none, LZW, deflate thrice, PackBits, LZMA, ZSTD.
_COMPRESSIONS = (1, 5, 8, 32946, 50013, 32773, 34925, 50000)
_DEFLATE = 8
_SHORT, _LONG, _LONG8 = 3, 4, 16
_MOST_VALUE = 281  # MaxSampleValue
_CLASSIC = 2**32 - 2**25  # bytes: beyond, offsets need 64 bits
_BASIC: dict[int, int] = {
    _PHOTOMETRIC.RGB: 3,
    _PHOTOMETRIC.SEPARATED: 4,
}  # colours, without what is beside them
_ALPHAS = (1, 2)  # of ExtraSamples
_DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
_PLAIN = TiffLayout("<", False, 1, 1, 1, None, 0, 1, 1, (), None, (), lambda _: ())


def refusal(header: Header) -> str:
    """Why a TIFF can't hold this; "" if it can."""
    if header.dtype.str[1:] in _DTYPES:
        return ""
    return f"TIFF can't hold {header.dtype} pixels"


def losses(header: Header) -> tuple[str, ...]:
    """What is other than in the source: a compression that loses something isn't used again."""
    layout = header.metadata.layout
    if not isinstance(layout, TiffLayout) or layout.compression in _COMPRESSIONS:
        return ()
    name = tifffile.COMPRESSION(layout.compression).name.replace("_", " ")
    return (f"packed without loss, not as {name} again",)


def held(header: Header) -> Held:
    """What writing takes: a strip's rows, or all of a plane whose samples lie apart."""
    layout = header.metadata.layout
    separate = isinstance(layout, TiffLayout) and layout.planar == 2 and header.samples > 1
    if separate:
        return Held(header.plane_bytes, 2 * header.plane_bytes)
    length = layout.tile[0] if isinstance(layout, TiffLayout) and layout.tile else 0
    rows = max(length, _strip(header, layout if isinstance(layout, TiffLayout) else _PLAIN))
    strip = 3 * min(rows, header.height) * header.plane_bytes // header.height
    return Held(strip, strip)


def write(path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
    """Write all planes as pages, in the source's byte order, compression and chunks if it was a
    TIFF; without compression otherwise."""
    metadata = header.metadata
    own = metadata.layout if isinstance(metadata.layout, TiffLayout) else None
    order, foreign = _foreign_tags(metadata.exif) if own is None else (own.order, ())
    layout = own or _PLAIN
    size = header.planes * header.height * header.width * header.samples * header.dtype.itemsize
    big = layout.big or size > _CLASSIC
    rows = iter(bands)
    directories = []
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=big) as file:
        for plane in range(header.planes):
            entries = own.tags(plane) if own else foreign if plane == 0 else ()
            options = _options(header, layout, plane, entries, order)
            ordered = _in_order(next_plane(rows, header.height), header, layout)
            data = _segments(ordered, header, layout, order)
            if plane == 0 or own:
                options["extratags"] = _extra_tags(header, entries, own is None, big, plane)
            file.write(data, **options)
            directories.append([entry for entry in entries if entry.directory])
    if any(directories):
        _append_directories(path, directories, order, big)


def _options(
    header: Header, layout: TiffLayout, plane: int, entries: tuple[Entry, ...], order: Order
) -> dict[str, Any]:
    """What tifffile is told of a page."""
    metadata, samples = header.metadata, header.samples
    compression, predictor = _packing(header, layout)
    separate = layout.planar == 2 and samples > 1
    shape = (header.height, header.width)
    if samples > 1:
        shape = (samples, *shape) if separate else (*shape, samples)
    options: dict[str, Any] = {
        "shape": shape,
        "dtype": header.dtype.newbyteorder(order),
        "photometric": _photometric(header, layout),
        "compression": compression,
        "predictor": predictor if predictor > 1 else None,
        "software": False,
        "metadata": None,
        "contiguous": False,
    }
    if samples > 1:
        options["planarconfig"] = "separate" if separate else "contig"
        options["extrasamples"] = _extra_samples(header, layout)
    if layout.colormap is not None:
        options["colormap"] = layout.colormap
    if layout.tile:
        options["tile"] = layout.tile
    else:
        options["rowsperstrip"] = _strip(header, layout)
    if metadata.resolution is not None:
        *options["resolution"], options["resolutionunit"] = metadata.resolution
    if plane == 0:
        options["iccprofile"] = metadata.icc_profile or None
        options["description"] = _description(header, layout)
    else:
        texts = [entry.data for entry in entries if entry.code == tiff_tags.DESCRIPTION]
        options["description"] = texts[0].rstrip(b"\0") if texts else None
    return options


def _description(header: Header, layout: TiffLayout) -> bytes | None:
    """The source's, where its shape and dtype are still true, or can be made so."""
    metadata = header.metadata
    if metadata.described is None or metadata.described[0] != header.shape:
        return None if isinstance(metadata.layout, TiffLayout) else ome.described(header)
    own = layout.descriptions[0].rstrip(b"\0") if layout.descriptions else b""
    text = own or metadata.description.encode()
    if not metadata.converted:
        return text if metadata.described[1] == header.dtype.str else None
    return tiff_tags.retyped(text, header.dtype)


def _packing(header: Header, layout: TiffLayout) -> tuple[int, int]:
    """Compression and predictor: those of the source if they lose nothing, else deflate."""
    if layout.compression not in _COMPRESSIONS:
        return _DEFLATE, 1
    predictor = layout.predictor
    wanted = {2: "ui", 3: "f"}.get(predictor, "")  # horizontal differences, and those of floats
    return layout.compression, predictor if header.dtype.kind in wanted else 1


def _photometric(header: Header, layout: TiffLayout) -> int:
    if header.colour in ("rgb", "cmyk", "lab"):
        kinds = {"rgb": _PHOTOMETRIC.RGB, "cmyk": _PHOTOMETRIC.SEPARATED}
        return kinds.get(header.colour, _lab(layout))
    if layout.colormap is not None and header.dtype == np.uint8:
        return _PHOTOMETRIC.PALETTE
    same = header.colour == "channels" and header.samples == layout.samples
    if same and layout.photometric in _BASIC and header.samples >= _BASIC[layout.photometric]:
        return layout.photometric  # colours or inks, and others beside them
    inverted = layout.photometric == _PHOTOMETRIC.MINISWHITE and header.dtype.kind == "u"
    return _PHOTOMETRIC.MINISWHITE if inverted else _PHOTOMETRIC.MINISBLACK


def _lab(layout: TiffLayout) -> int:
    wanted = layout.photometric == _PHOTOMETRIC.CIELAB
    return _PHOTOMETRIC.CIELAB if wanted else _PHOTOMETRIC.ICCLAB


def _extra_samples(header: Header, layout: TiffLayout) -> list[Any]:
    """Those of the source, where there are as many."""
    basic = 3 if header.colour == "lab" else 1
    basic = _BASIC.get(_photometric(header, layout), basic)
    if layout.extra and len(layout.extra) == header.samples - basic:
        return [*layout.extra]
    extra = ["unspecified"] * (header.colours - basic)
    kinds = {"straight": ["unassalpha"], "premultiplied": ["assocalpha"]}
    return extra + kinds.get(header.alpha, [])


def _in_order(
    bands: Iterable[np.ndarray], header: Header, layout: TiffLayout
) -> Iterable[np.ndarray]:
    """Bands with transparency where the source has it, which others may follow there."""
    extra = _extra_samples(header, layout) if header.alpha else []
    place = next((i for i, kind in enumerate(extra) if kind in _ALPHAS), len(extra) - 1)
    behind = len(extra) - 1 - place
    return (moved(band, -1, -1 - behind) for band in bands) if behind > 0 else bands


def _strip(header: Header, layout: TiffLayout) -> int:
    """Rows of a strip; by default what has about 256 KB."""
    if layout.rows:
        return min(layout.rows, header.height)
    row = header.width * header.samples * header.dtype.itemsize
    return min(max(1, 2**18 // row), header.height)


# Pixels as bytes.


def _segments(
    bands: Iterable[np.ndarray], header: Header, layout: TiffLayout, order: Order
) -> Iterator[bytes]:
    """The strips or tiles of a page, packed."""
    parts = [bands]
    if layout.planar == 2 and header.samples > 1:  # the planes of the samples follow each other
        one = Header("YXS", (header.height, header.width, header.samples), header.dtype)
        (pixels,) = whole_planes(one, bands)
        parts = [[pixels[..., sample : sample + 1]] for sample in range(header.samples)]
    length, width = layout.tile or (_strip(header, layout), header.width)
    compression, predictor = _packing(header, layout)
    compress = tifffile.TIFF.COMPRESSORS[compression]
    predict = tifffile.TIFF.PREDICTORS[predictor]
    for part in parts:
        for block in blocks_of(part, length):
            values = _as_stored(block, header, layout).astype(header.dtype.newbyteorder(order))
            for left in range(0, header.width, width):
                piece = np.ascontiguousarray(values[:, left : left + width])
                if layout.tile:
                    missing = (length - piece.shape[0], width - piece.shape[1])
                    piece = np.pad(piece, [(0, rest) for rest in (*missing, 0)], "edge")
                if compression == 1:
                    yield piece.tobytes()
                elif predictor > 1:
                    yield bytes(compress(predict(piece, axis=-2)))
                else:
                    yield bytes(compress(piece.tobytes()))


def _as_stored(values: np.ndarray, header: Header, layout: TiffLayout) -> np.ndarray:
    """What a file with this photometric interpretation holds in the place of values."""
    kind = _photometric(header, layout)
    if kind == _PHOTOMETRIC.MINISWHITE:
        return np.iinfo(header.dtype).max - values
    if kind == _PHOTOMETRIC.CIELAB and header.dtype.kind == "u":
        sign = np.array([0, 1, 1], header.dtype) << (8 * header.dtype.itemsize - 1)
        return values ^ sign
    return values


# Tags.


def _foreign_tags(block: bytes) -> tuple[Order, tuple[Entry, ...]]:
    """The byte order of an EXIF block, and those of its tags that TIFF has too."""
    try:
        order, entries = exif.read_block(block)
    except Exception:  # no block, or a damaged one: cameras write them, and pixels are worth more
        return "<", ()
    return order, tuple(
        entry for entry in entries if entry.code in exif.MAIN or entry.code in exif.POINTERS
    )


def _extra_tags(
    header: Header, entries: tuple[Entry, ...], foreign: bool, big: bool, plane: int
) -> list[tuple[int | str, int, int, Any, bool]]:
    """Tags as tifffile takes them; pointers to directories get their place later."""
    metadata = header.metadata
    tags: list[tuple[int | str, int, int, Any, bool]] = [
        (entry.code, entry.kind, entry.count, entry.data, False)
        for entry in tiff_tags.kept(entries)
        if not (metadata.converted and entry.code in tiff_tags.LIMITS)
    ]
    if metadata.converted and header.white is not None and header.white < 2**16:
        tags.append((_MOST_VALUE, _SHORT, 1, int(header.white), False))
    if foreign and plane == 0:
        texts = {tiff_tags.XMP: metadata.xmp, tiff_tags.PHOTOSHOP: metadata.photoshop}
        tags += [(code, 1, len(data), data, False) for code, data in texts.items() if data]
    names = {exif.EXIF: "ExifTag", exif.GPS: "GPSTag", exif.INTEROPERABILITY: "InteroperabilityTag"}
    kind = _LONG8 if big else _LONG
    tags += [(names[entry.code], kind, 1, 0, False) for entry in entries if entry.directory]
    return tags


def _append_directories(path: Path, pages: list[list[Entry]], order: Order, big: bool) -> None:
    """Write directories at the end, and their places into the tags that wait for them."""
    number = "Q" if big else "I"
    with quiet(), tifffile.TiffFile(path) as file:
        offsets = [page.offset for page in file.pages]
    with path.open("r+b") as file:
        for offset, entries in zip(offsets, pages, strict=True):
            if not entries:
                continue
            places = {code: place for place, code, *_ in exif.fields(file, offset, order, big)}
            for entry in entries:
                end = file.seek(0, 2)
                end += file.write(b"\0" * (end % 2))
                file.write(exif.pack_directory(entry.directory, end, order, big))
                file.seek(places[entry.code])
                file.write(struct.pack(order + number, end))

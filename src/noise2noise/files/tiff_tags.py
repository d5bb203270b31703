"""Which of a TIFF's tags stay, and how: what describes the pixels' storage is written anew, what is
only true of this file or of other pixels is dropped, and everything else is moved as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tifffile

from noise2noise.files import exif, ome
from noise2noise.files.exif import Entry, Order
from noise2noise.files.pillow import INCH, resolution
from noise2noise.files.stack import Metadata, Step

DESCRIPTION, ICC, XMP, PHOTOSHOP = 270, 34675, 700, 34377
_NODATA = 42113
LIMITS = {280, 281, 340, 341}
"""The smallest and largest values of samples."""
SHAPED = (b'{"shape":', b"shape=")
"""How the descriptions begin that tifffile makes up by itself."""

# How the pixels are stored (tifffile writes those), and how they are packed.
_STORAGE = {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 282, 283}
_STORAGE |= {284, 288, 289, 290, 291, 292, 293, 296, 301, 317, 320, 322, 323, 324, 325, 326, 327}
_STORAGE |= {328, 330, 338, 339, 342, 347, *range(512, 522), 529, 530, 531, 532, 32997, 32998}
# Written by other means.
_APART = {DESCRIPTION, ICC, *exif.POINTERS}
# Layers and previews of the old pixels; LSM's directory of places in the file; pyramid of NDPI.
_STALE = {37724, 34412, 50706}


@dataclass(frozen=True)
class TiffLayout:
    """How a TIFF was stored.

    Attributes:
        order: of bytes, < or >.
        big: BigTIFF.
        compression, predictor, planar: as TIFF numbers them.
        tile: rows and columns of a tile, or None.
        rows: of a strip.
        photometric: as TIFF numbers it; also 0, white is zero.
        samples: of a pixel.
        extra: what those beyond the colours are, as TIFF numbers it.
        colormap: (3, entries) of a look-up table that is only for show (ImageJ's).
        descriptions: the raw ImageDescriptions of the first page.
        tags: of page number p, asked for while the file is open: private tags as they are, EXIF and
            GPS directories.
    """

    order: Order
    big: bool
    compression: int
    predictor: int
    planar: int
    tile: tuple[int, int] | None
    rows: int
    photometric: int
    samples: int
    extra: tuple[int, ...]
    colormap: np.ndarray | None
    descriptions: tuple[bytes, ...]
    tags: Callable[[int], tuple[Entry, ...]]


def metadata(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, shape: tuple[int, ...], dtype: str
) -> Metadata:
    """What a TIFF says.

    Arguments:
        file, series: open, and its main series of pages.
        shape, dtype: of the header, which the description is bound to.
    """
    page = series.keyframe
    order, big = file.byteorder, file.is_bigtiff
    first = _entries(page)

    def tags(plane: int) -> tuple[Entry, ...]:
        if plane == 0:
            return first
        try:
            other = series.pages[plane]
        except IndexError:  # a plane without a directory of its own
            return ()
        return _entries(other.aspage()) if other is not None else ()

    raw = tuple(entry.data for entry in first if entry.code == DESCRIPTION)
    stack = len(shape) > 3 or (len(shape) == 3 and shape[-1] != page.samplesperpixel)
    if not stack:
        raw = tuple(text for text in raw if not text.startswith(SHAPED))
    if file.is_ome and raw:
        raw = (_ome_of_one_file(raw[0], series, file.series.index(series)),)
    by_code = {entry.code: entry for entry in first}
    (x, x_unit), (y, y_unit) = (page.tags.valueof(tag, default=(0, 1)) for tag in (282, 283))
    unit = int(page.tags.valueof(296, default=INCH))
    layout = TiffLayout(
        order,
        big,
        int(page.compression),
        int(page.predictor),
        int(page.planarconfig),
        (page.tilelength, page.tilewidth) if page.is_tiled else None,
        page.rowsperstrip,
        int(page.photometric),
        page.samplesperpixel,
        tuple(map(int, page.extrasamples)),
        page.colormap if file.is_imagej else None,
        raw,
        tags,
    )
    return Metadata(
        exif=exif.block([entry for entry in first if _belongs_to_exif(entry)], order),
        icc_profile=by_code[ICC].data if ICC in by_code else b"",
        resolution=resolution((x / x_unit, y / y_unit), unit) if x_unit and y_unit else None,
        description=_text(raw[0]) if raw else "",
        described=(shape, dtype) if raw else None,
        xmp=by_code[XMP].data if XMP in by_code else b"",
        photoshop=by_code[PHOTOSHOP].data if PHOTOSHOP in by_code else b"",
        steps=_steps(file, x / x_unit if x_unit else 0, y / y_unit if y_unit else 0),
        channels=ome.channels_of_ome(file.ome_metadata or "") if file.is_ome else (),
        layout=layout,
    )


def _steps(file: tifffile.TiffFile, x: float, y: float) -> tuple[Step, ...]:
    if file.is_ome:
        return ome.steps_of_ome(file.ome_metadata or "")
    return ome.steps_of_imagej(file.imagej_metadata or {}, x, y) if file.is_imagej else ()


def white(file: tifffile.TiffFile, page: tifffile.TiffPage) -> float | None:
    """The largest value that samples are said to have, where that is less than their bits hold."""
    if page.dtype is None or page.dtype.kind != "u":
        return None
    bits = re.search(
        r'SignificantBits="(\d{1,2})"', (file.ome_metadata or "") if file.is_ome else ""
    )
    said = [page.tags.valueof(tag) for tag in (341, 281)]  # SMaxSampleValue, MaxSampleValue
    said.append(2 ** int(bits[1]) - 1 if bits else None)
    values = [max(np.atleast_1d(value)) for value in said if value]
    return float(max(values)) if values and max(values) < np.iinfo(page.dtype).max else None


def nodata(page: tifffile.TiffPage) -> float | None:
    """The value that stands for no value, as GDAL says it; None if there is none."""
    said = page.tags.valueof(_NODATA)
    try:
        return None if said is None else float(str(said).strip("\0 "))
    except ValueError:
        return None


def _belongs_to_exif(entry: Entry) -> bool:
    # Empty text and orientations that there aren't say nothing.
    said = entry.code in exif.MAIN and bool(entry.data.strip(b"\0"))
    return said or entry.code in exif.POINTERS


def _entries(page: tifffile.TiffPage) -> tuple[Entry, ...]:
    """The raw tags of a page, but for those that say how pixels are stored."""
    file = page.parent.filehandle
    with file.lock:
        if file.closed:
            file.open()
        source = page.parent
        found = exif.read_directory(file, page.offset, source.byteorder, source.is_bigtiff)
    return tuple(entry for entry in found if entry.code not in _STORAGE | _STALE)


def kept(entries: tuple[Entry, ...]) -> list[Entry]:
    """Of a page's tags those that go into the new page as they are."""
    return [entry for entry in entries if entry.code not in _APART]


def _text(raw: bytes) -> str:
    """Should be ASCII, and is UTF-8 or, in older files, Windows' Western characters."""
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _ome_of_one_file(text: bytes, series: tifffile.TiffPageSeries, number: int) -> bytes:
    """OME-XML for the planes of series `number` alone, one after the other in the same file.

    As it is where that is true already. Otherwise the list of where planes lie is replaced by "all
    in order", which is what an empty TiffData says, and other images are taken out.
    """
    in_order = all(
        page is not None and page.parent is series.keyframe.parent and page.index == place
        for place, page in enumerate(series.pages)
    )
    images = re.findall(rb"<Image\b.*?</Image>", text, re.DOTALL)
    if in_order and len(images) == 1:
        return text
    own = images[number] if number < len(images) else images[0]
    for image in images:
        if image is not own:
            text = text.replace(image, b"")
    one = re.sub(rb"<TiffData\b[^>]*/>|<TiffData\b.*?</TiffData>", b"", own, flags=re.DOTALL)
    one = re.sub(rb"(</Pixels>)", rb"<TiffData/>\1", one)
    letters = [letter for letter in reversed(series.axes) if letter in "ZCT"]
    letters += [letter for letter in "ZCT" if letter not in letters]
    dimension_order = b'DimensionOrder="XY' + "".join(letters).encode() + b'"'
    one = re.sub(rb'DimensionOrder="\w+"', dimension_order, one)
    text = text.replace(own, one)
    return re.sub(rb'(<OME\b[^>]*?)\s+UUID="[^"]*"', rb"\1", text)


def retyped(text: bytes, dtype: np.dtype) -> bytes | None:
    """A description for pixels of another dtype; None if it can't be one."""
    if b"<OME" not in text:
        imagej = text.startswith(b"ImageJ=")
        # ImageJ has no other types; its limits of display are values of the old one.
        if imagej and dtype.str[1:] in ("u1", "u2", "f4"):
            return re.sub(rb"^(?:min|max)=.*\n?", b"", text, flags=re.MULTILINE)
        return None if imagej else text
    if dtype.str[1:] not in ome.TYPES:
        return None
    named = b'Type="' + ome.TYPES[dtype.str[1:]].encode() + b'"'
    text = re.sub(rb'(<Pixels\b[^>]*?)\bType="[^"]*"', rb"\1" + named, text)
    return re.sub(rb'\s+SignificantBits="[^"]*"', b"", text)

"""Image files in and out: what came in - dtype, range, shape, metadata - comes out again.

Read: PNG, JPEG, TIFF, BMP, WebP, told apart by their content. Written: the same, chosen by suffix.

| in the file                         | in memory                                               |
|-------------------------------------|---------------------------------------------------------|
| grey of 1 to 8 bits                 | uint8 `(H, W)`                                          |
| palette                             | uint8 `(H, W, 3)`, and alpha if the palette has it      |
| colour, 8 bits                      | uint8 `(H, W, 3)`                                       |
| 16-bit grey PNG, 16-bit TIFF        | uint16                                                  |
| float TIFF (16, 32, 64 bits)        | float32                                                 |
| transparency                        | `alpha`, apart from the colours, never premultiplied    |
| TIFF planes or pages with axes CYX  | `(H, W, 3)` if there are three of them                  |
| white-is-zero TIFF                  | black is zero                                           |
| several pictures in a camera's JPEG | the first; the others are previews or depth maps        |

Refused, each with a sentence that says what to do: 16-bit colour PNG (Pillow would cut it to 8
bits), CMYK, more than one page or frame, other channel counts and dtypes, NaN and infinity, more
than 500 megapixels, and whatever is damaged.

Kept from file to file: the EXIF block (in TIFF its main tags: orientation, camera, date, author),
the ICC profile, the resolution, and a TIFF's description, which is where microscopes keep their
pixel size. BMP holds the resolution only. Pixels stay as they are stored and the EXIF orientation
is kept, so that viewers turn the picture as they did before.
"""

import contextlib
import io
import logging
import math
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import tifffile

from chainrule.serialization import replacing
from noise2noise.errors import UserError

MAX_PIXELS = 500_000_000
"""The largest image that is read, in pixels: five times the largest cameras."""

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WEBP",
}
SUFFIXES = frozenset(_FORMATS)
"""The suffixes of files that can be read and written, in lower case."""

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
_INCH, _CENTIMETRE = 2, 3  # values of TIFF's ResolutionUnit; 1 is "no unit"


@dataclass(frozen=True)
class Metadata:
    """What a file says about its pixels; `read_image` fills it in, `write_image` writes it.

    Attributes:
        exif: the EXIF block, without the marker `Exif\\0\\0` that JPEG puts before it.
        icc_profile: the ICC colour profile.
        resolution: pixels per unit along x and y, and the unit as TIFF numbers it: 1 none (a ratio,
            or a unit that the description names), 2 inch, 3 centimetre.
        description: a TIFF's ImageDescription.
        described: shape and dtype of the pixels that the description was written for. ImageJ and
            OME descriptions state them, so a description isn't written beside any others.
    """

    exif: bytes = b""
    icc_profile: bytes = b""
    resolution: tuple[float, float, int] | None = None
    description: str = ""
    described: tuple[tuple[int, ...], str] | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """An image as its file has it.

    Attributes:
        pixels: `(H, W)` grey or `(H, W, 3)` colour; uint8, uint16 or float32. Integers range over
            their whole dtype, floats over [0, 1] by convention (see `to_unit`).
        alpha: `(H, W)` of the same dtype, the largest value opaque; None without transparency.
        metadata: carried from file to file; `dataclasses.replace(image, pixels=...)` keeps it.

    Raises:
        ValueError: shapes or dtypes are others.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    metadata: Metadata = field(default=Metadata(), repr=False)

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if len(shape) != 2 and (len(shape) != 3 or shape[2] != 3):
            raise ValueError(f"expected pixels of shape (H, W) or (H, W, 3), got {shape}")
        if self.pixels.size == 0:
            raise ValueError(f"expected at least one pixel, got the shape {shape}")
        if dtype not in _DTYPES:
            raise ValueError(f"expected pixels of uint8, uint16 or float32, got {dtype}")
        if self.alpha is not None and (self.alpha.shape, self.alpha.dtype) != (shape[:2], dtype):
            raise ValueError(
                f"expected alpha of shape {shape[:2]} and {dtype}, "
                f"got {self.alpha.shape} and {self.alpha.dtype}"
            )


class _UnusableError(Exception):
    """A file that can't be used; the text goes on after the file's name."""


def read_image(path: str | Path) -> Image:
    """Read an image file; the module's table says what becomes of what.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something that can't be
            denoised as one image; one sentence that names the file and says what to do.
    """
    path = Path(path)
    try:
        head = _head(path)
        with _READING, _quiet():
            image = _decode(path, head)
        _check_finite(image)
    except _UnusableError as reason:
        raise UserError(f"{path} {reason}") from reason
    return image


def write_image(path: str | Path, image: Image, overwrite: bool = False) -> None:
    """Write an image file, whole or not at all, in the format that its suffix names.

    JPEG is written with quality 95 and full colour resolution (4:4:4), WebP lossless and always
    in colour, TIFF uncompressed. Metadata are written as far as the format holds them.

    Arguments:
        path: ends in one of `SUFFIXES`.
        image: what to write.
        overwrite: replace a file that stands at `path`; it stays untouched if anything fails.

    Raises:
        UserError: the suffix is unknown, the format can't hold these pixels or this transparency,
            the file exists and `overwrite` is false, or the disk refused.
    """
    path = Path(path)
    file_format = _format_for(path, image)
    try:
        with replacing(path, overwrite) as temporary:
            # Encoding in memory keeps apart what the format refuses and what the disk refuses.
            temporary.write_bytes(_encode(path, image, file_format))
    except FileExistsError:
        raise UserError(f"{path} exists already; choose another name or add --overwrite") from None
    except OSError as error:
        raise UserError(f"{path} could not be written: {error.strerror or error}") from error


def refuse_existing(destination: str | Path, overwrite: bool) -> None:
    """Say that a file is in the way before work is put into its replacement, not after.

    Raises:
        UserError: there is something at `destination`, and `overwrite` is false.
    """
    if Path(destination).exists() and not overwrite:
        raise UserError(f"{destination} exists already; choose another name or add --overwrite")


def list_images(folder: str | Path) -> list[Path]:
    """The image files directly in a folder, sorted by name: those whose suffix is in `SUFFIXES`.

    Upper and lower case are alike; hidden files (names that start with a dot) are left out.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"there is no folder {folder}; check the name")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file where a folder of images is needed")
    try:
        images = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()
        )
    except OSError as error:
        raise UserError(f"{folder} could not be listed: {error.strerror}") from error
    if not images:
        raise UserError(
            f"there is no image in {folder}; it needs files that end in {_suffixes_in_words()}"
        )
    return images


def to_unit(image: Image | np.ndarray) -> np.ndarray:
    """Pixels on the scale that networks work on.

    Arguments:
        image: an image (its alpha is left out), or pixels `(H, W)` or `(H, W, 3)`: uint8 or uint16,
            which are divided by 255 or 65535, or floats, which are taken as they are.

    Returns:
        float32 `(C, H, W)`, a new contiguous array, C = 1 or 3; in [0, 1] for integer pixels.

    Raises:
        UserError: float pixels that leave [-1, 2] or aren't finite.
        ValueError: another shape or dtype.
    """
    pixels = image.pixels if isinstance(image, Image) else image
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    pixels = Image(pixels).pixels
    if pixels.dtype == np.float32:
        _check_range(pixels)
        scale = 1
    else:
        scale = np.iinfo(pixels.dtype).max
    unit = np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.float32, order="C")
    unit /= scale
    return unit


def from_unit(unit: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """The inverse of `to_unit`: pixels of a file from what a network works on.

    Arguments:
        unit: `(1, H, W)` or `(3, H, W)`, floats, black 0 and white 1.
        dtype: uint8 or uint16, which are clipped to [0, 1] and rounded to the nearest step, or
            float32, which is not clipped.

    Returns:
        `(H, W)` or `(H, W, 3)`, a new contiguous array.

    Raises:
        UserError: values that aren't finite, which no integer can stand for.
        ValueError: another shape or dtype.
    """
    dtype = np.dtype(dtype)
    if unit.ndim != 3 or unit.shape[0] not in (1, 3):
        raise ValueError(f"expected an image of shape (1, H, W) or (3, H, W), got {unit.shape}")
    if dtype not in _DTYPES:
        raise ValueError(f"expected the dtype uint8, uint16 or float32, got {dtype}")
    pixels = unit[0] if unit.shape[0] == 1 else unit.transpose(1, 2, 0)
    if dtype == np.float32:
        return pixels.astype(np.float32, order="C")
    bad = np.count_nonzero(~np.isfinite(pixels))
    if bad:
        raise UserError(
            f"the image to be written has {bad} NaN or infinite values, "
            "so the model that made it is broken; choose another one"
        )
    scaled = np.clip(pixels, 0, 1)
    scaled *= np.iinfo(dtype).max
    return np.rint(scaled, out=scaled).astype(dtype, order="C")


def _check_range(pixels: np.ndarray) -> None:
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= -1 and high <= 2):  # false for NaN too
        raise UserError(
            f"float pixels must lie about in 0..1, and these range from {low:g} to {high:g}; "
            "scale them to 0..1, or save the image with 8 or 16 bits"
        )


def _suffixes_in_words() -> str:
    *first, last = _FORMATS
    return f"{', '.join(first)} or {last}"


# Reading. Pillow and tifffile say little things through warnings and logs, and Pillow limits sizes
# by a global: all three are set aside for the time of a reading, of which there is one at a time.

_READING = threading.RLock()
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"RIFF": "WEBP"}
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger, limit = logging.getLogger("tifffile"), PIL.Image.MAX_IMAGE_PIXELS
    disabled = logger.disabled
    logger.disabled, PIL.Image.MAX_IMAGE_PIXELS = True, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled, PIL.Image.MAX_IMAGE_PIXELS = disabled, limit


def _head(path: Path) -> bytes:
    """The first bytes of a file: all that its format is told by."""
    if not path.exists():
        raise UserError(f"there is no file {path}; check the name")
    if path.is_dir():
        raise _UnusableError("is a folder where an image file is needed")
    if not path.is_file():
        raise _UnusableError("is not a regular file; copy the image into one")
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError as error:
        raise _UnusableError(f"could not be read: {error.strerror}") from error
    if not head:
        raise _UnusableError("is empty (0 bytes); copy or save it again")
    return head


def _decode(path: Path, head: bytes) -> Image:
    try:
        if head.startswith(_TIFF_MAGIC):
            return _read_tiff(path)
        if head.startswith(tuple(_MAGIC)):
            return _read_with_pillow(path, head)
    except _UnusableError:
        raise
    except MemoryError as error:
        raise _UnusableError("does not fit into memory") from error
    except Exception as error:
        # Decoders that meet bytes they don't expect raise whatever their code happens to run into:
        # struct.error, IndexError, KeyError, SyntaxError, RecursionError, ... Only the text of an
        # OSError is meant for people; that of UnidentifiedImageError says nothing new.
        told = isinstance(error, OSError) and not isinstance(error, PIL.UnidentifiedImageError)
        reason = f" ({' '.join(str(error).split())})" if told else ""
        raise _UnusableError(f"is damaged or cut short{reason}; copy or save it again") from error
    raise _UnusableError("is not an image that can be read; use PNG, JPEG, TIFF, BMP or WebP")


def _check_size(width: int, height: int) -> None:
    if width <= 0 or height <= 0:
        raise _UnusableError(f"has no pixels ({width} x {height}); save it again")
    if width * height > MAX_PIXELS:
        raise _UnusableError(
            f"has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} million that are "
            "read; cut it into parts"
        )


def _check_finite(image: Image) -> None:
    if image.pixels.dtype != np.float32:
        return
    bad = ~np.isfinite(image.pixels)
    count = np.count_nonzero(bad)
    if not count:
        return
    row, column, *_ = np.unravel_index(bad.argmax(), bad.shape)
    raise _UnusableError(
        f"has {count} NaN or infinite values, the first at row {row}, column {column}; "
        "replace them by numbers"
    )


def _read_with_pillow(path: Path, head: bytes) -> Image:
    depth, colour_type = head[24:26] if head.startswith(b"\x89PNG") else (8, 0)
    if depth == 16 and colour_type != 0:
        raise _UnusableError(
            "is a PNG with 16-bit colour or transparency, which would be cut to 8 bits; "
            "save it as TIFF"
        )
    with PIL.Image.open(path, formats=["PNG", "JPEG", "BMP", "WEBP"]) as file:
        _check_size(*file.size)
        frames = getattr(file, "n_frames", 1)
        if frames > 1 and file.format != "MPO":
            raise _UnusableError(
                f"holds {frames} frames; save the one you want as a file of its own"
            )
        file.load()
        pixels, alpha = _split(file)
        return Image(pixels, alpha, _pillow_metadata(file))


_PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr")


def _split(file: PIL.Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and alpha of a picture that Pillow opened."""
    if file.mode.startswith("I"):
        return _split_grey16(file)
    if file.mode not in _PILLOW_MODES:
        _refuse_colours(file.mode)
    mode = "L" if file.mode in ("1", "L", "LA") else "RGB"
    if file.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in file.info:
        values = np.asarray(file.convert({"L": "LA", "RGB": "RGBA"}[mode]))
        colours = values[..., 0] if mode == "L" else values[..., :3]
        return np.ascontiguousarray(colours), np.ascontiguousarray(values[..., -1])
    return np.array(file.convert(mode)), None


def _split_grey16(file: PIL.Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    # "I;16" in Pillow from 11.3 on, "I" with 32 bits before.
    pixels = np.asarray(file).astype(np.uint16)
    if "transparency" not in file.info:
        return pixels, None
    return pixels, np.where(pixels == file.info["transparency"], 0, 65535).astype(np.uint16)


def _refuse_colours(name: str) -> None:
    raise _UnusableError(f"has {name} pixels; convert it to RGB or grey first")


def _pillow_metadata(file: PIL.Image.Image) -> Metadata:
    info = file.info
    exif = info.get("exif") or b""
    if not exif and len(file.getexif()):  # from an older PNG text chunk or from XMP
        exif = file.getexif().tobytes()
    x, y = info.get("dpi", (0, 0))
    return Metadata(
        exif=exif.removeprefix(b"Exif\0\0"),
        icc_profile=info.get("icc_profile") or b"",
        resolution=_resolution(x, y, _INCH),
    )


def _resolution(x: float, y: float, unit: int) -> tuple[float, float, int] | None:
    x, y = float(x), float(y)
    # Zero and infinity stand in many files for "unknown", and no format takes them back.
    possible = all(math.isfinite(v) and v > 0 for v in (x, y)) and unit in (1, _INCH, _CENTIMETRE)
    return (x, y, unit) if possible else None


# Reading TIFF: by tifffile, or by Pillow (which has libtiff) what tifffile lacks a decoder for.

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_ASSOCIATED, _UNASSOCIATED = tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA
_LIBTIFF_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 50000)
# How many times its size compressed data can grow at most: none; LZW, deflate twice, PackBits.
_MOST_GROWTH = {1: 1, 5: 1500, 8: 1040, 32946: 1040, 32773: 64}
_ORIENTATION = 274
_SHAPES = ('{"shape":', "shape=")  # how the descriptions begin that tifffile makes up by itself
_TEXT_TAGS = (271, 272, 305, 306, 315, 33432)  # make, model, software, date, artist, copyright


def _read_tiff(path: Path) -> Image:
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        _check_size(page.imagewidth, page.imagelength)
        planes = _planes(file)
        metadata = _tiff_metadata(page)
        if page.photometric == _PHOTOMETRIC.YCBCR:
            return _read_tiff_with_pillow(path, page, metadata)
        for plane in planes:
            _check_data(plane, page, path.stat().st_size)
        try:
            arrays = [plane.asarray() for plane in planes]
        except Exception as error:
            if len(planes) > 1 or not _lacks_decoder(error):
                raise
            return _read_tiff_with_pillow(path, page, metadata)
    values = np.moveaxis(arrays[0], 0, -1) if page.axes == "SYX" else np.dstack(arrays)
    pixels, alpha = _tiff_pixels(np.atleast_3d(values), page)
    by_tifffile = page.description.startswith(_SHAPES)
    if len(planes) == 1 and not by_tifffile and pixels.dtype == page.dtype:
        described = (pixels.shape, pixels.dtype.str)
        metadata = replace(metadata, description=page.description, described=described)
    return Image(np.ascontiguousarray(pixels), alpha, metadata)


def _planes(file: tifffile.TiffFile) -> Sequence[tifffile.TiffPage | tifffile.TiffFrame]:
    """The pages that make up the image: one, or three that are the channels of one image."""
    page, series = file.pages.first, file.series
    # A file may declare more images than it has pages for: ImageJ's, when larger than 4 GB.
    declared = sum(math.prod(each.shape) for each in series) // max(page.size, 1)
    count = max(len(file.pages), declared, page.imagedepth)
    if count == 1:
        return [page]
    if count == len(file.pages) == 3 and page.axes == "YX" and series[0].axes == "CYX":
        return [file.pages[index] for index in range(3)]
    raise _UnusableError(f"holds {count} pages; save the one you want as a file of its own")


def _check_data(
    plane: tifffile.TiffPage | tifffile.TiffFrame, page: tifffile.TiffPage, file_size: int
) -> None:
    """Refuse what tifffile would fill up with zeros, before it takes the memory for them."""
    offsets, counts = plane.dataoffsets, plane.databytecounts
    end = max((offset + count for offset, count in zip(offsets, counts, strict=True)), default=0)
    if end > file_size:
        raise _UnusableError(
            f"is cut short (its pixels end at byte {end}, the file at {file_size}); "
            "copy or save it again"
        )
    bits = page.imagewidth * page.imagelength * page.samplesperpixel * page.bitspersample
    growth = _MOST_GROWTH.get(page.compression)
    if growth is not None and bits // 8 > growth * sum(counts):
        raise _UnusableError(
            f"is damaged ({sum(counts)} bytes of data can't be {page.imagewidth} x "
            f"{page.imagelength} pixels); copy or save it again"
        )


def _lacks_decoder(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or "imagecodecs" in str(error)


def _read_tiff_with_pillow(path: Path, page: tifffile.TiffPage, metadata: Metadata) -> Image:
    deep_grey = (
        page.samplesperpixel == 1
        and page.photometric == _PHOTOMETRIC.MINISBLACK
        and page.dtype in (np.uint16, np.float32)
        and page.bitspersample in (16, 32)
    )
    if page.compression not in _LIBTIFF_COMPRESSIONS or not (page.bitspersample <= 8 or deep_grey):
        raise _UnusableError(
            f"has {page.bitspersample}-bit pixels packed as "
            f"{_name(page.compression)}, which needs one more package: pip install imagecodecs, "
            "or save the image uncompressed"
        )
    with PIL.Image.open(path, formats=["TIFF"]) as file:
        file.load()
        if file.mode == "F":
            return Image(np.array(file), None, metadata)
        pixels, alpha = _split(file)
        return Image(pixels, alpha, metadata)


def _tiff_pixels(
    values: np.ndarray, page: tifffile.TiffPage
) -> tuple[np.ndarray, np.ndarray | None]:
    """`(H, W, samples)` as stored -> pixels and alpha."""
    samples, kind, extra = values.shape[2], page.photometric, page.extrasamples
    if kind == _PHOTOMETRIC.PALETTE and samples == 1 and page.colormap is not None:
        return (page.colormap >> 8).astype(np.uint8).T[values[..., 0]], None
    if kind not in (_PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.MINISWHITE, _PHOTOMETRIC.RGB):
        _refuse_colours(_name(kind))
    values = _supported(values, page.bitspersample)
    if kind == _PHOTOMETRIC.MINISWHITE and values.dtype != np.float32:
        values = np.iinfo(values.dtype).max - values
    if samples in (1, 3):
        return values[..., 0] if samples == 1 else values, None
    # Some writers leave out what the fourth sample of RGB is; it always is alpha.
    if not (samples == 4 and kind == _PHOTOMETRIC.RGB) and extra not in (
        (_ASSOCIATED,),
        (_UNASSOCIATED,),
    ):
        raise _UnusableError(f"has {samples} channels; save those you want as grey or RGB")
    pixels, alpha = values[..., :-1], np.ascontiguousarray(values[..., -1])
    if extra == (_ASSOCIATED,):
        pixels = _divided(pixels, alpha)
    return pixels[..., 0] if samples == 2 else pixels, alpha


def _supported(values: np.ndarray, bits: int) -> np.ndarray:
    if values.dtype in (np.float16, np.float64):
        return values.astype(np.float32)
    if bits < 8:  # 1, 2 or 4: stretched to 0..255, as every other reader does
        return values.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
    if values.dtype not in _DTYPES:
        raise _UnusableError(f"has {values.dtype} pixels; save it as 8-bit, 16-bit or 32-bit float")
    return values


def _divided(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Undo the multiplication of colours by alpha."""
    top = 1 if alpha.dtype == np.float32 else np.iinfo(alpha.dtype).max
    share = alpha[..., None].astype(np.float32) / top
    colours = np.divide(pixels, share, out=np.zeros(pixels.shape, np.float32), where=share > 0)
    if pixels.dtype == np.float32:
        return colours
    return np.rint(np.minimum(colours, top)).astype(pixels.dtype)


def _tiff_metadata(page: tifffile.TiffPage) -> Metadata:
    exif = PIL.Image.Exif()
    for tag in (_ORIENTATION, *_TEXT_TAGS):
        value = page.tags.valueof(tag)
        if value:
            exif[tag] = value if isinstance(value, str) else int(value)
    (x, x_unit), (y, y_unit) = (page.tags.valueof(tag, default=(0, 1)) for tag in (282, 283))
    unit = int(page.tags.valueof(296, default=_INCH))
    return Metadata(
        exif=exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else b"",
        icc_profile=bytes(page.tags.valueof(34675) or b""),
        resolution=_resolution(x / x_unit, y / y_unit, unit) if x_unit and y_unit else None,
    )


def _name(member: object) -> str:
    return str(getattr(member, "name", member))


# Writing.


def _format_for(path: Path, image: Image) -> str:
    """The format that the suffix names, if it can hold the image."""
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UserError(
            f"{path} names no image format that can be written; end it in {_suffixes_in_words()}"
        )
    if file_format == "TIFF":
        return file_format
    if image.pixels.dtype == np.float32:
        raise UserError(f"{path}: {file_format} can't hold float pixels; end the name in .tif")
    grey = image.pixels.ndim == 2 and image.alpha is None
    if image.pixels.dtype == np.uint16 and not (file_format == "PNG" and grey):
        better = ".png or .tif" if grey else ".tif"
        kind = "grey" if grey else "colour" if image.alpha is None else "transparent"
        raise UserError(
            f"{path}: {file_format} can't hold 16-bit {kind} pixels here; end the name in {better}"
        )
    if image.alpha is not None and file_format in ("JPEG", "BMP"):
        raise UserError(f"{path}: {file_format} can't hold transparency; end the name in .png")
    return file_format


_SAVE_OPTIONS = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "BMP": {},
    "WEBP": {"lossless": True, "exact": True},  # exact: colours stay where alpha is zero
}


def _encode(path: Path, image: Image, file_format: str) -> memoryview:
    buffer = io.BytesIO()
    values = image.pixels if image.alpha is None else np.dstack([image.pixels, image.alpha])
    try:
        if file_format == "TIFF":
            _encode_tiff(buffer, values, image)
        else:
            options = _SAVE_OPTIONS[file_format] | _save_metadata(image.metadata)
            PIL.Image.fromarray(values).save(buffer, file_format, **options)
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise UserError(
            f"{path} can't be written as {file_format} ({error}); end the name in .tif or .png"
        ) from error
    return buffer.getbuffer()


def _save_metadata(metadata: Metadata) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.icc_profile:
        options["icc_profile"] = metadata.icc_profile
    if metadata.resolution is not None and metadata.resolution[2] != 1:
        x, y, unit = metadata.resolution
        dpi = (x, y) if unit == _INCH else (2.54 * x, 2.54 * y)
        if max(dpi) < 2**16:  # JPEG has 16 bits for it
            options["dpi"] = dpi
    return options


def _encode_tiff(buffer: io.BytesIO, values: np.ndarray, image: Image) -> None:
    metadata = image.metadata
    options: dict[str, Any] = {}
    if metadata.described == (image.pixels.shape, image.pixels.dtype.str):
        options["description"] = metadata.description.encode()
    if metadata.resolution is not None:
        *options["resolution"], options["resolutionunit"] = metadata.resolution
    if values.ndim == 3:
        options["planarconfig"] = "contig"
    if image.alpha is not None:
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(
        buffer,
        values,
        photometric="rgb" if image.pixels.ndim == 3 else "minisblack",
        iccprofile=metadata.icc_profile or None,
        extratags=_tiff_tags(metadata.exif),
        software=False,
        metadata=None,
        **options,
    )


def _tiff_tags(exif: bytes) -> list[tuple[int, int, int, Any, bool]]:
    """The tags of an EXIF block that TIFF has too, as tifffile takes them."""
    if not exif:
        return []
    block = PIL.Image.Exif()
    try:
        with _READING, _quiet():
            block.load(exif)
            found = {tag: block[tag] for tag in (_ORIENTATION, *_TEXT_TAGS) if tag in block}
    except Exception:  # a damaged block: cameras write them, and the pixels are worth more
        return []
    text, short = 2, 3  # TIFF's numbers of these types
    tags: list[tuple[int, int, int, Any, bool]] = [
        (tag, text, 0, value.encode(), True)
        for tag, value in found.items()
        if isinstance(value, str)
    ]
    if found.get(_ORIENTATION) in range(1, 9):
        tags.append((_ORIENTATION, short, 1, found[_ORIENTATION], True))
    return tags

"""One picture in memory: read whole, written whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from noise2noise.errors import UserError
from noise2noise.files.formats import open_stack, write_stack
from noise2noise.files.guard import UnusableError, reading
from noise2noise.files.scale import Scale
from noise2noise.files.stack import Alpha, Header, Metadata, Stack

_DTYPES = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))


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


def read_image(path: str | Path) -> Image:
    """Read a file that holds one grey or colour image; `open_stack` takes the others too.

    Three pages that are channels (axes CYX) are taken for a colour image. Floats become float32,
    and colours that are stored multiplied by their transparency are divided by it.

    Raises:
        UserError: there is no such file, it is damaged, or it holds something else than one such
            image; one sentence that names the file and says what to do.
    """
    with open_stack(path) as stack:
        with reading(path):
            _check_single(stack.header)
        return _image_of(stack)


def write_image(path: str | Path, image: Image, overwrite: bool = False) -> None:
    """Write an image file, whole or not at all, in the format that its suffix names.

    JPEG is written with quality 95 and full colour resolution (4:4:4), WebP lossless and always
    in colour, TIFF uncompressed. Metadata are written as far as the format holds them.

    Arguments:
        path: ends in one of `suffixes()`.
        image: what to write.
        overwrite: replace a file that stands at `path`; it stays untouched if anything fails.

    Raises:
        UserError: the suffix is unknown, the format can't hold these pixels or this transparency,
            the file exists and `overwrite` is false, or the disk refused.
    """
    values = np.atleast_3d(image.pixels)
    if image.alpha is not None:
        values = np.dstack([values, image.alpha])
    colour = "rgb" if image.pixels.ndim == 3 else "grey"
    alpha: Alpha = "" if image.alpha is None else "straight"
    shape = values.shape if values.shape[2] > 1 else values.shape[:2]
    header = Header(
        "YXS"[: len(shape)], shape, values.dtype, colour, alpha, metadata=image.metadata
    )
    write_stack(path, header, [values], overwrite)


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
        check_range(float(pixels.min()), float(pixels.max()))
    planes = np.atleast_3d(pixels).transpose(2, 0, 1)
    return Scale.of(pixels.dtype).to_unit(planes)


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
    return np.ascontiguousarray(Scale.of(dtype).from_unit(pixels, dtype))


def check_range(low: float, high: float) -> None:
    """Refuse floats that are on another scale.

    Raises:
        UserError: they leave [-1, 2], or are no numbers.
    """
    if not (low >= -1 and high <= 2):  # false for NaN too
        raise UserError(
            f"float pixels must lie about in 0..1, and these range from {low:g} to {high:g}; "
            "scale them to 0..1, or save the image with 8 or 16 bits"
        )


def _check_single(header: Header) -> None:
    """Refuse what isn't one grey or colour picture of a dtype that `Image` has."""
    planes, samples = header.planes, header.colours
    if planes > 1 and (planes, header.axes) != (3, "CYX"):
        raise UnusableError(
            f"holds {planes} images (axes {header.axes}); "
            "save the one you want as a file of its own"
        )
    if samples not in (1, 3):
        inks = header.colour in ("cmyk", "lab")
        kind = f"{header.colour} pixels" if inks else f"{samples} channels"
        raise UnusableError(f"has {kind}; save what you want as grey or RGB")
    if header.dtype.kind != "f" and header.dtype not in _DTYPES:
        raise UnusableError(f"has {header.dtype} pixels; save it as 8-bit, 16-bit or 32-bit float")


def _image_of(stack: Stack) -> Image:
    header = stack.header
    values = np.concatenate([stack.read(plane) for plane in range(header.planes)], axis=-1)
    if header.dtype.kind == "f":
        values = values.astype(np.float32)
        with reading(stack.name):
            _check_finite(values)
    alpha = None
    if header.alpha:
        alpha = np.ascontiguousarray(values[..., -1])
        values = values[..., :-1]
    if header.alpha == "premultiplied" and alpha is not None:
        values = _divided(values, alpha)
    pixels = values[..., 0] if values.shape[-1] == 1 else values
    return Image(np.ascontiguousarray(pixels), alpha, header.metadata)


def _check_finite(values: np.ndarray) -> None:
    bad = ~np.isfinite(values)
    count = np.count_nonzero(bad)
    if not count:
        return
    row, column, _ = np.unravel_index(bad.argmax(), bad.shape)
    raise UnusableError(
        f"has {count} NaN or infinite values, the first at row {row}, column {column}; "
        "replace them by numbers"
    )


def _divided(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Undo the multiplication of colours by alpha."""
    top = 1 if alpha.dtype == np.float32 else np.iinfo(alpha.dtype).max
    share = alpha[..., None].astype(np.float32) / top
    colours = np.divide(pixels, share, out=np.zeros(pixels.shape, np.float32), where=share > 0)
    if pixels.dtype == np.float32:
        return colours
    return np.rint(np.minimum(colours, top)).astype(pixels.dtype)

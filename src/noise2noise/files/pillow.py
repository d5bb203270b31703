"""What the formats that Pillow decodes have in common."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image

from noise2noise.files.guard import UnusableError, check_size
from noise2noise.files.stack import Colour, Header, Metadata, Stack, whole_planes

INCH, CENTIMETRE = 2, 3  # values of TIFF's ResolutionUnit; 1 is "no unit"

_TRANSPARENT = ("LA", "PA", "RGBA", "RGBa")
_GREY = ("1", "L", "LA")
_KNOWN = ("1", "L", "LA", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "YCbCr", "CMYK")


class PillowStack(Stack):
    """The frames of a file that Pillow opened, each decoded when it is asked for."""

    def __init__(self, file: PIL.Image.Image, metadata: Metadata, path: Path, frames: int = 1):
        check_size(*file.size)
        self._file, self._plane, self._pixels = file, -1, np.empty(0)
        self._mode = _mode(file, frames)
        samples = len(self._mode)  # its letters are their names
        shape = (file.height, file.width, samples)
        shape, axes = (shape, "YXS") if samples > 1 else (shape[:2], "YX")
        if frames > 1:
            shape, axes = (frames, *shape), f"T{axes}"
        alpha = "straight" if self._mode in ("LA", "RGBA") else ""
        colours: dict[str, Colour] = {"L": "grey", "LA": "grey", "CMYK": "cmyk"}
        colour = colours.get(self._mode, "rgb")
        header = Header(axes, shape, np.dtype(np.uint8), colour, alpha, metadata=metadata)
        super().__init__(header, path)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        if plane != self._plane:
            if self.header.planes > 1:
                self._file.seek(plane)
            same = self._file.mode == self._mode
            pixels = np.array(self._file if same else self._file.convert(self._mode))
            self._plane, self._pixels = plane, pixels.reshape(*pixels.shape[:2], -1)
            if self.header.planes == 1:
                self._file.close()  # its pixels go: there are ours now
        return self._pixels[rows, columns]

    def forget(self) -> None:
        self._plane, self._pixels = -1, np.empty(0)

    def close(self) -> None:
        self._file.close()


def open_with_pillow(
    source: Path | BinaryIO,
    file_format: str,
    describe: Callable[[PIL.Image.Image, int], Metadata],
    path: Path,
) -> Stack:
    """Open a file with Pillow; `describe` is given it and the number of its frames.

    Of several pictures that a camera put into a JPEG the first is the one.
    """
    file = PIL.Image.open(source, formats=[file_format])
    try:
        frames = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
        return PillowStack(file, describe(file, frames), path, frames)
    except BaseException:
        file.close()
        raise


def _mode(file: PIL.Image.Image, frames: int) -> str:
    """What Pillow is to convert all frames to: L, LA, RGB, RGBA or CMYK."""
    if file.mode not in _KNOWN:
        raise UnusableError(f"has {file.mode} pixels; convert it to RGB or grey first")
    if file.mode == "CMYK":
        return file.mode
    mode = "L" if file.mode in _GREY else "RGB"
    if frames > 1 and file.format == "GIF":
        mode = "RGB"  # later frames may have colours that the first has not
    transparent = file.mode in _TRANSPARENT or "transparency" in file.info
    return mode + "A" * transparent


def resolution(pixels: Sequence[float], unit: int) -> tuple[float, float, int] | None:
    """`Metadata.resolution`, or None for what stands in files for "unknown"."""
    x, y = (float(value) for value in pixels)
    # Zero and infinity stand in many files for "unknown", and no format takes them back.
    possible = all(math.isfinite(v) and v > 0 for v in (x, y)) and unit in (1, INCH, CENTIMETRE)
    return (x, y, unit) if possible else None


def dots_per_inch(metadata: Metadata) -> tuple[float, float] | None:
    """The resolution in dots per inch, if there is one and JPEG's 16 bits can hold it."""
    if metadata.resolution is None or metadata.resolution[2] == 1:
        return None
    x, y, unit = metadata.resolution
    dpi = (x, y) if unit == INCH else (2.54 * x, 2.54 * y)
    return dpi if max(dpi) < 2**16 else None


def save_options(metadata: Metadata) -> dict[str, Any]:
    """What Pillow's writers are given; those that have no place for something leave it out."""
    options: dict[str, Any] = {}
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.icc_profile:
        options["icc_profile"] = metadata.icc_profile
    dpi = dots_per_inch(metadata)
    if dpi:
        options["dpi"] = dpi
    return options


def encoded(name: str, header: Header, bands: Iterable[np.ndarray], **options: Any) -> bytes:
    """A file of Pillow's format `name` with the one plane of the header.

    In memory, to keep apart what the format refuses and what the disk refuses.
    """
    (pixels,) = whole_planes(header, bands)
    buffer = io.BytesIO()
    picture(header, pixels).save(buffer, name, **options)
    return buffer.getvalue()


def picture(header: Header, pixels: np.ndarray) -> PIL.Image.Image:
    """A plane, (H, W, samples), as Pillow takes it."""
    if header.samples == 1:
        return PIL.Image.fromarray(pixels[..., 0])
    if header.colour == "cmyk":
        return PIL.Image.frombytes("CMYK", (header.width, header.height), pixels.tobytes())
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))


def refusal(name: str, header: Header, alpha: bool, frames: bool = False) -> str:
    """Why a format of 8-bit grey or colour can't hold something; "" if it can."""
    kind = "grey" if header.colour == "grey" else "colour"
    if header.planes > 1 and not frames:
        return f"{name} can't hold {header.planes} images; end the name in .tif"
    if header.colour not in ("grey", "rgb"):
        return f"{name} can't hold {header.colour} pixels; end the name in .tif"
    if header.dtype.kind == "f":
        return f"{name} can't hold float pixels; end the name in .tif"
    if header.dtype != np.uint8:
        kind = "transparent" if header.alpha else kind
        better = ".png or .tif" if header.dtype == np.uint16 else ".tif"
        bits = f"{8 * header.dtype.itemsize}-bit"
        return f"{name} can't hold {bits} {kind} pixels here; end the name in {better}"
    if header.alpha and not alpha:
        return f"{name} can't hold transparency; end the name in .png"
    return ""

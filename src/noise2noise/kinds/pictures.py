"""PIL's images: what their modes mean, and what they carry along."""

from __future__ import annotations

import numpy as np
import PIL.Image

from noise2noise.errors import UserError
from noise2noise.files import ArrayStack, Colour, Header, Metadata, in_colour
from noise2noise.files.stack import Alpha
from noise2noise.kinds.kind import Work

_MODES: dict[str, tuple[Colour, Alpha]] = {
    "L": ("grey", ""),
    "I": ("grey", ""),
    "F": ("grey", ""),
    "LA": ("grey", "straight"),
    "La": ("grey", "premultiplied"),
    "RGB": ("rgb", ""),
    "RGBX": ("rgb", "straight"),
    "RGBA": ("rgb", "straight"),
    "RGBa": ("rgb", "premultiplied"),
    "CMYK": ("cmyk", ""),
}
_BY_WAY_OF = {"1": "L", "YCbCr": "RGB", "HSV": "RGB"}
_PALETTES = ("P", "PA")


def denoised(image: PIL.Image.Image, work: Work) -> PIL.Image.Image:
    """The same mode and `info`, but that a palette, which holds no new colours, becomes RGB(A).

    Raises:
        UserError: a mode that has no colours.
    """
    if image.mode in _PALETTES:
        transparent = image.mode == "PA" or "transparency" in image.info
        colours = image.convert("RGBA" if transparent else "RGB")
        colours.info.pop("transparency", None)
        return denoised(colours, work)
    if image.mode in _BY_WAY_OF:
        other = denoised(image.convert(_BY_WAY_OF[image.mode]), work)
        result = other.convert(image.mode, dither=PIL.Image.Dither.NONE)
    else:
        pixels = _pixels(image, work)
        # Of 16 bits the array's own byte order tells the mode.
        sixteen = image.mode.startswith("I;16")
        result = PIL.Image.fromarray(pixels) if sixteen else _as_mode(pixels, image.mode)
    result.info = dict(image.info)
    return result


def _as_mode(pixels: np.ndarray, mode: str) -> PIL.Image.Image:
    height, width = pixels.shape[:2]
    return PIL.Image.frombytes(mode, (width, height), np.ascontiguousarray(pixels).tobytes())


def _pixels(image: PIL.Image.Image, work: Work) -> np.ndarray:
    """What comes of the samples of a mode that is denoised as it is."""
    colour, alpha = _MODES.get(image.mode.partition(";")[0], (None, ""))
    if colour is None:
        raise UserError(
            f"a PIL image of mode {image.mode} can't be denoised; give image.convert('RGB')"
        )
    stored = np.asarray(image)
    values = np.atleast_3d(stored).astype(stored.dtype.newbyteorder("="))
    profile = Metadata(icc_profile=image.info.get("icc_profile") or b"")
    header = Header("YXS", values.shape, values.dtype, colour, alpha, metadata=profile)
    result = work.whole(in_colour(ArrayStack(header, values[None])))
    return result.reshape(stored.shape).astype(stored.dtype)

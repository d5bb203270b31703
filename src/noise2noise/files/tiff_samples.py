"""What the values of a TIFF mean: grey, colours or inks, transparency, and integers whose bits do
not fill bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tifffile

from noise2noise.files.guard import UnusableError
from noise2noise.files.stack import Alpha, Colour

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_ASSOCIATED, _UNASSOCIATED = tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA


@dataclass(frozen=True)
class Stored:
    """How the values in the file become those that are handed out, and back again.

    Attributes:
        stretch: what to multiply integers by whose bits don't fill bytes; 1 for others.
        dtype: after it.
        inverted: white is zero.
        palette: colours, (entries, 3), or None.
        signed_chroma: the last two of three samples are CIE a and b, in two's complement.
        alpha: the place of transparency among the samples, if others follow it in the file: it is
            handed out as the last one.
    """

    stretch: float
    dtype: np.dtype
    inverted: bool = False
    palette: np.ndarray | None = None
    signed_chroma: bool = False
    alpha: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether values are handed out as they are."""
        changed = self.inverted or self.signed_chroma or self.palette is not None
        return self.stretch == 1 and not changed

    def load(self, values: np.ndarray) -> np.ndarray:
        if self.palette is not None:
            return self.palette[values[..., 0].astype(np.intp)]
        if self.stretch != 1:
            values = np.rint(values * self.stretch)
        values = values.astype(self.dtype, copy=False)
        if self.alpha is not None:
            values = moved(values, self.alpha, -1)
        if self.inverted:
            return np.iinfo(self.dtype).max - values
        return values ^ _chroma_signs(self.dtype) if self.signed_chroma else values


def moved(values: np.ndarray, start: int, end: int) -> np.ndarray:
    """Values, (h, w, samples), whose sample at `start` is put at `end`, between the others."""
    samples = [*range(values.shape[-1])]
    samples.insert(end % len(samples), samples.pop(start))
    return values[..., samples]


def _chroma_signs(dtype: np.dtype) -> np.ndarray:
    return np.array([0, 1, 1], dtype) << (8 * dtype.itemsize - 1)


def meaning(page: tifffile.TiffPage, imagej: bool) -> tuple[Stored, Colour, Alpha]:
    """How a page's values are handed out, and what its samples are then.

    Arguments:
        page: the first of them.
        imagej: whether ImageJ wrote it, whose palettes are only for show.

    Raises:
        UnusableError: they mean something that is neither grey nor colours.
    """
    kind, samples = page.photometric, page.samplesperpixel
    stretch, dtype = _stretch(page)
    if kind == _PHOTOMETRIC.PALETTE and samples == 1 and page.colormap is not None and not imagej:
        return Stored(1, np.dtype(np.uint8), palette=_palette(page.colormap)), "rgb", ""
    alpha, place = _transparency(page)
    if kind == _PHOTOMETRIC.SEPARATED:
        inks = samples - bool(alpha)
        stored = Stored(stretch, dtype, alpha=place)
        return stored, "cmyk" if inks == 4 else "channels", alpha
    if kind in (_PHOTOMETRIC.CIELAB, _PHOTOMETRIC.ICCLAB) and samples == 3 and dtype.kind == "u":
        return Stored(1, dtype, signed_chroma=kind == _PHOTOMETRIC.CIELAB), "lab", ""
    plain = (_PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.MINISWHITE, _PHOTOMETRIC.PALETTE)
    if kind not in (*plain, _PHOTOMETRIC.RGB, _PHOTOMETRIC.YCBCR):
        name = getattr(kind, "name", kind)
        raise UnusableError(f"has {name} pixels; convert it to RGB or grey first")
    inverted = kind == _PHOTOMETRIC.MINISWHITE and dtype.kind == "u"
    stored = Stored(stretch, dtype, inverted, alpha=place)
    # Some writers leave out what the fourth sample of RGB is; it always is alpha.
    if kind == _PHOTOMETRIC.RGB and samples == 4 and not alpha:
        alpha = "straight"
    colours = samples - bool(alpha)
    if kind in plain:
        return stored, "grey" if colours == 1 else "channels", alpha
    return stored, "rgb" if colours == 3 else "channels", alpha


def _transparency(page: tifffile.TiffPage) -> tuple[Alpha, int | None]:
    """What a page says of transparency, and where it is, if other samples follow it."""
    kinds: dict[int, Alpha] = {_ASSOCIATED: "premultiplied", _UNASSOCIATED: "straight"}
    extra = page.extrasamples
    place = next((place for place, kind in enumerate(extra) if kind in kinds), None)
    if place is None:
        return "", None
    last = place == len(extra) - 1
    return kinds[extra[place]], None if last else page.samplesperpixel - len(extra) + place


def _stretch(page: tifffile.TiffPage) -> tuple[float, np.dtype]:
    """Integers whose bits don't fill bytes are stretched to those that do, as all readers do with
    1, 2 and 4 bits: a viewer would show 12 bits in 16 as black."""
    bits, dtype = page.bitspersample, np.dtype(page.dtype)
    if dtype.kind in "ub" and bits < 8:
        return 255 / (2**bits - 1), np.dtype(np.uint8)
    if dtype == np.uint16 and 8 < bits < 16:
        return 65535 / (2**bits - 1), dtype
    return 1, dtype.newbyteorder("=")


def _palette(colormap: np.ndarray) -> np.ndarray:
    # 16 bits each by the standard, but some writers use 8.
    shift = 8 if colormap.max() > 255 else 0
    return (colormap >> shift).astype(np.uint8).T

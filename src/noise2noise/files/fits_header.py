"""What a FITS header says of its pixels: axes, steps, and the numbers that stored ones stand for.

    value = BZERO + BSCALE * stored,  and none at all where stored is BLANK

Unsigned integers are stored as signed ones with a BZERO of half their range, and are handed out as
what they are; all others that are scaled, or have a BLANK, as floats: NaN where there is no value.

Sources: https://fits.gsfc.nasa.gov/fits_standard.html (4.0), ROWORDER:
https://free-astro.org/index.php?title=Siril:FITS_orientation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from noise2noise.files.axes import MOST_DIMENSIONS
from noise2noise.files.guard import UnusableError
from noise2noise.files.stack import Header, Step

DTYPES = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}
"""Of BITPIX; without the byte order, which is big-endian."""

STALE = ("DATAMIN", "DATAMAX")
"""What is said of values, and isn't true of others."""

_UNITS = {
    "m": "meter", "mm": "millimeter", "um": "micrometer", "nm": "nanometer",
    "Angstrom": "angstrom", "angstrom": "angstrom", "s": "second",
}  # fmt: skip
_SHORT = {name: short for short, name in _UNITS.items() if short != "angstrom"}
_TIMES = ("TIME", "UTC", "TAI", "TT", "TDB", "MJD", "JD")


@dataclass(frozen=True)
class Scaling:
    """Between stored values and those that are handed out.

    Attributes:
        stored: the dtype in the file, big-endian.
        dtype: that is handed out.
        scale, zero: as above.
        blank: the integer that stands for no value, or None.
    """

    stored: np.dtype
    dtype: np.dtype
    scale: float = 1
    zero: float = 0
    blank: int | None = None

    @classmethod
    def of(cls, header: Any) -> Scaling:
        """That of an astropy header.

        Raises:
            UnusableError: there are no such numbers.
        """
        bits = header["BITPIX"]
        if bits not in DTYPES:
            raise UnusableError(f"is damaged (BITPIX {bits}); copy or save it again")
        stored = np.dtype(">" + DTYPES[bits])
        scale, zero = _number(header, "BSCALE", 1), _number(header, "BZERO", 0)
        if scale == 0:
            raise UnusableError("is damaged (BSCALE 0); copy or save it again")
        has_blank = stored.kind in "ui" and "BLANK" in header
        blank = int(_number(header, "BLANK", 0)) if has_blank else None
        plain = stored.newbyteorder("=")
        if blank is None and (scale, zero) == (1, _half(plain)):
            return cls(stored, _other_sign(plain), 1, zero)
        if blank is None and (scale, zero) == (1, 0):
            return cls(stored, plain)
        # An offset can be so far above floats of 32 bits that they couldn't tell one from the next.
        wide = stored.itemsize > (2 if stored.kind in "ui" else 4 * (not zero))
        if stored.kind in "ui" and not wide:  # float32 must tell one step from the next
            wide = abs(zero) + abs(scale) * 2**16 > abs(scale) * 2**22
        dtype = np.dtype(np.float64 if wide else np.float32)
        return cls(stored, dtype, scale, zero, blank)

    @classmethod
    def new(cls, dtype: np.dtype) -> Scaling:
        """For values that are stored as they are."""
        for bits in DTYPES.values():
            plain = np.dtype(bits)
            if dtype == plain:
                return cls(plain.newbyteorder(">"), dtype)
            if plain.kind in "ui" and dtype == _other_sign(plain):
                return cls(plain.newbyteorder(">"), dtype, 1, _half(plain))
        raise ValueError(f"FITS has no {dtype}")

    @property
    def as_stored(self) -> bool:
        """Whether values are handed out as they are."""
        plain = self.stored.newbyteorder("=")
        return self.dtype == plain and (self.scale, self.zero) == (1, 0)

    def load(self, values: np.ndarray) -> np.ndarray:
        """What stored values stand for."""
        plain = values.astype(self.stored.newbyteorder("="), copy=False)
        if self.as_stored:
            return plain
        if self.dtype.kind in "ui":
            return plain.view(self.dtype) ^ _sign(self.dtype)
        found = (self.zero + self.scale * plain.astype(np.float64)).astype(self.dtype)
        return found if self.blank is None else np.where(plain == self.blank, np.nan, found)

    def store(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `load`: rounded, and clipped to what can be stored."""
        if self.as_stored:
            return values
        if self.dtype.kind in "ui":
            return (values ^ _sign(self.dtype)).view(self.stored.newbyteorder("="))
        found = (values.astype(np.float64) - self.zero) / self.scale
        if self.stored.kind == "f":
            return found.astype(self.stored)
        limits = np.iinfo(self.stored)
        missing = ~np.isfinite(found)
        # Of 64 bits the largest float that fits is less than the largest integer.
        top = np.nextafter(2.0**63, 0) if limits.bits == 64 else limits.max
        stored = np.rint(np.where(missing, 0, found)).clip(limits.min, top).astype(self.stored)
        if self.blank is None:
            return stored
        return np.where(missing, np.array(self.blank, self.stored), stored)


def _number(header: Any, name: str, usual: float) -> float:
    """What stands under a name that needn't be there. Raises: UnusableError: it is no number."""
    value = header.get(name, usual)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise UnusableError(f"is damaged ({name} {value!r}); copy or save it again")
    return float(value)


def _half(dtype: np.dtype) -> float:
    """BZERO of the dtype with a sign, or without one, that is stored as this."""
    if dtype.kind not in "ui":
        return math.nan
    return -128 if dtype == np.uint8 else 2.0 ** (8 * dtype.itemsize - 1)


def _other_sign(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"{'i' if dtype.kind == 'u' else 'u'}{dtype.itemsize}")


def _sign(dtype: np.dtype) -> np.ndarray:
    bits = np.array(1, f"u{dtype.itemsize}") << np.array(8 * dtype.itemsize - 1, "u1")
    return bits.astype(f"u{dtype.itemsize}").view(dtype)


def sizes(header: Any) -> tuple[int, ...]:
    """As numpy has them: NAXIS1, the fastest, comes last.

    Raises:
        UnusableError: too many, or sizes that there aren't.
    """
    count = header["NAXIS"]
    if not isinstance(count, int):
        raise UnusableError(f"is damaged (NAXIS {count!r}); copy or save it again")
    if not 0 <= count <= MOST_DIMENSIONS:
        raise UnusableError(
            f"holds an array of {count} dimensions; 2 to {MOST_DIMENSIONS} are an image"
        )
    found = tuple(header[f"NAXIS{place}"] for place in range(count, 0, -1))
    if not all(isinstance(size, int) and size >= 0 for size in found):
        raise UnusableError(f"is damaged (an array of {found}); copy or save it again")
    return found


def name_of_kind(header: Any) -> str:
    """What the name of a part says of its kind: SCI of all that are named so, CCD of CCD1 and CCD2;
    a single letter, as N1 and S1 of a mosaic have it, says nothing."""
    name = str(header.get("EXTNAME", "")).strip().upper()
    kind = name.rstrip("0123456789").rstrip(" _-")
    return kind if len(kind) > 1 else kind and "?"


def letters(header: Any, shape: tuple[int, ...]) -> str:
    """The axes: T where CTYPE tells a time, C where it tells polarizations, Q for frequencies and
    whatever else; three planes of which nothing is said are channels."""
    named = ""
    for place in range(len(shape), 2, -1):
        kind = str(header.get(f"CTYPE{place}", "")).split("-")[0].strip().upper()
        letter = "T" if kind in _TIMES else "C" if kind == "STOKES" else "Q"
        if not kind and len(shape) == 3 and shape[0] == 3:
            letter = "C"
        named += "Q" if letter in named else letter
    return f"{named}YX"


def steps(header: Any, axes: str) -> tuple[Step, ...]:
    """Steps along axes that have a unit of length or time; angles are left to the header."""
    found = []
    for place, letter in enumerate(reversed(axes), 1):
        unit = _UNITS.get(str(header.get(f"CUNIT{place}", "")).strip())
        size = header.get(f"CDELT{place}")
        if unit and letter in "TZYX" and isinstance(size, int | float) and 0 < size < math.inf:
            found.append(Step(letter, float(size), unit))
    return tuple(found)


def describe(said: Any, header: Header, axes: str) -> None:
    """Tell steps and the order of rows in a new astropy header."""
    known = {step.axis: step for step in header.metadata.steps if step.unit in _SHORT}
    for place, letter in enumerate(reversed(axes), 1):
        if letter in known:
            said[f"CDELT{place}"] = known[letter].size
            said[f"CUNIT{place}"] = _SHORT[known[letter].unit]
    said["ROWORDER"] = ("TOP-DOWN", "the first row is the top one")

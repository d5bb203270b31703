"""Results of another dtype than their source: which values stand for which.

| from \\ to | uint8, uint16 | other integers | floats |
|---|---|---|---|
| uint8, uint16 | white stays white | values stay | values stay |
| floats of about 0 to 1 | 1 becomes white | refused | values stay |
| anything else, white is said | it becomes white | values stay | values stay |
| anything else | values stay | values stay | values stay |

Zero stays zero. White is what the file or the user says or, of uint8 and uint16, all that they can
hold; in the result it is the largest value of as many bits as are asked for. Where values stay they
must fit, and are rounded; what a result has beyond its limits is clipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files.scale import Scale
from noise2noise.files.stack import Finish, Header, Held, Stack, unchanged
from noise2noise.files.survey import Survey

DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64")
"""What may be asked for."""

_PICTURES = (np.dtype(np.uint8), np.dtype(np.uint16))
_LEAST_BITS, _MOST_BITS = 8, 32


@dataclass(frozen=True)
class Wanted:
    """What is asked of a result.

    Attributes:
        name: of its dtype.
        bits: of integers, as many as count: the largest of them is white.
    """

    name: str
    bits: int | None = None

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.name)

    @classmethod
    def parse(cls, dtype: str | None, bits: int | None) -> Wanted | None:
        """What `--dtype` and `--bit-depth` say; None if neither is given.

        Raises:
            UserError: there is no such dtype, or so many bits don't go into it.
        """
        if dtype is not None and dtype not in DTYPES:
            raise UserError(f"--dtype {dtype} is unknown; choose one of {', '.join(DTYPES)}")
        if bits is None:
            return None if dtype is None else cls(dtype)
        if not _LEAST_BITS <= bits <= _MOST_BITS:
            raise UserError(
                f"--bit-depth must lie in {_LEAST_BITS} to {_MOST_BITS}, got {bits}; floats are "
                "asked for by --dtype"
            )
        own = dtype or ("uint8" if bits == 8 else "uint16" if bits <= 16 else "uint32")
        if np.dtype(own).kind != "u" or bits > 8 * np.dtype(own).itemsize:
            raise UserError(
                f"--bit-depth {bits} doesn't go with --dtype {own}; leave one of them out"
            )
        return cls(own, bits)

    @property
    def top(self) -> int:
        """The largest integer."""
        return 2**self.bits - 1 if self.bits else int(np.iinfo(self.dtype).max)

    def header(self, source: Header) -> Header:
        """What the result says of itself."""
        white = float(self.top) if self.bits and self.bits < 8 * self.dtype.itemsize else None
        metadata = replace(source.metadata, converted=True)
        return replace(source, dtype=self.dtype, white=white, metadata=metadata)

    def changes(self, source: Header) -> bool:
        """Whether that is something else than the source."""
        return self.dtype != source.dtype or self.bits is not None

    def bands(
        self, bands: Iterable[np.ndarray], source: Header, seen: Survey
    ) -> Iterator[np.ndarray]:
        """Bands of the result.

        Arguments:
            bands: of the source's values, as integers or, not rounded yet, as floats.
            source: what the file says.
            seen: its values.

        Raises:
            UserError: they don't fit, at once.
        """
        factor = self._factor(source, seen)
        return self._converted(bands, source, factor)

    def _factor(self, source: Header, seen: Survey) -> float:
        if source.colour == "lab":  # the middle of a and b isn't where a stretched one would be
            raise UserError(
                "its Lab pixels have the dtype of their format; leave --dtype and --bit-depth out"
            )
        if self.dtype.kind == "f":
            return 1
        if seen.bad:
            raise UserError(
                f"{seen.bad} values are NaN or infinite, which {self.dtype} can't hold; choose "
                "--dtype float32"
            )
        white = _white(source, seen)
        if white is not None and self.dtype in _PICTURES:
            return self.top / white
        if white == 1:
            raise UserError(
                f"its floats lie in 0 to 1, of which {self.dtype} would leave two values; choose "
                "--dtype uint16"
            )
        if seen.low < np.iinfo(self.dtype).min or seen.high > self.top:
            raise UserError(
                f"its values, {seen.low:g} to {seen.high:g}, don't fit into {self.dtype} of 0 to "
                f"{self.top}; choose another --dtype, or say by --white which value becomes "
                f"{self.top}"
            )
        return 1

    def _converted(
        self, bands: Iterable[np.ndarray], source: Header, factor: float
    ) -> Iterator[np.ndarray]:
        factors = np.full(source.samples, factor)
        if source.alpha and self.dtype.kind != "f":
            factors[-1] = self.top / Scale.of(source.dtype).white
        for band in bands:
            if self.dtype.kind == "f":
                yield band.astype(self.dtype)
                continue
            values = np.clip(band * factors, np.iinfo(self.dtype).min, self.top)
            yield np.rint(values).astype(self.dtype)


def _white(source: Header, seen: Survey) -> float | None:
    if source.white is not None and seen.high <= source.white:
        return source.white
    if source.dtype in _PICTURES:
        return float(np.iinfo(source.dtype).max)
    if source.dtype.kind == "f" and seen.low >= -1 and seen.high <= 2:
        return 1
    return None


class Unrounded(Stack):
    """A stack of integers as floats on their scale: results aren't rounded before they are
    converted."""

    def __init__(self, stack: Stack) -> None:
        source = stack.header
        dtype = np.dtype(np.float64 if source.dtype.itemsize > 2 else np.float32)
        super().__init__(replace(source, dtype=dtype, whole=source.dtype), stack.name)
        self._stack = stack

    @property
    def held(self) -> Held:
        return self._stack.held

    def forget(self) -> None:
        self._stack.forget()

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        return self._stack.read(plane, rows, columns).astype(self.header.dtype)


@dataclass(frozen=True)
class Outgoing:
    """What is to be written in the place of a file.

    Attributes:
        header: of the result.
        _before: of it before its dtype is changed.
        _finish: makes bands of that out of denoised ones.
        _wanted: what is changed; None for nothing.
        _redrawn: as a `Stack` says.
    """

    header: Header
    _before: Header
    _finish: Finish
    _wanted: Wanted | None
    _redrawn: bool = False

    @property
    def in_place(self) -> bool:
        """Whether a pixel of the result follows from the denoised one in its place alone."""
        return self._finish is unchanged

    def source(self, stack: Stack) -> Stack:
        """What is to be denoised."""
        rounds = self._wanted is not None and not self._redrawn
        return Unrounded(stack) if rounds and stack.header.dtype.kind in "ui" else stack

    def bands(self, denoised: Iterable[np.ndarray], seen: Survey) -> Iterable[np.ndarray]:
        """Bands of the result.

        Arguments:
            denoised: bands of `source`.
            seen: its values.

        Raises:
            UserError: they don't fit, at once.
        """
        bands = self._finish(denoised)
        if self._wanted is None:
            return bands
        if self._redrawn:  # raw files for one, whose results have all of a range
            white = Scale.of(self._before.dtype).white
            seen = Survey(0, white, white, 0)
        return self._wanted.bands(bands, self._before, seen)

"""Between stored values and the unit scale that networks work on: black is 0, white is 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from noise2noise.errors import UserError


@dataclass(frozen=True)
class Scale:
    """Which stored value is black, and which is white.

        unit = (value - black) / (white - black)

    Integers coming back are rounded to the nearest step and clipped to `limits`; floats are not
    clipped.

    Attributes:
        black, white: stored values.
        limits: the smallest and the largest stored integer; black and white if None.
    """

    black: float
    white: float
    limits: tuple[float, float] | None = None

    @classmethod
    def of(cls, dtype: npt.DTypeLike) -> Scale:
        """All that an integer can hold; 0 to 1 for floats."""
        dtype = np.dtype(dtype)
        if dtype.kind == "f":
            return cls(0, 1)
        return cls(0, float(np.iinfo(dtype).max))

    def to_unit(self, values: np.ndarray) -> np.ndarray:
        """float32 of the same shape, contiguous, in memory of its own."""
        unit = np.array(values, np.float32, order="C")
        if self.black != 0:
            unit -= np.float32(self.black)
        if self.white - self.black != 1:
            unit /= np.float32(self.white - self.black)
        return unit

    def from_unit(self, unit: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
        """The inverse of `to_unit`, for the same dtype.

        Raises:
            UserError: values that aren't finite, which no integer can stand for.
        """
        dtype = np.dtype(dtype)
        if dtype.kind == "f":
            return self._floats(unit, dtype)
        bad = np.count_nonzero(~np.isfinite(unit))
        if bad:
            raise UserError(
                f"the image to be written has {bad} NaN or infinite values, "
                "so the model that made it is broken; choose another one"
            )
        if self.limits is not None:
            values = unit * np.float64(self.white - self.black) + self.black
            return np.rint(np.clip(values, *self.limits)).astype(dtype)
        scaled = np.clip(unit, 0, 1)
        if dtype.itemsize > 2:  # float32 has 24 bits
            scaled = scaled.astype(np.float64)
        scaled *= scaled.dtype.type(self.white - self.black)
        np.rint(scaled, out=scaled)
        if self.black != 0:
            scaled += scaled.dtype.type(self.black)
        return scaled.astype(dtype)

    def _floats(self, unit: np.ndarray, dtype: np.dtype) -> np.ndarray:
        values = unit.astype(np.float64 if dtype.itemsize > 4 else np.float32)
        if self.white - self.black != 1:
            values *= self.white - self.black
        if self.black != 0:
            values += self.black
        return values.astype(dtype)

"""What a cell of the matrix is: a file that a library writes, and what it finds in one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HEIGHT, WIDTH = 21, 34


@dataclass(frozen=True)
class Facts:
    """What a library finds in a file.

    Attributes:
        said: all that must be the same in a result: dtype, shape, axes, what is meant, metadata.
        colours: (..., samples), transparency left out.
        alpha: transparency, or nothing.
    """

    said: dict[str, Any]
    colours: np.ndarray
    alpha: np.ndarray | None = None


@dataclass(frozen=True)
class Cell:
    """A file of the matrix.

    Attributes:
        name: of the file, whose suffix names the format.
        write: writes it at a path.
        facts: of a file of this kind.
        loss: how far pixels may be from the source's where nothing is denoised, in the mean.
    """

    name: str
    write: Callable[[Path], object]
    facts: Callable[[Path], Facts]
    loss: float = 0


def pixels_of(shape: tuple[int, ...], dtype: str, top: float | None = None) -> np.ndarray:
    """Waves with noise, over most of the dtype's range or up to `top`."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 6, int(np.prod(shape))).reshape(shape)
    unit = (0.5 + 0.3 * np.sin(ramp) + rng.normal(0, 0.05, shape)).clip(0, 1)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (unit * (top or 1)).astype(kind)
    limits = np.iinfo(kind)
    if limits.bits == 64 or top:  # wide integers hold counts
        return (unit * (top or 1e6)).astype(kind)
    low = limits.min / 2
    return (low + unit * (limits.max / 2 - low)).astype(kind)

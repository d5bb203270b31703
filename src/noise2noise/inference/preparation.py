"""What is taken from images before the network sees them, where a model asks for it: offsets of
rows and columns, salt and pepper."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from noise2noise.files import Scale, Stack, Survey
from noise2noise.guidance import PlaneView
from noise2noise.networks import Needs
from noise2noise.noise.salt import find_salt
from noise2noise.noise.stripes import row_offsets

_ROWS = 256  # read at once


class Ready(NamedTuple):
    """A window that is ready for the network.

    Attributes:
        image: (C, h, w).
        places: where salt and pepper was replaced, bool (C, h, w); None if none is looked for.
        spread: how sure that is: the standard deviation of the neighbours; None as well.
    """

    image: np.ndarray
    places: np.ndarray | None = None
    spread: np.ndarray | None = None


class Preparation:
    """Prepares the planes of one stack.

    Arguments:
        needs: what the model asks for.
        stack: is read where offsets are asked for, once for each plane.
        scale: of the unit scale.
        seen: the values that there are, for salt and pepper.

    Attributes:
        stack, scale: as given.
    """

    def __init__(self, needs: Needs, stack: Stack, scale: Scale, seen: Survey) -> None:
        self._rows, self._columns, self._salt = needs.rows, needs.columns, needs.salt
        self.stack, self.scale = stack, scale
        ends = scale.to_unit(np.array([seen.low, seen.high]))
        self._low, self._high = (float(end) for end in ends)
        # A plane's tiles follow each other.
        self._offsets = functools.lru_cache(maxsize=2)(self._measure)

    @property
    def idle(self) -> bool:
        """Whether nothing is asked for."""
        return not (self._rows or self._columns or self._salt)

    def view(self, plane: int) -> PlaneView:
        """A plane as it is after preparation."""
        if self.idle:
            return PlaneView(self.stack, self.scale, plane)
        return PlaneView(self.stack, self.scale, plane, lambda *window: self(*window).image)

    def __call__(self, image: np.ndarray, plane: int, rows: slice, columns: slice) -> Ready:
        """A window (C, h, w) of a plane on the unit scale, prepared."""
        ready = Ready(image)
        if self._salt:  # first, since offsets move the two values that it is told by
            ready = Ready(*find_salt(image, self._low, self._high))
        if not (self._rows or self._columns):
            return ready
        of_rows, of_columns = self._offsets(plane)
        image = ready.image - of_rows[:, rows, None] - of_columns[:, None, columns]
        return ready._replace(image=image)

    def _measure(self, plane: int) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of the rows, (C, H), and of the columns, (C, W); zeros where none are asked
        for."""
        image = read_plane(PlaneView(self.stack, self.scale, plane))
        of_rows = row_offsets(image) if self._rows else np.zeros(image.shape[:2], np.float32)
        turned = (image - of_rows[:, :, None]).transpose(0, 2, 1)
        of_columns = (
            row_offsets(turned) if self._columns else np.zeros(turned.shape[:2], np.float32)
        )
        return of_rows, of_columns


def read_plane(view: PlaneView) -> np.ndarray:
    """A whole plane, (C, H, W)."""
    _, height, width = view.shape
    everything = slice(0, width)
    parts = [
        view[:, slice(top, min(top + _ROWS, height)), everything] for top in range(0, height, _ROWS)
    ]
    return np.concatenate(parts, axis=1)

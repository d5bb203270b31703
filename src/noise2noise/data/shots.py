"""Shots as files hold them: the planes and channels of any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noise2noise.data.words import colour_text, shortened
from noise2noise.errors import UserError
from noise2noise.files import Header, Scale, open_stack
from noise2noise.tiling import filled

USUAL_CROP = 64
"""The side of a training crop, in pixels."""

_MOVES = "TZQI"  # along which shots follow each other, the first of them that there is


@dataclass
class Shot:
    """One noisy picture.

    Attributes:
        pixels: (C, H, W) as stored, C 1 or 3; numbers, all of them.
        name: of its file, and of the plane and channel in it.
        unknown: where the file has no number, NaN or an infinity, and `pixels` what fits in; bool
            (C, H, W), or None where there is no such place.
    """

    pixels: np.ndarray
    name: str
    unknown: np.ndarray | None = None

    def window(self, rows: slice, columns: slice) -> Shot:
        """A part of it."""
        unknown = None if self.unknown is None else self.unknown[:, rows, columns]
        return Shot(self.pixels[:, rows, columns], self.name, unknown)


def read_shots(path: Path) -> list[list[Shot]]:
    """The pictures in a file, as lists of those that follow each other along T, Z, Q or I.

    Colours stay together; what isn't red, green and blue is a grey picture for each channel, as
    which it is denoised too.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    with open_stack(path) as stack:
        header = stack.header
        planes = [_known(stack.read(plane)[..., : header.colours]) for plane in _all(header)]
    grey = header.colour != "rgb"
    rows = []
    for numbers in _sequences(header):
        parts = range(header.colours) if grey else (slice(None),)
        for part in parts:
            labels = _labels(path, header, numbers, part)
            rows.append(
                [
                    _shot(*planes[number], _as_slice(part), label)
                    for number, label in zip(numbers, labels, strict=True)
                ]
            )
    return rows


def one_kind(shots: list[Shot]) -> bool:
    """Make shots one kind of values, in place: where their dtypes differ, integers become shares of
    their largest.

    Returns:
        Whether they still are in the units of their files.

    Raises:
        UserError: some are grey and some in colour.
    """
    channels = len(shots[0].pixels)
    other = [shot.name for shot in shots if len(shot.pixels) != channels]
    if other:
        raise UserError(
            f"{shots[0].name} is {colour_text(channels)} but not these: {shortened(other)}; "
            "train on grey and colour images apart"
        )
    if len({shot.pixels.dtype for shot in shots}) == 1:
        return True
    for shot in shots:
        shot.pixels = Scale.of(shot.pixels.dtype).to_unit(shot.pixels)
    return False


def usual_crop(shots: Sequence[Shot], multiple: int) -> int:
    """The side of crops where nobody says: 64, or what fits into the smallest shot."""
    least = min(min(shot.pixels.shape[1:]) for shot in shots)
    return max(min(USUAL_CROP, least) // multiple, 1) * multiple


def _all(header: Header) -> range:
    return range(header.planes)


def _as_slice(part: int | slice) -> slice:
    return slice(part, part + 1) if isinstance(part, int) else part


def _known(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """A plane, (H, W, C), as (C, H, W) with a number everywhere, and where there was none."""
    planes = values.transpose(2, 0, 1)
    if values.dtype.kind != "f":
        return planes, None
    unknown = ~np.isfinite(planes)
    return (filled(planes, unknown), unknown) if unknown.any() else (planes, None)


def _shot(planes: np.ndarray, unknown: np.ndarray | None, part: slice, name: str) -> Shot:
    where = None if unknown is None or not unknown[part].any() else unknown[part]
    return Shot(planes[part], name, where)


def _sequences(header: Header) -> list[list[int]]:
    """The numbers of planes, in rows of those that follow each other."""
    letters = header.axes[: header.axes.index("Y")]
    sizes = [*header.shape[: len(letters)]]
    numbers = np.arange(header.planes).reshape(sizes)
    long = [each for each in _MOVES if each in letters and sizes[letters.index(each)] > 1]
    if not long:
        return [[number] for number in numbers.reshape(-1).tolist()]
    along = np.moveaxis(numbers, letters.index(long[0]), -1)
    return along.reshape(-1, sizes[letters.index(long[0])]).tolist()


def _labels(path: Path, header: Header, numbers: Sequence[int], part: int | slice) -> list[str]:
    channel = f", channel {part}" if isinstance(part, int) and header.colours > 1 else ""
    if header.planes == 1:
        return [f"{path}{channel}"]
    return [f"{path}, plane {number}{channel}" for number in numbers]

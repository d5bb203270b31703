"""numpy's arrays: of any dtype, byte order and memory order, with any axes; masked ones too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files import Axes, Header, Stack, colour_of, named, samples_at, usual
from noise2noise.kinds.kind import Said, Work


class AxesStack(Stack):
    """An array whose dimensions lie in any order.

    Arguments:
        array: of integers or floats, of any byte order.
        axes: its dimensions.
        mask: of the same shape; what is True there is handed out as NaN, and integers as floats.
    """

    def __init__(self, array: np.ndarray, axes: Axes, mask: np.ndarray | None = None) -> None:
        self._array, self._axes, self._mask = array, axes, mask
        dtype, whole = array.dtype.newbyteorder("="), None
        if mask is not None and dtype.kind != "f":
            whole, dtype = dtype, np.dtype(np.float32 if dtype.itemsize < 3 else np.float64)
        super().__init__(Header(axes.letters, axes.sizes, dtype, colour_of(axes), whole=whole))

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        window = self._axes.window(plane, rows, columns)
        values = self._axes.from_stored(self._array[window]).astype(self.header.dtype)
        if self._mask is not None:
            values[self._axes.from_stored(self._mask[window])] = np.nan
        return values

    def forget(self) -> None:
        self._array, self._mask = np.empty(0), None


def denoised(image: np.ndarray, work: Work) -> np.ndarray:
    """The same shape, dtype, byte order and order in memory, which is its own."""
    if image.dtype == bool:  # black and white: grey in between, until it is decided again
        return _like(image, denoised(image * np.uint8(255), work) > 127)
    if image.dtype.kind not in "uif":
        raise UserError(f"expected pixels of integers or floats, got {image.dtype}")
    if image.size == 0:
        raise UserError(f"expected at least one pixel, got the shape {image.shape}")
    axes = axes_of(image.shape, work.said)
    result = np.empty_like(image, subok=False)
    if isinstance(image, np.ma.MaskedArray):
        return _masked(image, axes, result, work)
    _, bands = work.bands(AxesStack(image.view(np.ndarray), axes))
    axes.put(result, bands)
    return result


def axes_of(shape: tuple[int, ...], said: Said) -> Axes:
    """The axes of an array: those that are said, or the usual ones.

    Raises:
        UserError: the array has too few dimensions or too many, or others are said.
    """
    if said.axes is not None and said.channel_axis is not None:
        raise UserError(
            f"axes {said.axes} name the channels already; leave channel_axis {said.channel_axis} "
            "out"
        )
    if not 2 <= len(shape) <= 8:
        raise UserError(f"expected pixels of 2 to 8 dimensions, got the shape {shape}")
    if said.axes is not None:
        return named(said.axes, shape, "the array")
    if said.channel_axis is not None:
        return named(samples_at(said.channel_axis, shape, "the array"), shape, "the array")
    return Axes(usual(shape), shape)


def _masked(image: np.ma.MaskedArray, axes: Axes, result: np.ndarray, work: Work) -> np.ndarray:
    """What is masked stays, and the network doesn't see it."""
    mask, values = np.ma.getmaskarray(image), image.data
    header, bands = work.bands(AxesStack(values, axes, mask))
    axes.put(result, bands if header.whole is None else _rounded(bands, header.whole))
    result[mask] = values[mask]
    clean = np.ma.MaskedArray(result, mask.copy(), fill_value=image.fill_value)
    return clean if image.mask is not np.ma.nomask else np.ma.MaskedArray(result)


def _rounded(bands: Iterable[np.ndarray], dtype: np.dtype) -> Iterator[np.ndarray]:
    limits = np.iinfo(dtype)
    for band in bands:
        yield np.rint(np.nan_to_num(band, nan=0).clip(limits.min, limits.max)).astype(dtype)


def _like(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values in the order in memory that the image has."""
    result = np.empty_like(image, subok=isinstance(image, np.ma.MaskedArray))
    result[...] = values
    return result

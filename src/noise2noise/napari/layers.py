"""An image layer as the rest of the program sees it, and what the layer of a result says.

A layer's data may be numpy's, dask's or zarr's: a plane is asked for when it is needed, and kept
until the next one is.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files import Axes, Header, Stack, colour_of, named
from noise2noise.files.axes import leading
from noise2noise.kinds.labelled import axes_named

NOT_CARRIED = ("multiscale", "cache", "experimental_clipping_planes", "projection_mode", "visible")
"""What a result's layer doesn't take over from the layer that it was made of."""

_WITH_ALPHA = 4  # samples of a layer that is RGB


@dataclass(frozen=True)
class Pixels:
    """What is to be denoised.

    Attributes:
        data: an array of any kind: it has a shape, a dtype, and windows that numpy can take.
        axes: its dimensions.
        alpha: whether the last sample of a pixel is transparency.
    """

    data: Any
    axes: Axes
    alpha: bool = False


class PixelStack(Stack):
    """Pixels of a layer as a stack; one plane of them is held in memory."""

    def __init__(self, pixels: Pixels, name: str = "") -> None:
        axes, dtype = pixels.axes, np.dtype(pixels.data.dtype)
        if dtype.kind not in "uif":
            raise UserError(f"the layer holds {dtype}; choose one of integers or floats")
        if 0 in axes.shape:
            raise UserError(f"the layer has no pixel, its shape is {axes.shape}; choose another")
        colour, alpha = ("rgb", "straight") if pixels.alpha else (colour_of(axes), "")
        header = Header(axes.letters, axes.sizes, dtype.newbyteorder("="), colour, alpha)
        super().__init__(header, name)
        self._pixels, self._kept, self._plane = pixels, np.empty(0), -1

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        if plane != self._plane:
            axes = self._pixels.axes
            window = self._pixels.data[axes.window(plane, slice(None), slice(None))]
            self._kept = axes.from_stored(np.asarray(window)).astype(self.header.dtype, copy=False)
            self._plane = plane
        return self._kept[rows, columns]


def pixels_of(layer: Any, channel_axis: int | None = None) -> Pixels:
    """The pixels of an image layer; of several resolutions the finest.

    Arguments:
        layer: of images. Its `axis_labels` say what its dimensions are where they are names such as
            t, z, channel, y, x; if not, the last two are rows and columns.
        channel_axis: the dimension along which channels with noise of their own lie.

    Raises:
        UserError: there is no such dimension, or it holds rows, columns or colours.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(int(size) for size in data.shape)
    labels = layer.axis_labels
    letters = (axes_named(labels) or leading(len(labels))).replace("S", "Q")
    letters += "S" if layer.rgb else ""
    if channel_axis is not None:
        if not 0 <= channel_axis < len(letters) or letters[channel_axis] in "YXS":
            raise UserError(
                f"channels can't lie along axis {channel_axis} of {layer.name}, whose axes are "
                f"{letters}; choose one before rows and columns"
            )
        others = letters.replace("C", "Q")
        letters = others[:channel_axis] + "C" + others[channel_axis + 1 :]
    return Pixels(data, named(letters, shape, layer.name), layer.rgb and shape[-1] == _WITH_ALPHA)


@dataclass(frozen=True)
class View:
    """What of a layer is on the canvas: a window of one plane.

    Attributes:
        pixels: of the layer.
        window: a slice for each dimension of them; one entry long where it numbers planes.
    """

    pixels: Pixels
    window: tuple[slice, ...]

    @property
    def start(self) -> tuple[int, ...]:
        """The first pixel, colours left out."""
        letters = self.pixels.axes.stored
        return tuple(
            each.start for each, letter in zip(self.window, letters, strict=True) if letter != "S"
        )

    def plane(self) -> Pixels:
        """The whole plane, of as many dimensions as the layer; the channels of a pixel too."""
        axes = self.pixels.axes
        place = tuple(
            slice(None) if letter in "YXS" else each
            for each, letter in zip(self.window, axes.stored, strict=True)
        )
        data = np.asarray(self.pixels.data[place])
        return Pixels(data, Axes(axes.stored, data.shape), self.pixels.alpha)


def view_of(layer: Any, viewer: Any, channel_axis: int | None = None) -> View:
    """What of a layer is in view.

    Raises:
        UserError: the canvas shows other dimensions than rows and columns, or none of the layer.
    """
    pixels = pixels_of(layer, channel_axis)
    stored, shape = pixels.axes.stored, pixels.axes.shape
    # A viewer has as many dimensions as its deepest layer: the last ones are this layer's.
    more = viewer.dims.ndim - layer.ndim
    displayed = {int(each) - more for each in viewer.dims.displayed}
    if displayed != {stored.index("Y"), stored.index("X")}:
        raise UserError(
            "a preview is of rows and columns, and the canvas shows other axes; go back to the "
            "usual view in two dimensions, or denoise all"
        )
    point = np.rint(layer.world_to_data(viewer.dims.point)).astype(int)
    low, high = _corners(layer)
    window = []
    for place, size in enumerate(shape):
        if stored[place] == "S":
            window.append(slice(0, size))
        elif place in displayed:
            window.append(slice(max(0, int(low[place])), min(size, int(high[place]))))
        else:
            at = int(np.clip(point[place], 0, size - 1))
            window.append(slice(at, at + 1))
    if any(each.stop <= each.start for each in window):
        raise UserError(f"nothing of {layer.name} is in view; move it onto the canvas")
    return View(pixels, tuple(window))


def _corners(layer: Any) -> np.ndarray:
    """First pixel in view and the one after the last, in the finest resolution."""
    first, last = np.array(layer.corner_pixels)
    if not last.any():  # nothing has been drawn yet: all of it
        whole = layer.data[0].shape if layer.multiscale else layer.data.shape
        return np.stack([first, whole[: layer.ndim]])
    factors = layer.downsample_factors[layer.data_level] if layer.multiscale else 1
    return np.stack([np.floor(first * factors), np.ceil((last + 1) * factors)])


def empty_like(data: Any) -> np.ndarray:
    """Room for a result: in memory, as numpy's arrays are, or else in a file without a name, which
    goes with the layer. What is read piece by piece need not fit into memory.

    Raises:
        UserError: there is no room in the folder for temporary files.
    """
    shape, dtype = tuple(data.shape), np.dtype(data.dtype).newbyteorder("=")
    if isinstance(data, np.ndarray):
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as error:
        raise UserError(
            f"the result doesn't fit into {tempfile.gettempdir()} ({error.strerror}); make room "
            "there, or name another folder in TMPDIR"
        ) from error


def result_layer(layer: Any, data: np.ndarray, facts: dict[str, Any]) -> dict[str, Any]:
    """What `add_image` is told of a result: all that the layer says, and how it was made."""
    _, said, _ = layer.as_layer_data_tuple()
    kept = {name: value for name, value in said.items() if name not in NOT_CARRIED}
    metadata = {**layer.metadata, "noise2noise": facts}
    return {**kept, "data": data, "name": f"{layer.name} denoised", "metadata": metadata}


def preview_layer(
    layer: Any, view: View, data: np.ndarray, facts: dict[str, Any]
) -> dict[str, Any]:
    """The same for a part of a layer, which is put where it was taken."""
    from napari.utils.transforms import Affine  # pyright: ignore[reportMissingImports]

    turned = Affine(rotate=layer.rotate, scale=layer.scale, shear=layer.shear, ndim=layer.ndim)
    translate = np.asarray(layer.translate) + turned(view.start)
    told = result_layer(layer, data, facts)
    return {**told, "name": preview_name(layer), "translate": translate}


def preview_name(layer: Any) -> str:
    """The name of the layer with a layer's preview."""
    return f"{layer.name} preview"

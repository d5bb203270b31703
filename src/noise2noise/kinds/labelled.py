"""xarray's DataArrays: their dimensions have names, which say what the axes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from noise2noise.errors import UserError
from noise2noise.kinds.kind import Work
from noise2noise.kinds.kind import denoised as denoised_values

if TYPE_CHECKING:
    import xarray

_NAMES = {
    "T": "t time frame",
    "Z": "z depth plane",
    "C": "c channel channels band bands wavelength",
    "S": "s sample samples rgb colour color",
    "Y": "y row rows lat latitude height",
    "X": "x col cols column columns lon longitude width",
}
_LETTERS = {name: letter for letter, names in _NAMES.items() for name in names.split()}


def denoised(image: Any, work: Work) -> xarray.DataArray:
    """The same kind of values, with name, dimensions, coordinates, attributes and encoding."""
    if not hasattr(image, "dims") or not hasattr(image, "data"):
        raise UserError(
            f"a {type(image).__name__} holds several images; give one of its variables, such as "
            "dataset['name']"
        )
    if work.said.axes is None and work.said.channel_axis is None:
        work = work.saying(axes=axes_named(image.dims))
    return image.copy(data=denoised_values(image.data, work))


def axes_named(names: Sequence[object]) -> str | None:
    """The letters of dimensions with these names; None if rows and columns aren't among them."""
    letters = ""
    for name in names:
        letter = _LETTERS.get(str(name).lower(), "Q")
        letters += "Q" if letter in letters else letter
    return letters if "Y" in letters and "X" in letters else None

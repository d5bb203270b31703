"""OME-XML and ImageJ's words: sizes of pixels and names of channels, in and out of a TIFF."""

from __future__ import annotations

import html
import math
import re
from typing import Any

import numpy as np
import tifffile

from noise2noise.files.stack import Channel, Header, Step

TYPES = {
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "i1": "int8", "i2": "int16", "i4": "int32",
    "f4": "float", "f8": "double",
}  # fmt: skip
"""OME's names of dtypes."""

# OME-Zarr's names of units, and OME-XML's. ImageJ writes u for micro.
_UNITS = {
    "angstrom": "Å", "nanometer": "nm", "micrometer": "µm", "millimeter": "mm", "centimeter": "cm",
    "meter": "m", "nanosecond": "ns", "microsecond": "µs", "millisecond": "ms", "second": "s",
    "minute": "min", "hour": "h",
}  # fmt: skip
_NAMES = {short: name for name, short in _UNITS.items()}
_NAMES |= {"um": "micrometer", "micron": "micrometer", "microns": "micrometer", "sec": "second"}
_SIZES = {"X": "PhysicalSizeX", "Y": "PhysicalSizeY", "Z": "PhysicalSizeZ", "T": "TimeIncrement"}


def steps_of_ome(text: str) -> tuple[Step, ...]:
    """What the first image of an OME-XML says of its steps."""
    pixels = re.search(r"<Pixels\b[^>]*>", text)
    said = _attributes(pixels[0]) if pixels else {}
    steps = []
    for axis, name in _SIZES.items():
        size = _number(said.get(name))
        if size:
            usual = "s" if axis == "T" else "µm"
            steps.append(Step(axis, size, unit_named(said.get(f"{name}Unit", usual))))
    return tuple(steps)


def channels_of_ome(text: str) -> tuple[Channel, ...]:
    """What the first image of an OME-XML says of its channels."""
    image = re.search(r"<Pixels\b.*?</Pixels>", text, re.DOTALL)
    tags = re.findall(r"<Channel\b[^>]*>", image[0]) if image else []
    return tuple(
        Channel(said.get("Name", ""), _colour(said.get("Color")))
        for said in (_attributes(tag) for tag in tags)
    )


def steps_of_imagej(said: dict[str, Any], x: float, y: float) -> tuple[Step, ...]:
    """What ImageJ says of steps.

    Arguments:
        said: its metadata.
        x, y: pixels in its unit, as the tags of resolution have them; 0 if unknown.
    """
    unit = unit_named(str(said.get("unit") or "").replace("\\u00B5", "µ"))
    sizes = {"X": 1 / x if x else 0, "Y": 1 / y if y else 0, "Z": _number(said.get("spacing"))}
    steps = [
        Step(axis, size, unit) for axis, size in sizes.items() if size and unit not in ("", "pixel")
    ]
    interval = _number(said.get("finterval"))
    return (*steps, Step("T", interval, "second")) if interval else tuple(steps)


def described(header: Header) -> bytes | None:
    """An OME-XML that says what a new TIFF's pages are; None where nothing has to be said, or OME
    hasn't these axes or this dtype."""
    axes, metadata = header.axes, header.metadata
    leading = axes[: axes.index("Y")]
    if not leading and not metadata.steps:
        return None
    if set(leading) - set("TZC") or header.dtype.str[1:] not in TYPES or header.whole is not None:
        return None
    said: dict[str, Any] = {}
    for step in metadata.steps:
        if step.axis in _SIZES:
            said[_SIZES[step.axis]] = step.size
            if step.unit in _UNITS:
                said[f"{_SIZES[step.axis]}Unit"] = _UNITS[step.unit]
    if metadata.channels and "C" in leading:
        count = header.shape[axes.index("C")]
        named = [*metadata.channels, *[Channel()] * count][:count]
        said["Channel"] = {"Name": [each.name or f"{i}" for i, each in enumerate(named)]}
    if header.white is not None:
        said["SignificantBits"] = math.ceil(math.log2(header.white + 1))
    xml = tifffile.OmeXml()
    stored = (header.planes, 1, 1, header.height, header.width, header.samples)
    xml.addimage(np.dtype(header.dtype), header.shape, stored, axes=axes, **said)
    return xml.tostring().encode()


def unit_named(text: str) -> str:
    """A unit in full; itself if it is unknown."""
    text = text.replace("μ", "µ")  # the Greek letter
    return _NAMES.get(text, text)


def _attributes(tag: str) -> dict[str, str]:
    found = re.findall(r'([\w:]+)="([^"]*)"', tag)
    return {name: html.unescape(value) for name, value in found}


def _number(said: object) -> float:
    """Positive and finite, or 0."""
    try:
        number = float(str(said))
    except ValueError:
        return 0.0
    return number if 0 < number < math.inf else 0.0


def _colour(said: str | None) -> str:
    """RRGGBB of OME's signed integer RGBA."""
    if said is None or not re.fullmatch(r"-?\d{1,10}", said):
        return ""
    return f"{int(said) % 2**32:08X}"[:6]

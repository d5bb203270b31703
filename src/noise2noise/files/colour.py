"""Inks and Lab as colours: what printers and colour scientists store is seen by the network as RGB.

Four inks say together what colour a pixel has, and denoised one by one they would shift against
each other. So a file of CMYK with a profile, or of CIE Lab, is handed out as sRGB floats, which
may leave 0..1 where sRGB ends. On the way back only what denoising changed is converted:

    stored' = stored + back(denoised) - back(seen)

A pixel that denoising leaves alone keeps its inks bit for bit, black ink under black text too,
which a conversion of the whole picture would mix from all four. The conversions are those of
Little CMS, with the relative colorimetric intent.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Literal

import imagecodecs
import numpy as np
import PIL.ImageCms

from noise2noise.files.stack import ALL, Finish, Header, Held, Stack

_RELATIVE = 1
_DATE = slice(24, 36)
_A_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


def in_colour(stack: Stack) -> Stack:
    """Inks with a profile, and Lab, as colours; any other stack as it is."""
    header = stack.header
    if header.dtype not in (np.uint8, np.uint16):
        return stack
    if header.colour == "lab":
        return _InColour(stack, _lab(header.dtype), "its Lab was denoised as RGB")
    if header.colour != "cmyk":
        return stack
    conversion = _inks(header.metadata.icc_profile, header.dtype)
    try:
        conversion[0](np.zeros((1, 1, 4), header.dtype))
    except (RuntimeError, ValueError):  # no profile, one of other colours, or a damaged one
        note = "its inks have no profile and were denoised one by one"
        stack.header = replace(header, notes=(*header.notes, note))
        return stack
    return _InColour(stack, conversion, "its inks were denoised as RGB")


Conversion = tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""From stored values to sRGB floats, and back to floats on the scale of the stored values."""


@functools.cache
def srgb() -> bytes:
    """The ICC profile of sRGB."""
    return _profile("sRGB")


def srgb_curve(linear: np.ndarray) -> np.ndarray:
    """What sRGB stores for light of 0 to 1, by IEC 61966-2-1."""
    bright = 1.055 * np.maximum(linear, 0.0031308) ** np.float32(1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bright)


@functools.cache
def _lab_profile() -> bytes:
    return _profile("LAB")


def _profile(name: Literal["sRGB", "LAB"]) -> bytes:
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile(name)).tobytes()
    # The time of day stands in it, and would make every file another.
    return profile[: _DATE.start] + _A_DATE + profile[_DATE.stop :]


def _lab(dtype: np.dtype) -> Conversion:
    """Of unsigned L, a and b: L from 0 to 100 over the whole dtype, a and b around its middle."""
    top, step = np.iinfo(dtype).max, 2.0 ** (8 * dtype.itemsize - 8)
    scale = np.array([top / 100, step, step], np.float32)
    middle = np.array([0, 128 * step, 128 * step], np.float32)
    forth = _transform(("lab", _lab_profile()), ("rgb", srgb()), np.float32)
    back = _transform(("rgb", srgb()), ("lab", _lab_profile()), np.float32)
    return (
        lambda values: forth((values.astype(np.float32) - middle) / scale),
        lambda colours: back(colours) * scale + middle,
    )


def _inks(profile: bytes, dtype: np.dtype) -> Conversion:
    """Of CMYK, by its profile."""
    steps = 65535 // np.iinfo(dtype).max
    forth = _transform(("cmyk", profile), ("rgb", srgb()), np.float32)
    back = _transform(("rgb", srgb()), ("cmyk", profile), np.uint16)
    return (
        lambda values: forth(values.astype(np.uint16) * np.uint16(steps)),
        lambda colours: back(colours) / np.float32(steps),
    )


def _transform(
    source: tuple[str, bytes], target: tuple[str, bytes], dtype: type
) -> Callable[[np.ndarray], np.ndarray]:
    """From pixels of one space and profile to pixels of another, of this dtype."""
    return lambda values: imagecodecs.cms_transform(
        np.ascontiguousarray(values),
        source[1],
        target[1],
        colorspace=source[0],
        outcolorspace=target[0],
        outdtype=dtype,
        intent=_RELATIVE,
    )


class _InColour(Stack):
    """Inks or Lab, handed out as sRGB floats; samples beyond them, transparency, as they are."""

    redrawn = True

    def __init__(self, stored: Stack, conversion: Conversion, note: str) -> None:
        self._stored = stored
        self._forth, self._back = conversion
        header = stored.header
        self._inks = header.colours
        rgb = replace(
            header,
            shape=(*header.shape[:-1], header.samples - self._inks + 3),
            dtype=np.dtype(np.float32),
            colour="rgb",
            white=None,
            notes=(*header.notes, note),
        )
        super().__init__(rgb, stored.name)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        return self._seen(self._stored.read(plane, rows, columns))

    def _seen(self, values: np.ndarray) -> np.ndarray:
        colours = self._forth(values[..., : self._inks])
        others = values[..., self._inks :].astype(np.float32)
        return np.concatenate([colours, others / np.iinfo(values.dtype).max], -1)

    @property
    def held(self) -> Held:
        return self._stored.held

    def forget(self) -> None:
        self._stored.forget()

    def close(self) -> None:
        self._stored.close()

    def result(self, holds: Callable[[Header], bool]) -> tuple[Header, Finish]:
        """Inks where the format holds them; elsewhere sRGB of as many bits."""
        header = replace(self._stored.header, axes=self.header.axes, notes=self.header.notes)
        if holds(header):
            return header, self._inks_again
        metadata = replace(header.metadata, icc_profile=srgb(), described=None, layout=None)
        rgb = replace(self.header, dtype=header.dtype, metadata=metadata)
        return rgb, self._rounded

    def _inks_again(self, bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        top = np.iinfo(self._stored.header.dtype).max
        for band, stored in self._beside(bands):
            colours, before = band[..., :3], self._seen(stored)[..., :3]
            inks = stored[..., : self._inks] + (self._back(colours) - self._back(before))
            result = stored.copy()
            result[..., : self._inks] = np.rint(inks.clip(0, top))
            yield result

    def _rounded(self, bands: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        dtype = self._stored.header.dtype
        top = np.iinfo(dtype).max
        for band, stored in self._beside(bands):
            colours = np.rint(band[..., :3].clip(0, 1) * top).astype(dtype)
            yield np.concatenate([colours, stored[..., self._inks :]], -1)

    def _beside(self, bands: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Denoised bands, each with what is stored in its place."""
        place, height = 0, self.header.height
        for band in bands:
            plane, row = divmod(place, height)
            yield band, self._stored.read(plane, slice(row, row + len(band)), ALL)
            place += len(band)

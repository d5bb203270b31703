"""What is known of an image's noise: the `NoiseProfile`, its files, and the noise map it gives.

A profile is in the units of the image it was measured on, as `noise2noise.files.to_unit` gives
them: shares of the largest value for integers, the values themselves for floats. Whoever multiplies
an image by a and adds b has to `scaled` its profile.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.serialization import replacing
from noise2noise.errors import UserError

MARGIN = 2
"""How far `NoiseProfile.sigma` looks, in pixels: a window with so much around it gives the same."""

_FORMAT = "noise2noise noise profile"
_LARGEST_FILE = 1_000_000
_MOST_CHANNELS = 1000


@dataclass(frozen=True)
class Correlation:
    """How the noise of one value goes along with that of others: 0 not at all, 1 always.

    Attributes:
        horizontal, vertical: between pixels that are one and two columns, or rows, apart.
        channels: the mean over pairs of different channels at one pixel; 0 for a single channel.
    """

    horizontal: tuple[float, float] = (0.0, 0.0)
    vertical: tuple[float, float] = (0.0, 0.0)
    channels: float = 0.0

    @property
    def nearest(self) -> float:
        """Between a pixel and the next one, the mean over both directions."""
        return (self.horizontal[0] + self.vertical[0]) / 2


@dataclass(frozen=True)
class NoiseProfile:
    """Noise whose variance grows along a straight line with the brightness x, channel by channel:

        variance(x) = shot * max(x - black, 0) + read^2

    This is the sensor model of A. Foi et al., "Practical Poissonian-Gaussian Noise Modeling and
    Fitting for Single-Image Raw-Data", IEEE Transactions on Image Processing 17, 2008.

    Attributes:
        shot: per channel, how much the variance grows with the brightness, at least 0. What one
            photon adds to a value, where the values are still proportional to the light.
        read: per channel, the standard deviation at brightness `black`, at least 0.
        black: the brightness from which `shot` counts: the darkest that was measured.
        spectrum: the standard deviation that white noise would need to look as this noise does at
            the finest scale, in means of 2 x 2 pixels and in means of 4 x 4: all the same for
            noise that is independent from pixel to pixel; growing where it was smoothed,
            resampled or compressed. Of all channels together, at the image's own brightness.
        pixel: standard deviation of a single value, from the finest to the coarsest scale, at the
            image's own brightness: above spectrum[0] where the noise is correlated.
        correlation: between neighbouring pixels and between channels.
        impulses: share of the pixels that are impulses: single ones far away from all around them.
        confidence: from 0, a guess, to 1: how much of the image there was to measure noise in, and
            how well the line fits it.

    Raises:
        ValueError: as many `shot` as `read` are needed, at least one, finite and not below zero.
    """

    shot: tuple[float, ...]
    read: tuple[float, ...]
    black: float = 0.0
    spectrum: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pixel: float = 0.0
    correlation: Correlation = Correlation()
    impulses: float = 0.0
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.shot) == len(self.read) <= _MOST_CHANNELS:
            raise ValueError(
                f"expected shot and read noise of the same channels, got {len(self.shot)} and "
                f"{len(self.read)} numbers"
            )
        for name, values in (("shot", self.shot), ("read", self.read)):
            if not all(math.isfinite(value) and value >= 0 for value in values):
                raise ValueError(f"{name} must be finite and at least 0, got {list(values)}")
        if not math.isfinite(self.black):
            raise ValueError(f"black must be finite, got {self.black}")

    @classmethod
    def gaussian(cls, sigma: float, channels: int = 1) -> NoiseProfile:
        """Noise of the same standard deviation everywhere, independent from value to value."""
        return cls(
            shot=(0.0,) * channels,
            read=(sigma,) * channels,
            spectrum=(sigma, sigma, sigma),
            pixel=sigma,
        )

    @property
    def channels(self) -> int:
        """How many channels were measured."""
        return len(self.shot)

    def sigma(self, image: np.ndarray) -> np.ndarray:
        """The noise map: the standard deviation at each value.

        `sqrt(shot * max(blur(image - black), 0) + read^2)`, blur two 3 x 3 means after each other,
        the border reflected. A window with `MARGIN` pixels around it gives what the whole gives.

        Arguments:
            image: the noisy image, `(C, H, W)`. A profile of one channel serves any number of them.

        Returns:
            float32 `(C, H, W)`.

        Raises:
            ValueError: the image has another number of channels.
        """
        fitting = self.for_channels(len(image))
        result = np.empty(image.shape, np.float32)
        for channel, (shot, read) in enumerate(zip(fitting.shot, fitting.read, strict=True)):
            plane = result[channel]
            if shot == 0:
                plane[:] = read
                continue
            plane[:] = blurred(blurred(image[channel].astype(np.float32) - np.float32(self.black)))
            np.maximum(plane, 0, out=plane)
            plane *= np.float32(shot)
            plane += np.float32(read**2)
            np.sqrt(plane, out=plane)
        return result

    def variance(self, level: np.ndarray | float, channel: int) -> np.ndarray:
        """The variance at brightness `level` in one channel."""
        above = np.maximum(np.asarray(level, np.float64) - self.black, 0)
        return self.shot[channel] * above + self.read[channel] ** 2

    def for_channels(self, count: int) -> NoiseProfile:
        """The same for an image of `count` channels, which one measured channel stands for.

        Raises:
            ValueError: several other channels were measured.
        """
        if count == self.channels:
            return self
        if self.channels != 1:
            raise ValueError(f"expected an image of {self.channels} channels, got {count}")
        return replace(self, shot=self.shot * count, read=self.read * count)

    def scaled(self, factor: float, offset: float = 0.0) -> NoiseProfile:
        """The profile of the image `factor * x + offset`; the factor is above 0."""
        return replace(
            self,
            shot=tuple(value * factor for value in self.shot),
            read=tuple(value * factor for value in self.read),
            black=self.black * factor + offset,
            spectrum=tuple(value * factor for value in self.spectrum),
            pixel=self.pixel * factor,
        )

    def to_json(self, indent: int | None = None) -> str:
        """The profile as text, which `from_json` reads."""
        return json.dumps({"format": _FORMAT, "version": 1, **asdict(self)}, indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes) -> NoiseProfile:
        """The profile in a text of anybody's: every number is checked.

        Raises:
            ValueError: it is none; says what is wrong.
        """
        try:
            return _from_json(text.encode() if isinstance(text, str) else text)
        except RecursionError as error:
            raise ValueError("it is nested without end") from error

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the profile as JSON, which `load` reads.

        Raises:
            UserError: `path` exists and `overwrite` is false.
            OSError: the disk refused.
        """
        try:
            with replacing(Path(path), overwrite) as temporary:
                Path(temporary).write_text(self.to_json(indent=2) + "\n", "utf-8")
        except FileExistsError:
            raise UserError(
                f"{path} exists already; choose another name or allow overwriting"
            ) from None

    @classmethod
    def load(cls, path: str | Path) -> NoiseProfile:
        """Read what `save` wrote. The file may come from anywhere: every number is checked.

        Raises:
            UserError: the file is missing or no profile; one sentence that says what is wrong.
        """
        try:
            with Path(path).open("rb") as file:
                text = file.read(_LARGEST_FILE + 1)
        except FileNotFoundError as error:
            raise UserError(f"there is no file {path}") from error
        except OSError as error:
            raise UserError(f"{path} can't be read: {error.strerror or error}") from error
        try:
            return cls.from_json(text)
        except ValueError as error:
            raise UserError(
                f"{path} is no noise profile: {error}; noise2noise inspect --save writes one"
            ) from error

    @classmethod
    def parse(cls, text: str) -> NoiseProfile:
        """What a user says the noise is: a standard deviation, `12`, or a profile, `camera.json`.

        Both are in the units of the image's file, as `noise2noise inspect` shows and saves them.

        Raises:
            UserError: neither a number from 0 on nor a profile.
        """
        try:
            sigma = float(text)
        except ValueError:
            return cls.load(text)
        if not (math.isfinite(sigma) and sigma >= 0):
            raise UserError(
                f"the noise's standard deviation must be finite and at least 0, got {text}"
            )
        return cls.gaussian(sigma)


def blurred(plane: np.ndarray) -> np.ndarray:
    """The mean of the 3 x 3 pixels around each, the border reflected: `(H, W)` to the same.

    A side of one pixel has nothing to reflect, and is repeated.
    """
    padded = np.pad(plane, [(1, 1), (0, 0)], "reflect" if len(plane) > 1 else "edge")
    rows = padded[:-2] + padded[1:-1]
    rows += padded[2:]
    padded = np.pad(rows, [(0, 0), (1, 1)], "reflect" if rows.shape[1] > 1 else "edge")
    sums = padded[:, :-2] + padded[:, 1:-1]
    sums += padded[:, 2:]
    sums *= np.float32(1 / 9)
    return sums


def _from_json(text: bytes) -> NoiseProfile:
    if len(text) > _LARGEST_FILE:
        raise ValueError(f"it is larger than {_LARGEST_FILE} bytes")
    try:
        content = json.loads(text)
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON (line {error.lineno}: {error.msg})") from None
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ValueError(f'it lacks the line "format": "{_FORMAT}"')
    version = content.pop("version", None)
    if version != 1:
        raise ValueError(f"its version is {version!r:.40}, and only 1 can be read")
    return NoiseProfile(**_checked(NoiseProfile, content))


_LENGTHS = {"spectrum": 3, "horizontal": 2, "vertical": 2}
_SHARES = ("impulses", "confidence")


def _checked(kind: type, content: Mapping[str, object]) -> dict[str, Any]:
    """The arguments of a dataclass out of a file's numbers."""
    known = [field.name for field in fields(kind)]
    for name in content:
        if name not in known:
            raise ValueError(f"it has an entry {name!r:.40}, and knows only {', '.join(known)}")
    for name in ("shot", "read"):
        if kind is NoiseProfile and name not in content:
            raise ValueError(f"it lacks the entry {name!r}")
    return {name: _value(name, value) for name, value in content.items()}


def _value(name: str, value: object) -> object:
    if name == "correlation":
        if not isinstance(value, dict):
            raise ValueError("its correlation is no group of numbers")
        return Correlation(**_checked(Correlation, value))
    if name in ("shot", "read") or name in _LENGTHS:
        if not isinstance(value, list) or len(value) != _LENGTHS.get(name, len(value)):
            raise ValueError(f"its {name} is no list of {_LENGTHS.get(name, '')} numbers")
        return tuple(_finite(name, each) for each in value)
    number = _finite(name, value)
    if name in _SHARES and not 0 <= number <= 1:
        raise ValueError(f"its {name} must lie between 0 and 1, not {number:g}")
    return number


def _finite(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"its {name} has {value!r:.40} in the place of a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"its {name} must be finite")
    return number

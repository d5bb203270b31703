"""What a corruption is, and how the numbers in its text are read."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from noise2noise.noise.profile import NoiseProfile

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]

Scene = Callable[[np.ndarray, np.random.Generator], Callable[[np.random.Generator], np.ndarray]]
"""Draws what all shots of a clean image (C, H, W) have in common, and returns what draws a shot."""

Settings = Callable[[np.random.Generator, int], NoiseProfile]
"""The noise of one scene, drawn for an image of so many channels."""


@dataclass(frozen=True)
class Corruption:
    """A noise model with its numbers filled in; made by `noise2noise.noise.parse`.

    Attributes:
        spec: the text that names it, all numbers written out; `parse(spec)` gives an equal one.
        unbiased: whether the mean over draws is `clean(image)`, so that a network trained with a
            squared error on pairs of draws learns the clean image.
        scale: how many clean pixels, along each side, make one pixel of a draw; 1 keeps the size.
        profile: the noise, where it is shot and read noise and the same in every draw; else None.
    """

    spec: str
    unbiased: bool
    scale: int = 1
    profile: NoiseProfile | None = field(default=None, repr=False, compare=False)
    # A partial of a module's function rather than a closure, so that it can be pickled for workers.
    _draw: Draw = field(repr=False, compare=False, kw_only=True)
    _settings: Settings | None = field(default=None, repr=False, compare=False, kw_only=True)
    _scene: Scene | None = field(default=None, repr=False, compare=False, kw_only=True)

    def draw(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One noisy image.

        Arguments:
            clean: `(C, H, W)`, in [0, 1].
            rng: the only source of randomness: the same state gives the same draw.

        Returns:
            float32 `(C, H // scale, W // scale)`, a new array; values may leave [0, 1].

        Raises:
            ValueError: `clean` is not `(C, H, W)`, or is smaller than `scale`.
        """
        return self._draw(self._cropped(clean), rng).astype(np.float32, copy=False)

    def pair(self, clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Two draws of the same clean image with independent noise; see `draw`.

        What two shots of one camera have in common, they have, too: all but the noise.
        """
        if self._scene is None:
            return self.draw(clean, rng), self.draw(clean, rng)
        shot = self._scene(self._cropped(clean), rng)
        return shot(rng), shot(rng)

    @property
    def can_be_told(self) -> bool:
        """Whether `told_pair` works: the noise is shot and read noise, without clipping."""
        return self._settings is not None or self.profile is not None

    def told_pair(
        self, clean: np.ndarray, rng: np.random.Generator, shots: int = 1
    ) -> tuple[np.ndarray, np.ndarray, NoiseProfile]:
        """Two noisy images of one scene, and the noise of the first.

        Arguments:
            clean: `(C, H, W)`, in [0, 1].
            rng: the only source of randomness.
            shots: the second image is the mean of so many draws, with a variance so much smaller.

        Raises:
            ValueError: the noise can't be told (see `can_be_told`), or `clean` is not `(C, H, W)`.
        """
        clean = self._cropped(clean)
        if self._settings is not None:
            noise = self._settings(rng, len(clean))
        elif self.profile is not None:
            noise = self.profile.for_channels(len(clean))
        else:
            raise ValueError(f"{self.spec} is no shot and read noise, so it can't be told")
        return sample(clean, noise, rng), sample(clean, noise, rng, shots), noise

    def clean(self, image: np.ndarray) -> np.ndarray:
        """What a draw is a noisy version of: the image itself, or for subpixel its block averages.

        Rows and columns beyond a multiple of `scale` are cropped off at the bottom and the right,
        as `draw` does. For an unbiased corruption this is the mean over draws.

        Arguments:
            image: `(C, H, W)`.

        Returns:
            float32 `(C, H // scale, W // scale)`.

        Raises:
            ValueError: as `draw`.
        """
        return blocks(self._cropped(image), self.scale).mean(axis=-1)

    def _cropped(self, image: np.ndarray) -> np.ndarray:
        if image.ndim != 3:
            raise ValueError(f"expected an image of shape (C, H, W), got {image.shape}")
        _, height, width = image.shape
        rows, columns = height // self.scale, width // self.scale
        if rows == 0 or columns == 0:
            raise ValueError(
                f"{self.spec} needs images of at least {self.scale} x {self.scale} pixels, "
                f"got {height} x {width}"
            )
        return image[:, : rows * self.scale, : columns * self.scale].astype(np.float32, copy=False)


_COUNTED = 0.004
"""Shot noise from which photons are counted one by one."""


def sample(
    clean: np.ndarray, noise: NoiseProfile, rng: np.random.Generator, shots: int = 1
) -> np.ndarray:
    """The mean of `shots` noisy versions of `clean`, (C, H, W), whose noise is `noise`: float32.

    Photons are counted for the light above `noise.black`.
    """
    noise, result = noise.for_channels(len(clean)), np.empty(clean.shape, np.float32)
    for plane, out, shot, read in zip(clean, result, noise.shot, noise.read, strict=True):
        out[:] = plane
        if shot > 0:
            out[:] = shot_noise(plane - noise.black, shot / shots, rng) + noise.black
        if read > 0:
            spread = np.float32(read / math.sqrt(shots))
            out += spread * rng.standard_normal(plane.shape, dtype=np.float32)
    return result


def shot_noise(clean: np.ndarray, shot: float, rng: np.random.Generator) -> np.ndarray:
    """Values of mean `clean` and variance `shot * clean`; there is no light below 0."""
    light = np.maximum(clean, 0)
    if shot >= _COUNTED:
        return rng.poisson(light / shot) * np.float32(shot)
    spread = np.sqrt(np.float32(shot) * light)
    return clean + spread * rng.standard_normal(clean.shape, dtype=np.float32)


Builder = Callable[[str], Corruption]
"""Makes a corruption of the text after the colon; raises ValueError with what is wrong with it."""


# A minus sign at the start or after the e of 1e-3 belongs to its number.
_RANGE = re.compile(r"(.*[^e])-(.+)")


def span(
    text: str,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float = math.inf,
) -> tuple[float, float]:
    """A range `2-5`, or a number, which is a range from itself to itself.

    Raises:
        ValueError: not a number, out of the limits, or not from a low to a higher number.
    """
    limits = _RANGE.fullmatch(text)
    if limits is None:
        value = number(text, name, above=above, at_least=at_least, below=below)
        return value, value
    low, high = (
        number(end, name, above=above, at_least=at_least, below=below) for end in limits.groups()
    )
    if low >= high:
        raise ValueError(f"the range {text} does not go from a low to a higher number")
    return low, high


def span_text(low: float, high: float) -> str:
    """What `span` reads back."""
    return number_text(low) if low == high else f"{number_text(low)}-{number_text(high)}"


def number(
    text: str,
    name: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float = math.inf,
) -> float:
    """The number that a text is.

    Raises:
        ValueError: not a number, not finite, or out of the limits; the sentence names it.
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {text!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {text}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above:g}, got {text}")
    if at_least is not None and value < at_least:
        raise ValueError(f"{name} must be at least {at_least:g}, got {text}")
    if value >= below:
        raise ValueError(f"{name} must be below {below:g}, got {text}")
    return value


def number_text(value: float) -> str:
    """What `number` reads back, with every digit."""
    return str(int(value)) if value == int(value) else repr(value)


def blocks(image: np.ndarray, scale: int) -> np.ndarray:
    """(C, H, W) -> (C, H / scale, W / scale, scale * scale): each block's pixels side by side."""
    channels, height, width = image.shape
    rows, columns = height // scale, width // scale
    blocks = image.reshape(channels, rows, scale, columns, scale)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(channels, rows, columns, scale * scale)

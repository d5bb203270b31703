"""What a corruption is, and how the numbers in its text are read."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Draw = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """A noise model with its numbers filled in; made by `noise2noise.noise.parse`.

    Attributes:
        spec: the text that names it, all numbers written out; `parse(spec)` gives an equal one.
        unbiased: whether the mean over draws is `clean(image)`, so that a network trained with a
            squared error on pairs of draws learns the clean image.
        scale: how many clean pixels, along each side, make one pixel of a draw; 1 keeps the size.
    """

    spec: str
    unbiased: bool
    scale: int = 1
    # A partial of a module's function rather than a closure, so that it can be pickled for workers.
    _draw: Draw = field(repr=False, compare=False, kw_only=True)

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
        """Two draws of the same clean image with independent noise; see `draw`."""
        return self.draw(clean, rng), self.draw(clean, rng)

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


@dataclass(frozen=True)
class Family:
    """A kind of corruption: how it is written and what for, and what makes one out of its numbers.

    `build` raises ValueError with what is wrong with the text after the colon, for which `default`
    stands if there is no colon.
    """

    example: str
    summary: str
    build: Callable[[str], Corruption]
    default: str = ""


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

"""How pictures may be denoised, and which tiles of them may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from noise2noise.inference import Settings
from noise2noise.noise import NoiseProfile

Kind = Literal["before", "after", "residual"]
KINDS: tuple[Kind, ...] = ("before", "after", "residual")


class Gone(Exception):  # noqa: N818 (nobody waits for the answer any more)
    """Whoever asked for a tile looks at something else by now."""


@dataclass(frozen=True)
class Way:
    """How a picture is to be denoised.

    Attributes:
        model: of those that are offered; "" for the one that suits.
        quality: as `noise2noise denoise` takes it.
        strength: as `noise2noise denoise` takes it.
        noise: of the picture, in its own units; None for what is measured.
        single: whether the model is fitted to the picture first.
    """

    model: str = ""
    quality: str = "balanced"
    strength: float = 1.0
    noise: NoiseProfile | None = None
    single: bool = False

    def settings(self) -> Settings:
        """As `noise2noise denoise` makes them of its options."""
        return Settings(strength=self.strength, noise=self.noise, turns=self.quality == "best")

    @property
    def tells(self) -> bool:
        """Whether only a model that is told the noise will do, as a fit needs one, too."""
        return self.single or self.settings().tells


@dataclass(frozen=True)
class Ask:
    """Which tiles are asked for: a rectangle of them.

    Attributes:
        kind: what of the picture.
        level: how often it is halved.
        x, y: column and row of the first tile, counted in tiles.
        plane: of the stack.
        sample: of those that are shown one by one.
        way: how it is denoised.
        columns, rows: how many tiles; those beyond the picture are left out.
    """

    kind: Kind
    level: int
    x: int
    y: int
    plane: int = 0
    sample: int = 0
    way: Way = Way()
    columns: int = 1
    rows: int = 1

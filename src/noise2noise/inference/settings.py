"""What people may ask for when an image is denoised."""

from __future__ import annotations

from dataclasses import dataclass

from noise2noise.files import Wanted
from noise2noise.noise import NoiseProfile

MOST_STRENGTH = 2
"""A network that is told the noise may be told up to so many times as much."""


@dataclass(frozen=True)
class Settings:
    """How images are to be denoised.

    Attributes:
        strength: 0 gives the image back, 1 removes all noise; up to `MOST_STRENGTH` with networks
            that are told the noise.
        tile: side of a tile in pixels, overlap included; None for the one that takes least time.
        memory: bytes that may be resident beyond what was before; tiles become smaller if need be.
        noise: of the images, in their own units; None to estimate it from each.
        turns: take the mean over the eight flips and turns of the image: eight times the work.
        wanted: another dtype, or number of bits, of the result.
        impulses: remove single pixels far away from all around them before the network sees them;
            by networks that are told the noise only, since others may have learned to.
    """

    strength: float = 1.0
    tile: int | None = None
    memory: int | None = None
    noise: NoiseProfile | None = None
    turns: bool = False
    impulses: bool = True
    wanted: Wanted | None = None

    @property
    def tells(self) -> bool:
        """Whether only networks that are told the noise can do what is asked for."""
        return self.noise is not None or self.strength > 1


USUAL = Settings()

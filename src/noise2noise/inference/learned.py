"""What a model that learned from recorded images knows of others like them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from noise2noise.files import Scale, Survey
from noise2noise.model_info import ModelInfo
from noise2noise.noise import NoiseProfile

_FACTOR = 4  # images that are so many times brighter or darker are none of these


@dataclass(frozen=True)
class Learned:
    """What is known of the images that a model learned from.

    Attributes:
        black, white: what was so in their files.
        noise: of them, in the units of their files; None if it wasn't measured.
    """

    black: float
    white: float
    noise: NoiseProfile | None

    @classmethod
    def of(cls, info: ModelInfo) -> Learned | None:
        """What a model file says; None if it learned from images without noise of their own."""
        return None if info.values is None else cls(*info.values, info.profile)

    def fits(self, seen: Survey) -> bool:
        """Whether an image with these values may be in the same units: not if the same was saved
        with other bits, or if it is from elsewhere."""
        span = self.white - self.black
        reaches = span / _FACTOR <= seen.usual - self.black <= span * _FACTOR
        return reaches and seen.low >= self.black - span

    def scale(self, usual: Scale) -> Scale:
        """As the network saw its images, with what integers may become as it is usual."""
        limits = usual.limits or (usual.black, usual.white)
        return replace(usual, black=self.black, white=self.white, limits=limits)

    def noise_for(self, channels: int) -> NoiseProfile | None:
        """The noise of an image with so many channels; None if it isn't known."""
        fits = self.noise is not None and self.noise.channels in (1, channels)
        return self.noise if fits else None

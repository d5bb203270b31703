"""What the noise of an image is (`estimate`, `NoiseProfile`), and how noise is made (`parse`)."""

from noise2noise.noise.corruptions import Corruption, parse
from noise2noise.noise.estimate import estimate, estimate_together
from noise2noise.noise.impulses import (
    find_impulses,
    impulses,
    remove_impulses,
    without_impulses,
)
from noise2noise.noise.pairs import profile_of_pairs
from noise2noise.noise.profile import Correlation, NoiseProfile

__all__ = [
    "Correlation",
    "Corruption",
    "NoiseProfile",
    "estimate",
    "estimate_together",
    "find_impulses",
    "impulses",
    "parse",
    "profile_of_pairs",
    "remove_impulses",
    "without_impulses",
]

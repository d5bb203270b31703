"""What a model file says about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from noise2noise.noise import NoiseProfile


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Attributes:
        name: of a shipped model, or the path.
        architecture, sizes: see `noise2noise.networks`.
        title: one line for people.
        noise: the corruption it was trained on, or "recorded pairs".
        parameters: how many numbers were learned.
        values: of one that learned from recorded images, what was black and white in their files.
        profile: the noise of these images, in the units of their files.
    """

    name: str
    architecture: str
    sizes: dict[str, int]
    title: str
    noise: str
    parameters: int
    values: tuple[float, float] | None = None
    profile: NoiseProfile | None = None

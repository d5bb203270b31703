"""What a model file says about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Attributes:
        name: of a shipped model, or the path.
        architecture, sizes: see `noise2noise.networks`.
        title: one line for people.
        noise: the corruption it was trained on, or "recorded pairs".
        parameters: how many numbers were learned.
    """

    name: str
    architecture: str
    sizes: dict[str, int]
    title: str
    noise: str
    parameters: int

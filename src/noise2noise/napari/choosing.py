"""What the widgets' lists hold: a viewer's image layers, and models."""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.layers import Image

from noise2noise.napari.work import AUTOMATIC
from noise2noise.shipped import shipped_models

RUNS = Path.home() / "noise2noise"
"""Where runs are kept, if no other folder is named."""


def image_layers(viewer: Any) -> list[Any]:
    """The layers of images, the one on top first."""
    return [layer for layer in reversed(viewer.layers) if isinstance(layer, Image)]


def watch_layers(viewer: Any, changed: Callable[[], None]) -> None:
    """Call a method whenever layers come or go."""
    for event in ("inserted", "removed", "reordered"):
        getattr(viewer.layers.events, event).connect(changed)


def trained_models() -> list[str]:
    """The runs in `RUNS` that have a model."""
    return sorted(str(best.parent) for best in RUNS.glob("*/best.safetensors"))


def models() -> list[tuple[str, str]]:
    """What a list of models shows, and the model's name: shipped ones, and those trained here."""
    shipped = [(name, name) for name in (AUTOMATIC, *shipped_models())]
    return [*shipped, *((f"trained: {Path(each).name}", each) for each in trained_models())]

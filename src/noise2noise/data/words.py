"""Words for people, shared by the sources' descriptions and errors; and checks of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def checked_crop(crop: int) -> int:
    """The side of a crop, if it is at least 1."""
    return at_least(1, "crop", crop)


def checked_channels(channels: int | None) -> int | None:
    """The number of channels, if it is 1, 3 or left open."""
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    return channels


def at_least(least: int, name: str, number: int) -> int:
    """The number, or a ValueError that names it."""
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def size_text(image: np.ndarray | torch.Tensor) -> str:
    """640 x 480 colour for an image (C, H, W)."""
    channels, height, width = image.shape
    return f"{width} x {height} {colour_text(channels)}"


def colour_text(channels: int) -> str:
    """What people call images of so many channels."""
    return {1: "grey", 3: "colour"}[channels]


def counted(number: int, thing: str) -> str:
    """A number and its thing, in the plural where it must be."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def shortened(names: Sequence[str], most: int = 10) -> str:
    """A list of names, of which many are cut to the first few."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

"""Sample data, made on the spot: the same in every session, and nothing is downloaded.

Pictures are `noise2noise.dead_leaves`, noise is by name as `noise2noise make-pairs` takes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noise2noise.dead_leaves import dead_leaves
from noise2noise.noise.corruptions import parse

SIDE = 512
FRAMES, CHANNELS = 4, 2

_BLACK, _WHITE = 100, 4095  # of the 12 bits of a camera on a microscope

Layer = tuple[np.ndarray, dict[str, Any], str]
"""Data, what `add_image` is told besides, and the kind of layer, as napari takes them."""


def noisy_pair() -> list[Layer]:
    """Two shots of one scene by an sCMOS camera, 12 bits, uint16 (512, 512)."""
    rng = np.random.default_rng(1)
    clean = dead_leaves(SIDE, rng, channels=1)
    noise = parse("micro:scmos,60,2")
    said = {"scale": (0.2, 0.2), "units": ("um", "um"), "axis_labels": ("y", "x")}
    shots = [_in_12_bits(noise.draw(clean, rng))[0] for _ in range(2)]
    return [(shot, {**said, "name": f"shot {n}"}, "image") for n, shot in enumerate(shots, 1)]


def two_channels() -> list[Layer]:
    """Frames of two stains, one much darker than the other, uint16 (4, 2, 512, 512)."""
    rng = np.random.default_rng(2)
    scenes = [dead_leaves(SIDE, rng, channels=1) for _ in range(CHANNELS)]
    kinds = [parse(f"micro:scmos,{photons},2") for photons in (150, 30)]
    frames = [
        [_in_12_bits(kind.draw(scene, rng))[0] for kind, scene in zip(kinds, scenes, strict=True)]
        for _ in range(FRAMES)
    ]
    said = {
        "name": "stains",
        "scale": (5, 1, 0.2, 0.2),
        "units": ("s", "pixel", "um", "um"),
        "axis_labels": ("t", "c", "y", "x"),
    }
    return [(np.array(frames), said, "image")]


def photograph() -> list[Layer]:
    """A picture in colour, uint8 (512, 512, 3)."""
    rng = np.random.default_rng(3)
    noisy = parse("sensor:0.01,5").draw(dead_leaves(SIDE, rng), rng)
    pixels = np.rint(255 * noisy.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return [(pixels, {"name": "leaves", "rgb": True}, "image")]


def _in_12_bits(unit: np.ndarray) -> np.ndarray:
    return np.rint(_BLACK + (_WHITE - _BLACK) * unit).clip(0, _WHITE).astype(np.uint16)

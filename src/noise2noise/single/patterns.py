"""What of an image's noise is no draw at every pixel: offsets of rows and columns, salt and
pepper. Tells whether a model is to take it from images first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noise2noise.files import Stack, scale_of, survey
from noise2noise.guidance import ChannelPlanes, PlaneView
from noise2noise.inference import read_plane
from noise2noise.noise.salt import find_salt
from noise2noise.noise.stripes import row_offsets

WORDS = {"rows": "offsets of rows", "columns": "offsets of columns", "salt": "salt and pepper"}
"""What a model takes from images first, by the size that says so, in words."""

_STRIPS = 4
_ALIKE = 0.6
"""The correlation of offsets from different strips of an image, above which they are the sensor's:
of photographs it is below in all that were looked at."""


def patterns(stacks: Sequence[Stack]) -> list[str]:
    """Keys of `WORDS` that hold for most of the stacks' first planes."""
    votes = [_of(stack) for stack in stacks]
    return [name for name in WORDS if 2 * sum(name in vote for vote in votes) > len(votes)]


def _of(stack: Stack) -> set[str]:
    seen = survey(stack)
    scale = scale_of(stack.header, seen)
    plane = ChannelPlanes.of(stack.header).some(0, 1)[0]
    image = read_plane(PlaneView(stack, scale, plane))
    found = set()
    low, high = scale.to_unit(np.array([seen.low, seen.high])).tolist()
    salt = find_salt(image, low, high)
    if salt.sure:
        found.add("salt")
        image = salt.repaired
    if _alike(image):
        found.add("rows")
        image = image - row_offsets(image)[:, :, None]
    if _alike(image.transpose(0, 2, 1)):
        found.add("columns")
    return found


def _alike(image: np.ndarray) -> bool:
    """Whether rows are off by the same in all strips of the image."""
    if image.shape[2] < 8 * _STRIPS:
        return False
    strips = np.array_split(image, _STRIPS, axis=2)
    offsets = np.stack([row_offsets(strip).ravel() for strip in strips])
    if not offsets.std(axis=1).all():
        return False
    alike = np.corrcoef(offsets)[np.triu_indices(_STRIPS, 1)]
    return bool(np.median(alike) > _ALIKE)

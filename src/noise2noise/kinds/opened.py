"""Files by their path, files that are open, and the package's own `Image`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from noise2noise.errors import UserError
from noise2noise.files import Image, Stack, open_stack
from noise2noise.kinds.arrays import denoised as denoised_array
from noise2noise.kinds.kind import Work


def denoised(image: str | Path | Stack | Image, work: Work) -> np.ndarray | Image:
    """An array of a file's pixels, transparency included, with its axes in the order that
    `open_image` tells; an `Image` with its transparency and metadata."""
    if isinstance(image, Image):
        return replace(image, pixels=denoised_array(image.pixels, work))
    if isinstance(image, Stack):
        return work.whole(image)
    if not isinstance(image, str | Path):
        raise UserError(
            f"a {type(image).__name__} is no image; give an array, a tensor, a PIL image or a path"
        )
    with open_stack(image, *work.said[:2]) as stack:
        return work.whole(stack)

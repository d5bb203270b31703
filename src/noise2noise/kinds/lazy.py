"""Dask's arrays, which are computed later, and somewhere else perhaps."""

from __future__ import annotations

from typing import Any

from noise2noise.errors import UserError
from noise2noise.kinds.kind import Work


def denoised(image: Any, work: Work) -> Any:
    """A Dask array of the same shape, dtype and chunks; nothing is computed yet."""
    if work.later is None:
        raise UserError(
            "a Dask array is denoised by workers that load the model themselves; use "
            "noise2noise.denoise(array, model='name')"
        )
    return work.later(image, work.settings, work.said)

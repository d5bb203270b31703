"""Images that training never sees: which are held back, and what is made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noise2noise.data.scenes import RecordedScenes
from noise2noise.data.source import PairSource, Source
from noise2noise.errors import UserError
from noise2noise.guidance import Guidance

VALIDATION_SHARE = 20
"""One image in so many is held back for validation, at least one."""

VALIDATION_PIXELS = 2**21
"""At most so many pixels are held back, so that validation stays a small part of an epoch."""

VALIDATION_SIDE = 256
"""Crops for validation are at most this large, or one training crop if that is larger."""


@dataclass(frozen=True)
class ValidationSet:
    """Images that training never sees, always the same ones with the same noise.

    Attributes:
        pairs: (noisy input, reference), float32 `(C, H, W)`, of one size within a set, which is a
            multiple of the training crop. A reference is NaN where there is nothing to compare.
        reference_is_clean: whether the references are clean images. If not, each is another noisy
            image of the same scene; a PSNR against it is lower than the true one because the
            reference's own noise counts as error, but that part is the same for every model, so it
            ranks them alike.
        guidances: what a network that is told the noise is told of each input.
    """

    pairs: list[tuple[np.ndarray, np.ndarray]]
    reference_is_clean: bool
    guidances: list[Guidance] | None = None


def validation_set(source: PairSource) -> ValidationSet:
    """All images of a source as a fixed set for validation: the centre of each, with fixed noise.

    The centres are as large as the smallest image allows and `VALIDATION_SIDE` permits; those of
    which nothing is known are left out.

    Raises:
        UserError: that is so of all.
    """
    side = _validation_side(source)
    pairs = [source.validation_pair(index, side) for index in range(source.images)]
    known = [index for index, (_, reference) in enumerate(pairs) if np.isfinite(reference).any()]
    if not known:
        raise UserError(
            f"the {side} x {side} pixels in the middle of the images that are held back for "
            "validation are NaN or infinite, all of them; cut the images to what they show"
        )
    guidances = None
    if source.is_telling:
        guidances = [source.guidance(index, side) for index in known]
    return ValidationSet([pairs[index] for index in known], source.reference_is_clean, guidances)


def split(source: Source) -> tuple[Source, ValidationSet]:
    """Hold whole images back: (what to train on, what to validate on).

    One image in `VALIDATION_SHARE`, spread evenly and always the same ones; fewer where they would
    exceed `VALIDATION_PIXELS`; at least one. Of a single recorded scene a part of the picture.

    Raises:
        UserError: the source has a single image that can't be parted.
    """
    if source.images == 1 and isinstance(source, RecordedScenes):
        rest, held = source.parted()
        return rest, validation_set(held)
    if source.images < 2:
        raise UserError(
            f"at least two images are needed, one to learn from and one to validate on; "
            f"this is {source.describe()}"
        )
    most = max(1, VALIDATION_PIXELS // _validation_side(source) ** 2)
    count = max(1, min(source.images // VALIDATION_SHARE, most))
    step = source.images // count
    held = np.arange(count) * step + step // 2
    rest = np.setdiff1d(np.arange(source.images), held)
    return source.subset(rest), validation_set(source.subset(held))


def _validation_side(source: PairSource) -> int:
    return source.crop * max(1, min(source.smallest_side, VALIDATION_SIDE) // source.crop)

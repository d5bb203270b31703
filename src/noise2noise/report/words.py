"""What the figures of an examination mean, in a sentence."""

from __future__ import annotations

from typing import NamedTuple

from noise2noise.noise import NoiseProfile

_STRUCTURE = 0.1  # how much more was removed at edges than in flat parts
_WHITE = 0.15  # correlation of what was removed with itself one pixel on
_COARSE = -0.12  # below it the coarser part of white noise was left
_LEVEL = (0.85, 1.18)  # what was removed, in parts of what is expected
_SURE = 0.2  # confidence of the noise's measurement


class Facts(NamedTuple):
    """Of one image; see `Examination`."""

    psnr: float | None
    level: float
    beside: float
    structure: float
    noise: NoiseProfile


def trusted(facts: Facts) -> bool:
    """Whether nothing speaks against the result."""
    return facts.psnr is None or not _doubts(facts)


def verdict(facts: Facts) -> str:
    """One sentence, with a full stop."""
    if facts.psnr is None:
        return "No noise was found, so there is nothing to judge."
    doubts = _doubts(facts)
    if not doubts:
        return "What was removed looks like the noise that was measured, and like nothing else."
    return f"This result is not to be trusted blindly: {'; '.join(doubts)}."


def _doubts(facts: Facts) -> list[str]:
    doubts = []
    if facts.structure > _STRUCTURE:
        doubts.append(
            f"at edges {1 + facts.structure:.1f} times as much was removed as in flat parts, so "
            "some of the image went with it"
        )
    if facts.beside > _WHITE:
        doubts.append(
            f"what was removed reaches from pixel to pixel (correlation {facts.beside:.2f}), so "
            "some of it may have stayed, and the estimate counts for little"
        )
    elif facts.beside < _COARSE:
        doubts.append(
            f"what was removed alternates from pixel to pixel (correlation {facts.beside:.2f}), so "
            "coarser noise was left"
        )
    low, high = _LEVEL
    if not low <= facts.level <= high:
        doubts.append(
            f"what was removed has {facts.level:.0%} of the standard deviation that was expected"
        )
    if facts.noise.confidence < _SURE:
        doubts.append("there is too little in the image to tell its noise from its texture")
    return doubts

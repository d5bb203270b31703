"""What a noise profile means, in a sentence."""

from __future__ import annotations

from typing import Literal

from noise2noise.noise.profile import NoiseProfile

SMOOTHED = 1.5
"""Noise that is so many times as strong at twice the scale isn't white. White noise comes out at up
to 1.2 times, where the picture is full of texture."""

_NOTICED = 1e-4  # share of impulses worth a word
_SURE = 0.2  # confidence below which nothing is claimed
_SAME = 0.5  # correlation between channels
_GROWS = 1.3  # from the darkest to the brightest


def is_correlated(profile: NoiseProfile) -> bool:
    """Whether the noise reaches from pixel to pixel: it grows from each scale to the next."""
    fine, middle, coarse = profile.spectrum
    return middle > SMOOTHED * fine and coarse > SMOOTHED * fine


Kind = Literal["unsure", "none", "correlated", "growing", "even"]
"""What noise is like: can't be told, none, reaches from pixel to pixel, grows with the brightness,
the same at every brightness."""

_CLAUSES: dict[Kind, str] = {
    "unsure": "there is too little in this image to tell its noise from its texture",
    "none": "there is no noise to be found",
    "correlated": "the noise is correlated between pixels: it has been resampled, smoothed or "
    "compressed",
    "growing": "the noise is independent from pixel to pixel and grows with the brightness",
    "even": "the noise is independent from pixel to pixel and the same at every brightness",
}


def kind_of(profile: NoiseProfile, brightest: float) -> Kind:
    """What the noise is like, in a word; `brightest` as for `describe`."""
    if profile.confidence < _SURE:
        return "unsure"
    if profile.pixel == 0:
        return "none"
    if is_correlated(profile):
        return "correlated"
    dark, bright = (
        sum(float(profile.variance(level, channel)) for channel in range(profile.channels))
        for level in (profile.black, brightest)
    )
    return "growing" if bright > _GROWS**2 * dark else "even"


def describe(profile: NoiseProfile, brightest: float) -> str:
    """What the noise is like, in one clause without a full stop.

    Arguments:
        brightest: the brightest level of the image, in the profile's units.
    """
    kind = kind_of(profile, brightest)
    besides = [] if kind in ("unsure", "none") else _besides(profile)
    return "; ".join([_CLAUSES[kind], *besides])


def is_shared(profile: NoiseProfile) -> bool:
    """Whether the noise is much the same in all channels."""
    return profile.correlation.channels > _SAME


def has_impulses(profile: NoiseProfile) -> bool:
    """Whether there are impulses worth a word."""
    return profile.impulses > _NOTICED


def _besides(profile: NoiseProfile) -> list[str]:
    found = []
    if is_shared(profile):
        found.append("it is much the same in all channels")
    if has_impulses(profile):
        found.append(f"{100 * profile.impulses:.2g} % of the values are impulses")
    return found

"""What a noise profile means, in a sentence."""

from __future__ import annotations

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


def describe(profile: NoiseProfile, brightest: float) -> str:
    """What the noise is like, in one clause without a full stop.

    Arguments:
        brightest: the brightest level of the image, in the profile's units.
    """
    if profile.confidence < _SURE:
        return "there is too little in this image to tell its noise from its texture"
    if profile.pixel == 0:
        return "there is no noise to be found"
    return "; ".join([_kind(profile, brightest), *_besides(profile)])


def _kind(profile: NoiseProfile, brightest: float) -> str:
    if is_correlated(profile):
        return (
            "the noise is correlated between pixels: it has been resampled, smoothed or compressed"
        )
    dark, bright = (
        sum(float(profile.variance(level, channel)) for channel in range(profile.channels))
        for level in (profile.black, brightest)
    )
    if bright > _GROWS**2 * dark:
        return "the noise is independent from pixel to pixel and grows with the brightness"
    return "the noise is independent from pixel to pixel and the same at every brightness"


def _besides(profile: NoiseProfile) -> list[str]:
    found = []
    if profile.correlation.channels > _SAME:
        found.append("it is much the same in all channels")
    if profile.impulses > _NOTICED:
        found.append(f"{100 * profile.impulses:.2g} % of the values are impulses")
    return found

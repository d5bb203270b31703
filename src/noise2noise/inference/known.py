"""What is learned of a whole stack before its first tile, and is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from noise2noise.errors import UserError
from noise2noise.files import Header, Scale, Stack, Survey, scale_of, survey
from noise2noise.guidance import ChannelPlanes, Guidance
from noise2noise.inference.network import Network
from noise2noise.inference.preparation import Preparation
from noise2noise.inference.settings import Settings
from noise2noise.noise import NoiseProfile

Measure = Callable[[Preparation, int, "NoiseProfile | None"], Guidance]
"""Of a stack's channel, with its noise if that is known."""

PLANES = 8
"""Of a channel's planes at most so many are looked at to measure their noise."""


@dataclass(frozen=True)
class Known:
    """A stack as the tiles of it see it.

    Attributes:
        seen: its values.
        scale: between these and the network's.
        guides: what the network is told of each channel; None where it is told nothing.
    """

    seen: Survey
    scale: Scale
    guides: tuple[Guidance | None, ...]

    @classmethod
    def of(
        cls, network: Network, stack: Stack, settings: Settings, seen: Survey | None = None
    ) -> Known:
        """Look at a stack.

        Arguments:
            network: what is to work on it.
            stack: the images.
            settings: what is asked for.
            seen: the values, where they were looked at already.
        """
        seen = survey(stack) if seen is None else seen
        scale, settings, _ = looked_up(network, stack.header, seen, settings)
        channels = range(ChannelPlanes.of(stack.header).channels)
        prepared = Preparation(network.needs, stack, scale, seen)
        guides = (guide_of(network, prepared, settings, channel) for channel in channels)
        return cls(seen, scale, tuple(guides))

    def part(self, channels: slice) -> Known:
        """Of some channels of the stack."""
        return replace(self, guides=self.guides[channels])


def looked_up(
    network: Network, header: Header, seen: Survey, settings: Settings
) -> tuple[Scale, Settings, bool]:
    """The scale of a stack, and the settings with its noise, where the network knows either from
    the images that it learned from; whether it knows the noise."""
    scale, learned = scale_of(header, seen), network.learned
    if learned is None or not learned.fits(seen):
        return scale, settings, False
    noise = learned.noise_for(header.colours) if network.told else None
    knows = settings.noise is None and noise is not None
    return learned.scale(scale), replace(settings, noise=noise) if knows else settings, knows


def measured(prepared: Preparation, channel: int, noise: NoiseProfile | None) -> Guidance:
    """What there is to tell about the planes of a channel, whatever the network; the noise, on the
    unit scale, is measured where it isn't given."""
    planes = looked_at(prepared.stack, channel)
    return Guidance.of([prepared.view(plane) for plane in planes], noise)


def guide_of(
    network: Network,
    prepared: Preparation,
    settings: Settings,
    channel: int,
    measure: Measure = measured,
) -> Guidance | None:
    """What the network is told about the planes of a channel; None where it is told nothing.

    `measure` is in the place of `measured`, for those who keep what it gave.
    """
    if not network.told or settings.strength == 0:
        return None
    noise, needs, scale = settings.noise, network.needs, prepared.scale
    if noise is not None:
        _check_channels(noise, prepared.stack.header.colours)
        factor = 1 / (scale.white - scale.black)
        noise = noise.scaled(factor, -scale.black * factor)
    found = measure(prepared, channel, noise)
    return found if needs.centred else replace(found, offset=0.0, shared=needs.shared)


def _check_channels(noise: NoiseProfile, colours: int) -> None:
    if noise.channels not in (1, colours):
        raise UserError(
            f"the noise profile has {noise.channels} channels, and a pixel here has {colours}; "
            "measure it on an image like this one"
        )


def looked_at(stack: Stack, channel: int) -> list[int]:
    """The planes by which the noise of a channel is measured."""
    return ChannelPlanes.of(stack.header).some(channel, PLANES)

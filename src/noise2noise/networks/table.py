"""The table of networks: how to make each, what it asks of images, and its sizes."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch

from chainrule import Module
from noise2noise.errors import UserError
from noise2noise.networks.adapted import BLUR_REACH, Adapted
from noise2noise.networks.guided import Guided
from noise2noise.networks.ours import compact, fine, unet
from noise2noise.networks.published import dncnn, drunet, ffdnet
from noise2noise.networks.reports import (
    MerySkip,
    coldenhoff,
    hilsberg,
    hilsberg_published,
    mery,
    zhao,
)
from noise2noise.networks.zero_shot import zero_shot

FIRST = ("rows", "columns", "salt")
"""Sizes that say what is to be done to images before the network sees them; see `Needs`."""


class Architecture(NamedTuple):
    """How to make a network, and what it asks of images."""

    make: Callable[..., Module]
    multiple: Callable[[dict[str, int]], int]
    """Height and width must be multiples of this, given the sizes."""
    reach: Callable[[dict[str, int]], int]
    """How far, in pixels, a pixel can influence the result, given the sizes."""
    told: bool = False
    """Whether the input holds, after the image's channels, the standard deviation of the noise of
    each: (N, 2 C, H, W). The image is then about its mean."""
    shared: bool = False
    """Of one that is told the noise: whether it takes the image as it is, and one standard
    deviation for all channels: (N, C + 1, H, W)."""
    centred: bool = True
    """Whether one that is told the noise of each channel takes images about their mean."""

    def inputs(self, sizes: Mapping[str, int]) -> int:
        """Channels of the input, given all the sizes."""
        needs = self.needs(dict(sizes))
        return needs.channels + needs.levels

    def needs(self, sizes: dict[str, int]) -> Needs:
        """What the network of these sizes asks of images."""
        return Needs(
            sizes["channels"],
            self.multiple(sizes),
            self.reach(sizes),
            self.told,
            self.shared,
            centred=self.told and self.centred and not self.shared,
            **{name: bool(sizes.get(name)) for name in FIRST},
        )


class Needs(NamedTuple):
    """What one network asks of images; the members are as of `Architecture`.

    Attributes:
        centred: whether it takes images about their mean.
        memory: bytes a pixel that it needs at once, where that can't be learned by recording it.
        rows, columns: whether offsets of these are to be taken from images first.
        salt: whether salt and pepper is to be replaced first.
    """

    channels: int
    multiple: int
    reach: int
    told: bool = False
    shared: bool = False
    centred: bool = False
    memory: float = 0.0
    rows: bool = False
    columns: bool = False
    salt: bool = False

    @property
    def levels(self) -> int:
        """Channels that tell of the noise, after those of the image."""
        if not self.told:
            return 0
        return 1 if self.shared else self.channels


def _halved(sizes: dict[str, int]) -> int:
    return 2 ** sizes["depth"]


def _reach_at_half(sizes: dict[str, int]) -> int:
    """Of residual U-Nets whose first level has half the resolution.

    Blocks reach 4 * blocks pixels of size 2^(i + 1) at level i; the way down and up reaches 3
    pixels at level 0 and 2^i at level i.
    """
    return (8 * sizes["blocks"] + 1) * (2 ** (sizes["depth"] + 1) - 1) + 2


ARCHITECTURES: dict[str, Architecture] = {
    "compact": Architecture(
        compact,
        multiple=lambda sizes: 2 ** (sizes["depth"] + 1),
        reach=_reach_at_half,
    ),
    "fine": Architecture(
        fine,
        _halved,
        # As above with pixels half as large; the first and the last convolution reach 1 each.
        reach=lambda sizes: (
            4 * sizes["blocks"] * (2 ** (sizes["depth"] + 1) - 1) + 2 ** sizes["depth"] + 1
        ),
    ),
    "guided": Architecture(
        Guided,
        multiple=lambda sizes: 2 ** (sizes["depth"] + 1),
        reach=_reach_at_half,
        told=True,
    ),
    "unet": Architecture(
        unet,
        multiple=_halved,
        # 5 pixels at full size, 3 at each level between, 1 at the lowest, and its own size.
        reach=lambda sizes: 5 * 2 ** sizes["depth"] - 2,
    ),
    # A level down and up again reaches its kernels' halves, in pixels of its own size.
    "zhao": Architecture(zhao, _halved, reach=lambda sizes: 2 * _halved(sizes) - 2),
    "david": Architecture(zhao, _halved, reach=lambda sizes: 2 * _halved(sizes) - 2),
    "coldenhoff": Architecture(coldenhoff, _halved, reach=lambda sizes: 3 * _halved(sizes) - 3),
    "mery": Architecture(mery, _halved, reach=lambda sizes: 2 * _halved(sizes) - 2),
    "mery-skip": Architecture(
        MerySkip, multiple=lambda sizes: 1, reach=lambda sizes: sizes["depth"]
    ),
    "hilsberg": Architecture(hilsberg, _halved, reach=lambda sizes: 5 * _halved(sizes) - 7),
    "hilsberg-published": Architecture(
        hilsberg_published, _halved, reach=lambda sizes: 4 * _halved(sizes) - 5
    ),
    "dncnn": Architecture(dncnn, multiple=lambda sizes: 1, reach=lambda sizes: sizes["depth"]),
    "ffdnet": Architecture(
        ffdnet,
        multiple=lambda sizes: 2,
        reach=lambda sizes: 2 * sizes["depth"] + 1,
        told=True,
        shared=True,
    ),
    "drunet": Architecture(
        drunet,
        multiple=lambda sizes: 8,
        # As `fine` with depth 3, but for the lowest level, which has half as many blocks.
        reach=lambda sizes: 44 * sizes["blocks"] + 9,
        told=True,
        shared=True,
    ),
    "adapted": Architecture(
        Adapted,
        multiple=lambda sizes: 2 ** (sizes["depth"] + 1),
        reach=lambda sizes: _reach_at_half(sizes) + BLUR_REACH,
        told=True,
        centred=False,
    ),
    "zero-shot": Architecture(zero_shot, multiple=lambda sizes: 1, reach=lambda sizes: 2),
}

_LEAST = {
    ("compact", "depth"): 0,
    ("fine", "depth"): 0,
    ("guided", "depth"): 0,
    ("adapted", "depth"): 0,
    ("adapted", "knots"): 2,
    ("adapted", "gains"): 2,
    ("mery-skip", "depth"): 2,
    ("dncnn", "depth"): 2,
    ("ffdnet", "depth"): 2,
}
_MAY_BE_ZERO = {"leaky", "inner", "skip", *FIRST}


def sizes_of(name: str, sizes: Mapping[str, int]) -> dict[str, int]:
    """All sizes of the architecture `name`: those given, and defaults for the others.

    Raises:
        UserError: no such architecture or size, or a size below its least value.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"there is no architecture {name!r}; {_hint(name, ARCHITECTURES)}")
    parameters = inspect.signature(ARCHITECTURES[name].make).parameters
    for size, value in sizes.items():
        if size not in parameters:
            raise UserError(f"{name} has no size {size!r}; {_hint(size, parameters)}")
        least = 0 if size in _MAY_BE_ZERO else _LEAST.get((name, size), 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UserError(
                f"{name}: {size} must be a whole number of at least {least}, got {value!r}"
            )
    if sizes.get("channels", 3) not in (1, 3):
        raise UserError(f"{name}: channels must be 1 (grey) or 3 (colour), got {sizes['channels']}")
    return {size: sizes.get(size, parameter.default) for size, parameter in parameters.items()}


def needs_of(name: str, sizes: Mapping[str, int]) -> Needs:
    """What the network `name` of these sizes, all or some, asks of images.

    Raises:
        UserError: as `sizes_of`.
    """
    return ARCHITECTURES[name].needs(sizes_of(name, sizes))


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """`with seeded(0): build(...)` gives the same weights each time.

    They are those that `torch.manual_seed(seed)` would give; whatever the caller draws afterwards
    from torch's default generator is as if nothing had been drawn here.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU: no device's generator is touched
        yield


def build(name: str, **sizes: int) -> Module:
    """Make the network `name`, with random weights from torch's default generator.

    Args:
        name: a key of ARCHITECTURES.
        sizes: keyword arguments of its function; those left out keep their defaults.

    Raises:
        UserError: no such architecture or size, or a size below its least value.

    Example:
        >>> build("compact", width=32)(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """
    complete = sizes_of(name, sizes)
    return ARCHITECTURES[name].make(**complete)

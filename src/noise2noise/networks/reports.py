"""The networks of the five reports, as each of them has it."""

from __future__ import annotations

from collections.abc import Iterator

from chainrule import (
    Conv2d,
    ConvTranspose2d,
    LeakyReLU,
    Module,
    NearestUpsampling,
    ReLU,
    Sequential,
    Sigmoid,
    SkipConcat,
    TransposeConv2d,
    Upsampling,
)
from noise2noise.errors import UserError


def zhao(channels: int = 3, width: int = 48, depth: int = 2, leaky: int = 0) -> Module:
    """Zhao, Gao and Sun's network, and David, Nitu and Raileanu's: strided convolutions down,
    transposed ones up.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the hidden layers.
        depth: how often the image is halved.
        leaky: 1 puts a leaky ReLU (slope 0.01) in the place of each ReLU.
    """
    inputs = [channels] + [width] * (depth - 1)
    down = [Conv2d(count, width, 3, stride=2, padding=1) for count in inputs]
    up = [
        Upsampling(width, count, 3, stride=2, padding=1, output_padding=1)
        for count in reversed(inputs)
    ]
    layers: list[Module] = []
    for layer in (*down, *up):
        layers += [layer, LeakyReLU(0.01) if leaky else ReLU()]
    return Sequential(*layers[:-1], Sigmoid())


def coldenhoff(channels: int = 3, width: int = 16, depth: int = 2) -> Module:
    """Coldenhoff and Sun's network (their listing 3): kernels of 4, transposed convolutions.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the first hidden layer; every further level has twice as many.
        depth: how often the image is halved; at the lowest level without padding.
    """
    layers: list[Module] = []
    for level in reversed(range(depth)):
        outer, inner = _at_level(level, channels, width)
        padding = 0 if level == depth - 1 else 1
        layers = [
            Conv2d(outer, inner, 4, stride=2, padding=padding),
            ReLU(),
            *layers,
            TransposeConv2d(inner, outer, 4, stride=2, padding=padding),
            Sigmoid() if level == 0 else ReLU(),
        ]
    return Sequential(*layers)


def _at_level(level: int, channels: int, width: int) -> tuple[int, int]:
    """Channels above and below the convolution that leads down from `level`, doubled each time."""
    return (channels if level == 0 else width * 2 ** (level - 1)), width * 2**level


def mery(channels: int = 3, width: int = 100, depth: int = 2) -> Module:
    """The network of Mery's second mini-project (table 1): 2 x 2 patches down, nearest upsampling.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the hidden layers.
        depth: how often the image is halved.
    """
    inputs = [channels] + [width] * (depth - 1)
    layers: list[Module] = []
    for count in inputs:
        layers += [Conv2d(count, width, 2, stride=2), ReLU()]
    for count in reversed(inputs):
        layers += [NearestUpsampling(2), Conv2d(width, count, 3, padding=1), ReLU()]
    return Sequential(*layers[:-1], Sigmoid())


def hilsberg(channels: int = 3, width: int = 32, depth: int = 2) -> Module:
    """Hilsberg, Pillet and Savioz's network as their table 1 has it: kernels 3, 5, 5, 3.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the first hidden layer; every further level has twice as many.
        depth: how often the image is halved.
    """
    return _hilsberg(channels, width, depth, up_kernel=5)


def hilsberg_published(channels: int = 3, width: int = 64, depth: int = 2) -> Module:
    """Hilsberg, Pillet and Savioz's network as their published weights have it: kernels 3, 5, 3, 3.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the first hidden layer; every further level has twice as many.
        depth: how often the image is halved.
    """
    return _hilsberg(channels, width, depth, up_kernel=3)


def _hilsberg(channels: int, width: int, depth: int, up_kernel: int) -> Module:
    layers: list[Module] = []
    for level in reversed(range(depth)):
        outer, inner = _at_level(level, channels, width)
        down, up = (3, 3) if level == 0 else (5, up_kernel)
        layers = [
            Conv2d(outer, inner, down, stride=2, padding=down // 2),
            ReLU(),
            *layers,
            NearestUpsampling(2),
            Conv2d(inner, outer, up, padding=up // 2),
            Sigmoid() if level == 0 else ReLU(),
        ]
    return Sequential(*layers)


class MerySkip(Sequential):
    """The networks of Mery's first mini-project: valid convolutions, then as many transposed ones.

    One skip connection puts the first activation before the decoder's output. Layers have the
    names of the published weights, without a word for the skip between. The defaults are the
    report's final network (its table 3); `depth`, `width`, `inner`, `outer` with `skip=0` make its
    table 2, where 8 layers are `depth=8, width=20, inner=18, outer=2`.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the hidden layers.
        depth: convolutions in all, an even number.
        inner: channels of the hidden layers that are not among the `outer`; 0 for `width`.
        outer: how many hidden layers at either end have `width` channels.
        skip: 0 leaves the skip connection out.

    Raises:
        UserError: `depth` is odd.
    """

    def __init__(
        self,
        channels: int = 3,
        width: int = 100,
        depth: int = 4,
        inner: int = 0,
        outer: int = 1,
        skip: int = 1,
    ) -> None:
        if depth % 2:
            raise UserError(f"mery-skip: depth must be even, as many down as up; got {depth}")
        hidden = [
            width if min(place, depth - 2 - place) < outer else inner or width
            for place in range(depth - 1)
        ]
        inputs = [channels, *hidden]
        if skip:
            inputs[-1] += hidden[0]
        layers = list(_mery_layers(inputs, [*hidden, channels]))
        self.skip = SkipConcat(Sequential(dict(layers[2:-2]))) if skip else None
        if self.skip is not None:
            layers[2:-2] = [("skip", self.skip)]
        super().__init__(dict(layers))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, child in super().named_children():
            if self.skip is not None and child is self.skip:
                yield from self.skip.inner.named_children()
            else:
                yield name, child


def _mery_layers(inputs: list[int], outputs: list[int]) -> Iterator[tuple[str, Module]]:
    """conv1, relu1, conv2, ..., t_conv1, ..., sigmoid: the second half transposed."""
    depth = len(inputs)
    for number, (before, after) in enumerate(zip(inputs, outputs, strict=True), start=1):
        if number <= depth // 2:
            yield f"conv{number}", Conv2d(before, after, 3)
        else:
            yield f"t_conv{number - depth // 2}", ConvTranspose2d(before, after, 3)
        yield (f"relu{number}", ReLU()) if number < depth else ("sigmoid", Sigmoid())

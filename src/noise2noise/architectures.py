"""The networks, by name: `build("compact", channels=3, width=48)`.

A network takes (N, C, H, W) in [0, 1] and returns the same shape. Sizes are keyword arguments, so
that wider, deeper or grey versions are arguments and not copies.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from torch import Size, Tensor

from chainrule import (
    Conv2d,
    ConvTranspose2d,
    LeakyReLU,
    MaxPool2d,
    Module,
    NearestUpsampling,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    TransposeConv2d,
    Upsampling,
)
from noise2noise.errors import UserError


def compact(channels: int = 3, width: int = 48, depth: int = 1, blocks: int = 1) -> Module:
    """A residual U-Net that works at half resolution and below: small, quick, and good at noise.

    The first convolution halves the image, as FFDNet (Zhang et al. 2018) does by rearranging
    pixels; every level below halves it again and doubles the channels. Skips add, as in DRUNet
    (Zhang et al. 2021), and the whole predicts the noise to take away, as DnCNN (Zhang et al.
    2017). Every residual branch begins at zero (Zhang, Dauphin and Ma 2019), so that learning
    starts from a network that returns its input.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the first level.
        depth: levels below the first.
        blocks: residual blocks of two convolutions on each side of a level.
    """
    return Residual(
        Sequential(
            Conv2d(channels, width, 4, stride=2, padding=1),
            _level(width, depth, blocks),
            _silent(ConvTranspose2d(width, channels, 4, stride=2, padding=1)),
        )
    )


def fine(channels: int = 3, width: int = 32, depth: int = 2, blocks: int = 1) -> Module:
    """As `compact`, but the first level works at full resolution, as DRUNet's does: slower, and
    better where neighbouring pixels differ much, as in small images.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the first level.
        depth: levels below the first.
        blocks: residual blocks of two convolutions on each side of a level.
    """
    return Residual(
        Sequential(
            Conv2d(channels, width, 3, padding=1),
            _level(width, depth, blocks),
            _silent(Conv2d(width, channels, 3, padding=1)),
        )
    )


def _level(width: int, depth: int, blocks: int) -> Module:
    before = [_block(width) for _ in range(blocks)]
    after = [_block(width) for _ in range(blocks)]
    if depth == 0:
        return Sequential(*before, *after)
    below = Sequential(
        Conv2d(width, 2 * width, 2, stride=2),
        _level(2 * width, depth - 1, blocks),
        _silent(ConvTranspose2d(2 * width, width, 2, stride=2)),
    )
    return Sequential(*before, Residual(below), *after)


def _block(width: int) -> Module:
    return Residual(
        Sequential(
            Conv2d(width, width, 3, padding=1, weight_init="kaiming"),
            ReLU(),
            _silent(Conv2d(width, width, 3, padding=1)),
        )
    )


def _silent(layer: Conv2d | ConvTranspose2d) -> Module:
    """The layer with weights of zero: the branch that it ends adds nothing until it has learned."""
    layer.weight.zero_()
    return layer


def unet(channels: int = 3, width: int = 48, depth: int = 5) -> Module:
    """The U-Net of the Noise2Noise paper (Lehtinen et al. 2018, appendix A.1), skips concatenated.

    Max pooling down, nearest upsampling and two convolutions up, leaky ReLU of slope 0.1.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the encoder; the decoder has twice as many.
        depth: how often the image is halved.
    """
    return Sequential(
        SkipConcat(
            Sequential(
                _leaky(channels, width),
                _leaky(width, width),
                MaxPool2d(2),
                *_unet_level(width, depth - 1),
                NearestUpsampling(2),
            )
        ),
        _leaky(channels + (2 * width if depth > 1 else width), 64),
        _leaky(64, 32),
        Conv2d(32, channels, 3, padding=1),
    )


def _unet_level(width: int, depth: int) -> list[Module]:
    """What happens between the pooling and the upsampling of the level above."""
    if depth == 0:
        return [_leaky(width, width)]
    below = [_leaky(width, width), MaxPool2d(2), *_unet_level(width, depth - 1)]
    inner = SkipConcat(Sequential(*below, NearestUpsampling(2)))
    inputs = 2 * width if depth == 1 else 3 * width
    return [inner, _leaky(inputs, 2 * width), _leaky(2 * width, 2 * width)]


def _leaky(inputs: int, outputs: int) -> Module:
    layer = Conv2d(inputs, outputs, 3, padding=1, weight_init="kaiming")
    return Sequential(layer, LeakyReLU(0.1))


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


class Architecture(NamedTuple):
    """How to make a network, and what it asks of images."""

    make: Callable[..., Module]
    multiple: Callable[[dict[str, int]], int]
    """Height and width must be multiples of this, given the sizes."""
    reach: Callable[[dict[str, int]], int]
    """How far, in pixels, a pixel can influence the result, given the sizes."""


def _halved(sizes: dict[str, int]) -> int:
    return 2 ** sizes["depth"]


ARCHITECTURES: dict[str, Architecture] = {
    "compact": Architecture(
        compact,
        multiple=lambda sizes: 2 ** (sizes["depth"] + 1),
        # Blocks reach 4 * blocks pixels of size 2^(i + 1) at level i; the way down and up reaches
        # 3 pixels at level 0 and 2^i at level i.
        reach=lambda sizes: (8 * sizes["blocks"] + 1) * (2 ** (sizes["depth"] + 1) - 1) + 2,
    ),
    "fine": Architecture(
        fine,
        _halved,
        # As above with pixels half as large; the first and the last convolution reach 1 each.
        reach=lambda sizes: (
            4 * sizes["blocks"] * (2 ** (sizes["depth"] + 1) - 1) + 2 ** sizes["depth"] + 1
        ),
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
}

_LEAST = {("compact", "depth"): 0, ("fine", "depth"): 0, ("mery-skip", "depth"): 2}
_MAY_BE_ZERO = {"leaky", "inner", "skip"}


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


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}"


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


def copy_weights(source: Module, target: Module) -> None:
    """Begin `target` with the weights of `source`, a network of the same architecture and sizes.

    `target` may also be the grey version of a colour network. It then does to a grey image what
    `source` does to three equal channels: weights are summed over the colours of the input and
    averaged over those of the output.

    Raises:
        UserError: the networks differ in more than that; `target` is unchanged.
    """
    weights: dict[str, Tensor] = {}
    wanted = dict(target.named_modules())
    for prefix, module in source.named_modules():
        for name in ("weight", "bias"):
            own, its = getattr(module, name, None), getattr(wanted.get(prefix), name, None)
            if own is not None and its is not None:
                weights[f"{prefix}.{name}"] = _without_colour(module, own, its.shape)
    try:
        target.load_state_dict({**source.state_dict(), **weights})
    except ValueError as error:
        raise UserError(f"these weights are of another network: {error}") from error


def _without_colour(module: Module, values: Tensor, shape: Size) -> Tensor:
    """Where `values` has 3 entries and `shape` 1, sum over the input's and average the output's."""
    inputs = {Conv2d: 1, ConvTranspose2d: 0}.get(type(module)) if values.dim() == 4 else None
    for axis, size in enumerate(shape):
        if values.dim() == len(shape) and (values.shape[axis], size) == (3, 1):
            values = values.sum(axis, True) if axis == inputs else values.mean(axis, keepdim=True)
    return values

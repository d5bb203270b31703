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


def zhao(channels: int = 3, width: int = 48) -> Module:
    """Zhao, Gao and Sun's network, and David, Nitu and Raileanu's: two strided convolutions, two
    transposed ones.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the three hidden layers.
    """
    return Sequential(
        Conv2d(channels, width, 3, stride=2, padding=1),
        ReLU(),
        Conv2d(width, width, 3, stride=2, padding=1),
        ReLU(),
        Upsampling(width, width, 3, stride=2, padding=1, output_padding=1),
        ReLU(),
        Upsampling(width, channels, 3, stride=2, padding=1, output_padding=1),
        Sigmoid(),
    )


def coldenhoff(channels: int = 3, width: int = 16) -> Module:
    """Coldenhoff and Sun's network (their listing 3): kernels of 4, transposed convolutions.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the outer hidden layers; the middle has twice as many.
    """
    return Sequential(
        Conv2d(channels, width, 4, stride=2, padding=1),
        ReLU(),
        Conv2d(width, 2 * width, 4, stride=2),
        ReLU(),
        TransposeConv2d(2 * width, width, 4, stride=2),
        ReLU(),
        TransposeConv2d(width, channels, 4, stride=2, padding=1),
        Sigmoid(),
    )


def mery(channels: int = 3, width: int = 100) -> Module:
    """The network of Mery's second mini-project (table 1): 2 x 2 patches down, nearest upsampling.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the three hidden layers.
    """
    return Sequential(
        Conv2d(channels, width, 2, stride=2),
        ReLU(),
        Conv2d(width, width, 2, stride=2),
        ReLU(),
        NearestUpsampling(2),
        Conv2d(width, width, 3, padding=1),
        ReLU(),
        NearestUpsampling(2),
        Conv2d(width, channels, 3, padding=1),
        Sigmoid(),
    )


def hilsberg(channels: int = 3, width: int = 32) -> Module:
    """Hilsberg, Pillet and Savioz's network as their table 1 has it: kernels 3, 5, 5, 3.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the outer hidden layers; the middle has twice as many.
    """
    return _hilsberg(channels, width, up_kernel=5)


def hilsberg_published(channels: int = 3, width: int = 64) -> Module:
    """Hilsberg, Pillet and Savioz's network as their published weights have it: kernels 3, 5, 3, 3.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the outer hidden layers; the middle has twice as many.
    """
    return _hilsberg(channels, width, up_kernel=3)


def _hilsberg(channels: int, width: int, up_kernel: int) -> Module:
    return Sequential(
        Conv2d(channels, width, 3, stride=2, padding=1),
        ReLU(),
        Conv2d(width, 2 * width, 5, stride=2, padding=2),
        ReLU(),
        NearestUpsampling(2),
        Conv2d(2 * width, width, up_kernel, padding=up_kernel // 2),
        ReLU(),
        NearestUpsampling(2),
        Conv2d(width, channels, 3, padding=1),
        Sigmoid(),
    )


class MerySkip(Sequential):
    """The network of Mery's first mini-project: valid convolutions down, transposed ones up.

    One skip connection puts the first activation before the decoder's output. Its layers have the
    names of the published weights, without a word for the skip between.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the hidden layers.
    """

    def __init__(self, channels: int = 3, width: int = 100) -> None:
        inner = {
            "conv2": Conv2d(width, width, 3),
            "relu2": ReLU(),
            "t_conv1": ConvTranspose2d(width, width, 3),
            "relu3": ReLU(),
        }
        self.skip = SkipConcat(Sequential(inner))
        super().__init__(
            {
                "conv1": Conv2d(channels, width, 3),
                "relu1": ReLU(),
                "skip": self.skip,
                "t_conv2": ConvTranspose2d(2 * width, channels, 3),
                "sigmoid": Sigmoid(),
            }
        )

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for name, child in super().named_children():
            if child is self.skip:
                yield from self.skip.inner.named_children()
            else:
                yield name, child


class Architecture(NamedTuple):
    """How to make a network, and what it asks of images."""

    make: Callable[..., Module]
    multiple: Callable[[dict[str, int]], int]
    """Height and width must be multiples of this, given the sizes."""
    reach: Callable[[dict[str, int]], int]
    """How far, in pixels, a pixel can influence the result, given the sizes."""


ARCHITECTURES: dict[str, Architecture] = {
    "compact": Architecture(
        compact,
        multiple=lambda sizes: 2 ** (sizes["depth"] + 1),
        # Blocks reach 4 * blocks pixels of size 2^(i + 1) at level i; the way down and up reaches
        # 3 pixels at level 0 and 2^i at level i.
        reach=lambda sizes: (8 * sizes["blocks"] + 1) * (2 ** (sizes["depth"] + 1) - 1) + 2,
    ),
    "unet": Architecture(
        unet,
        multiple=lambda sizes: 2 ** sizes["depth"],
        # 5 pixels at full size, 3 at each level between, 1 at the lowest, and its own size.
        reach=lambda sizes: 5 * 2 ** sizes["depth"] - 2,
    ),
    "zhao": Architecture(zhao, multiple=lambda sizes: 4, reach=lambda sizes: 6),
    "david": Architecture(zhao, multiple=lambda sizes: 4, reach=lambda sizes: 6),
    "coldenhoff": Architecture(coldenhoff, multiple=lambda sizes: 4, reach=lambda sizes: 9),
    "mery": Architecture(mery, multiple=lambda sizes: 4, reach=lambda sizes: 6),
    "mery-skip": Architecture(MerySkip, multiple=lambda sizes: 1, reach=lambda sizes: 4),
    "hilsberg": Architecture(hilsberg, multiple=lambda sizes: 4, reach=lambda sizes: 13),
    "hilsberg-published": Architecture(
        hilsberg_published, multiple=lambda sizes: 4, reach=lambda sizes: 11
    ),
}


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
        least = 0 if size == "depth" and name == "compact" else 1
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

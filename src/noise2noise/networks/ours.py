"""The networks to train with: residual U-Nets of our own, and the one of the Noise2Noise paper."""

from __future__ import annotations

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
    SkipConcat,
)


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
    """The layer, of zeros: the branch that it ends adds nothing until it has learned."""
    for value in layer.parameters():
        value.zero_()
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

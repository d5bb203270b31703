"""The network that is told the noise: its input is the image and, beside it, how noisy each pixel
is.

Every layer is linear or a ReLU and none has a bias, so that for any c > 0

    f(c x, c s) = c f(x, s)        x the image, s the standard deviation of its noise

(Mohan, Kadkhodaie, Simoncelli and Fernandez-Granda, "Robust and interpretable blind image denoising
via bias-free convolutional neural networks", ICLR 2020): units don't matter, and what holds for one
strength of noise holds for the others.
"""

from __future__ import annotations

from chainrule import (
    Add,
    Channels,
    Conv2d,
    ConvTranspose2d,
    Graph,
    Module,
    ReLU,
    Residual,
    Sequential,
)


class Guided(Graph):
    """A bias-free residual U-Net at half resolution and below, told the noise at every pixel.

    y = x + f([x, s]): the network predicts what to take away. The first convolution halves the
    image, as FFDNet (Zhang, Zuo and Zhang 2018) does by rearranging pixels; every level below
    halves it again; skips add, as in DRUNet (Zhang et al. 2021), which has no biases either. Every
    residual branch begins at zero (Zhang, Dauphin and Ma 2019), so that learning starts from a
    network that returns its input.

    Args:
        channels: of the image, C.
        width: channels of the first level; each level below has twice as many.
        depth: levels below the first.
        blocks: residual blocks of two convolutions on each side of a level.
        most: no level has more channels than this.

    Shapes:
        (N, 2 C, H, W), the image and then the standard deviation of each channel's noise, to
        (N, C, H, W); H and W multiples of 2^(depth + 1).
    """

    def __init__(
        self, channels: int = 3, width: int = 64, depth: int = 2, blocks: int = 2, most: int = 128
    ) -> None:
        inner = Sequential(
            _convolution(2 * channels, width, 4, stride=2, padding=1),
            _level(width, depth, blocks, most),
            _silent(ConvTranspose2d(width, channels, 4, stride=2, padding=1, bias=False)),
        )
        super().__init__(
            "x",
            {
                "image": (Channels(0, channels), "x"),
                "inner": (inner, "x"),
                "result": (Add(), "image", "inner"),
            },
        )


def _level(width: int, depth: int, blocks: int, most: int) -> Module:
    before = [_block(width) for _ in range(blocks)]
    after = [_block(width) for _ in range(blocks)]
    if depth == 0:
        return Sequential(*before, *after)
    inner = min(2 * width, most)
    below = Sequential(
        _convolution(width, inner, 2, stride=2),
        _level(inner, depth - 1, blocks, most),
        _silent(ConvTranspose2d(inner, width, 2, stride=2, bias=False)),
    )
    return Sequential(*before, Residual(below), *after)


def _block(width: int) -> Module:
    return Residual(
        Sequential(
            _convolution(width, width, 3, padding=1),
            ReLU(),
            _silent(Conv2d(width, width, 3, padding=1, bias=False)),
        )
    )


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
) -> Conv2d:
    return Conv2d(inputs, outputs, kernel, stride, padding, bias=False, weight_init="kaiming")


def _silent(layer: Conv2d | ConvTranspose2d) -> Module:
    """The layer with weights of zero: the branch that it ends adds nothing until it has learned."""
    layer.weight.zero_()
    return layer

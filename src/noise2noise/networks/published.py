"""Three networks of the literature, with the names that their published weights have.

Weights of KAIR (https://github.com/cszn/KAIR) and of what follows it load as they are: the names
and layouts of the state dicts are the same. Batch normalization of DnCNN must have been merged into
its convolutions, as it is in what was published.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from torch import Size

from chainrule import (
    Add,
    AvgPool2d,
    Channels,
    Concatenate,
    Conv2d,
    ConvTranspose2d,
    Graph,
    Module,
    PixelShuffle,
    PixelUnshuffle,
    ReLU,
    Residual,
    Sequential,
    Subtract,
)


def dncnn(channels: int = 3, width: int = 64, depth: int = 20) -> Module:
    """y = x - f(x), f a chain of convolutions: DnCNN, Zhang, Zuo, Chen, Meng and Zhang 2017.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the hidden layers.
        depth: convolutions in all.
    """
    model = _chain(channels, channels, width, depth)
    return Graph("x", {"model": (model, "x"), "denoised": (Subtract(), "x", "model")})


def ffdnet(channels: int = 3, width: int = 96, depth: int = 12) -> Module:
    """Convolutions at half resolution, told the noise: FFDNet, Zhang, Zuo and Zhang 2018.

    Args:
        channels: of the image, C, 1 or 3.
        width: channels of the hidden layers.
        depth: convolutions in all.

    Shapes:
        (N, C + 1, H, W), the image and then the standard deviation of its noise, to (N, C, H, W);
        H and W even. The standard deviation of 2 x 2 pixels is their mean.
    """
    return Graph(
        "x",
        {
            "image": (Channels(0, channels), "x"),
            "noise": (Channels(channels, channels + 1), "x"),
            "small": (PixelUnshuffle(2), "image"),
            "level": (AvgPool2d(2), "noise"),
            "input": (Concatenate(), "small", "level"),
            "model": (_chain(4 * channels + 1, 4 * channels, width, depth), "input"),
            "denoised": (PixelShuffle(2), "model"),
        },
    )


def drunet(channels: int = 3, width: int = 64, blocks: int = 4) -> Module:
    """A residual U-Net of four levels without biases, told the noise: DRUNet, Zhang et al. 2021.

    Args:
        channels: of the image, C, 1 or 3.
        width: channels of the first level; each level below has twice as many.
        blocks: residual blocks on each side of a level.

    Shapes:
        (N, C + 1, H, W), the image and then the standard deviation of its noise, to (N, C, H, W);
        H and W multiples of 8.
    """
    first, second, third, fourth = width, 2 * width, 4 * width, 8 * width
    return Graph(
        "x",
        {
            "m_head": (_convolution(channels + 1, width), "x"),
            "m_down1": (_down(first, second, blocks), "m_head"),
            "m_down2": (_down(second, third, blocks), "m_down1"),
            "m_down3": (_down(third, fourth, blocks), "m_down2"),
            "m_body": (Sequential(*_blocks(fourth, blocks)), "m_down3"),
            "sum3": (Add(), "m_body", "m_down3"),
            "m_up3": (_up(fourth, third, blocks), "sum3"),
            "sum2": (Add(), "m_up3", "m_down2"),
            "m_up2": (_up(third, second, blocks), "sum2"),
            "sum1": (Add(), "m_up2", "m_down1"),
            "m_up1": (_up(second, first, blocks), "sum1"),
            "sum0": (Add(), "m_up1", "m_head"),
            "m_tail": (_convolution(width, channels), "sum0"),
        },
    )


class ResBlock(Residual):
    """A `Residual` whose inner layers are named as the published weights have them."""

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield "res", self.inner


def _chain(inputs: int, outputs: int, width: int, depth: int) -> Sequential:
    counts = [inputs, *[width] * (depth - 1), outputs]
    layers: list[Module] = []
    for before, after in itertools.pairwise(counts):
        layers += [Conv2d(before, after, 3, padding=1, weight_init="kaiming"), ReLU()]
    return Sequential(*layers[:-1])


def _down(width: int, below: int, blocks: int) -> Sequential:
    return Sequential(*_blocks(width, blocks), Conv2d(width, below, 2, stride=2, bias=False))


def _up(below: int, width: int, blocks: int) -> Sequential:
    return Sequential(
        ConvTranspose2d(below, width, 2, stride=2, bias=False), *_blocks(width, blocks)
    )


def _blocks(width: int, count: int) -> list[Module]:
    return [
        ResBlock(Sequential(_convolution(width, width), ReLU(), _convolution(width, width)))
        for _ in range(count)
    ]


def _convolution(inputs: int, outputs: int) -> Conv2d:
    return Conv2d(inputs, outputs, 3, padding=1, bias=False, weight_init="kaiming")


def recognized(shapes: Mapping[str, Size]) -> tuple[str, dict[str, int]]:
    """Which of the three networks a state dict is of, and its sizes, by its names and shapes.

    | names | architecture |
    |---|---|
    | `model.0.weight` (W, C, 3, 3) to `model.{2 D - 2}.weight` (C, W, 3, 3) | dncnn |
    | the same from (W, 4 C + 1, 3, 3) to (4 C, W, 3, 3) | ffdnet |
    | `m_head.weight` (W, C + 1, 3, 3), `m_body.{blocks - 1}.res.0.weight`, ... | drunet |

    Raises:
        ValueError: none of them.
    """
    if any(name.endswith("running_mean") for name in shapes):
        raise ValueError("it has batch normalization; merge that into its convolutions first")
    head = shapes.get("m_head.weight")
    if head is not None and len(head) == 4:
        blocks = {re.match(r"m_body\.(\d{1,3})\.", name) for name in shapes} - {None}
        count = len({found[1] for found in blocks if found})
        return "drunet", {"channels": head[1] - 1, "width": head[0], "blocks": count}
    depth = sum(bool(re.fullmatch(r"model\.\d{1,4}\.weight", name)) for name in shapes)
    first, last = shapes.get("model.0.weight"), shapes.get(f"model.{2 * depth - 2}.weight")
    if first is None or last is None or len(first) != 4 or len(last) != 4:
        raise ValueError("its names are those of no network known here")
    sizes = {"width": first[0], "depth": depth}
    if first[1] == last[0]:
        return "dncnn", {"channels": first[1], **sizes}
    if first[1] == last[0] + 1:
        return "ffdnet", {"channels": last[0] // 4, **sizes}
    raise ValueError(f"it turns {first[1]} channels into {last[0]}, as no network known here does")

"""The network that is fitted to one image: splines around one that is told the noise.

    y = out(into^-1(f([into(x), s gain(blur(x))])))      x the image, s the standard deviation told

`f` is `Guided` and may stay as it is. `into` is monotone, as transformations that stabilize a
variance are, and its inverse takes it back; `gain` says how much of the noise that was measured
there is at each brightness; `out` takes back what clipping and the curvature of `into` do to means.
At first all three do nothing, so that fitting begins with the network itself.

After S. Herbreteau and M. Unser, "Self-Calibrated Variance-Stabilizing Transformations for
Real-World Image Denoising", ICCV 2025, who fit one spline and its inverse around a network for
Gaussian noise of one strength.
"""

from __future__ import annotations

from chainrule import (
    AvgPool2d,
    Channels,
    Concatenate,
    Graph,
    Inverse,
    Module,
    MonotoneSpline,
    Multiply,
    PositiveSpline,
    ReplicationPad2d,
    Sequential,
)
from noise2noise.networks.guided import Guided

BLUR_REACH = 2
"""How far the blur looks, in pixels."""


class Adapted(Graph):
    """`Guided` between splines.

    Args:
        channels, width, depth, blocks, most: of `Guided`.
        knots: of the transformation.
        gains: knots of the gain, and of what corrects the result.
        rows, columns, salt: 1 where whoever uses it is to take offsets of rows and of columns, or
            salt and pepper, from images first; nothing that the network does.

    Shapes:
        (N, 2 C, H, W), the image as it is and then the standard deviation of each channel's noise,
        to (N, C, H, W); H and W multiples of 2^(depth + 1).
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 64,
        depth: int = 2,
        blocks: int = 2,
        most: int = 128,
        knots: int = 32,
        gains: int = 8,
        rows: int = 0,
        columns: int = 0,
        salt: int = 0,
    ) -> None:
        into = MonotoneSpline(knots)
        super().__init__(
            "x",
            {
                "image": (Channels(0, channels), "x"),
                "noise": (Channels(channels, 2 * channels), "x"),
                "level": (Sequential(*_blur(), *_blur()), "image"),
                "gain": (PositiveSpline(gains), "level"),
                "told": (Multiply(), "noise", "gain"),
                "into": (into, "image"),
                "both": (Concatenate(), "into", "told"),
                "inner": (Guided(channels, width, depth, blocks, most), "both"),
                "back": (Inverse(into), "inner"),
                "out": (MonotoneSpline(gains), "back"),
            },
        )


def _blur() -> tuple[Module, Module]:
    return ReplicationPad2d(1), AvgPool2d(3, 1)

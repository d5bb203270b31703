"""The small network of ZS-N2N, which learns from one image from nothing."""

from __future__ import annotations

from chainrule import Conv2d, Graph, LeakyReLU, Module, Sequential, Subtract


def zero_shot(
    channels: int = 3, width: int = 48, rows: int = 0, columns: int = 0, salt: int = 0
) -> Module:
    """y = x - f(x), f two convolutions of 3 x 3 and one of 1 x 1: ZS-N2N, Mansour and Heckel 2023.

    Args:
        channels: of the image, 1 or 3.
        width: channels of the hidden layers.
        rows, columns, salt: as `Adapted` has them.
    """
    noise = Sequential(
        Conv2d(channels, width, 3, padding=1),
        LeakyReLU(0.2),
        Conv2d(width, width, 3, padding=1),
        LeakyReLU(0.2),
        Conv2d(width, channels, 1),
    )
    return Graph("x", {"noise": (noise, "x"), "denoised": (Subtract(), "x", "noise")})

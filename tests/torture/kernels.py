"""The compiled kernels against the reference in float64: on random shapes, with NaN and infinity in
their inputs, and where indices no longer fit into 32 bits.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import chainrule
from chainrule import ops
from tests.torture.knock import check

TOLERANCE = 1e-5
"""Of the largest result, as `chainrule.winograd` promises."""


class Shape(NamedTuple):
    """A convolution of x (n, channels, height, width) with `outputs` filters of side `kernel`."""

    n: int
    channels: int
    outputs: int
    height: int
    width: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    groups: int

    @property
    def window(self) -> tuple[int, int, int, int]:
        """As the ops take it."""
        return self.stride, self.padding, self.dilation, self.groups


def knock(place: Path, seed: int, short: bool, size: float) -> Iterator[str]:
    if chainrule.backend() != "native":
        yield "there are no compiled kernels here"
        return
    rng = random.Random(f"{seed} kernels")
    torch.manual_seed(seed)
    count = 60 if short else max(round(3000 * size), 60)
    yield _random_shapes(rng, count)
    yield _not_finite(rng, count)
    if not short:
        yield from _beyond_32_bits()


def _draw(rng: random.Random) -> Shape:
    groups = rng.choice((1, 1, 1, 2, 4))
    kernel, dilation = rng.choice((1, 2, 3, 3, 3, 4, 5, 7)), rng.choice((1, 1, 1, 2))
    reach = dilation * (kernel - 1) + 1
    return Shape(
        n=rng.randrange(1, 4),
        channels=groups * rng.randrange(1, 20),
        outputs=groups * rng.randrange(1, 20),
        height=rng.randrange(reach, reach + 40),
        width=rng.randrange(reach, reach + 40),
        kernel=kernel,
        stride=rng.choice((1, 1, 2, 3)),
        padding=rng.randrange(0, reach),
        dilation=dilation,
        groups=groups,
    )


def _three(x: Tensor, w: Tensor, gy: Tensor, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    side = (shape.kernel, shape.kernel)
    size = (shape.height, shape.width)
    return (
        ops.conv2d(x, w, None, *shape.window),
        ops.conv2d_input_grad(gy, w, size, *shape.window),
        ops.conv2d_weight_grad(x, gy, side, *shape.window),
    )


def _inputs(shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.randn(shape.n, shape.channels, shape.height, shape.width)
    w = torch.randn(shape.outputs, shape.channels // shape.groups, shape.kernel, shape.kernel)
    y = ops.conv2d(x, w, None, *shape.window)
    return x, w, torch.randn_like(y)


def _random_shapes(rng: random.Random, count: int) -> str:
    worst = 0.0
    for _ in range(count):
        shape = _draw(rng)
        inputs = _inputs(shape)
        x, w, gy = inputs
        exact = _three(x.double(), w.double(), gy.double(), shape)
        results = _three(*inputs, shape)
        for got, expected in zip(results, exact, strict=True):
            scale = max(float(expected.abs().max()), 1e-30)
            error = float((got.double() - expected).abs().max()) / scale
            check(error < TOLERANCE, f"{shape}: an error of {error:.1e} of the largest value")
            worst = max(worst, error)
    return f"{count} random convolutions and their gradients: errors to {worst:.1e} of the largest"


def _not_finite(rng: random.Random, count: int) -> str:
    """By tiles a value that isn't finite reaches the rest of its tile, so tiles are left out."""
    before = chainrule.winograd()
    chainrule.winograd(False)
    try:
        for _ in range(count):
            shape = _draw(rng)
            x, w, gy = _inputs(shape)
            for each in (x, gy):
                where = tuple(rng.randrange(size) for size in each.shape)
                each[where] = rng.choice((float("nan"), float("inf"), float("-inf")))
            got = _three(x, w, gy, shape)[:2]
            expected = _three(x.double(), w.double(), gy.double(), shape)[:2]
            for ours, theirs in zip(got, expected, strict=True):
                alike = torch.equal(ours.isfinite(), theirs.isfinite())
                check(alike, f"{shape}: other results aren't finite than the reference's")
                infinite = theirs.isinf()
                check(
                    torch.equal(ours[infinite].double(), theirs[infinite]), f"{shape}: infinities"
                )
    finally:
        chainrule.winograd(before)
    return f"{count} with NaN and infinities: they reach the same results as the reference's"


def _beyond_32_bits() -> Iterator[str]:
    """Images of more bytes, and of more elements, than 32 bits count; told by their last rows."""
    for name, side in (("2^31 bytes", 23_200), ("2^32 bytes", 32_800), ("2^31 elements", 46_400)):
        needed = 4 * side * side * 1.4
        if _available() < needed * 1.3:
            yield f"an image of {name}: {needed / 2**30:.0f} GiB aren't free; left out"
            continue
        x = torch.zeros(1, 1, side, side)
        x[..., -70:, :].normal_()
        y, _ = ops.max_pool2d(x, 2, 2)
        expected, _ = ops.max_pool2d(x[..., -64:, :].double(), 2, 2)
        check(torch.equal(y[..., -32:, :].double(), expected), f"an image of {name}: pooling")
        w = torch.randn(1, 1, 4, 4)
        y = ops.conv2d(x, w, None, 4)
        expected = ops.conv2d(x[..., -64:, :].double(), w.double(), None, 4)
        error = float((y[..., -16:, :].double() - expected).abs().max() / expected.abs().max())
        check(error < TOLERANCE, f"an image of {name}: convolution, an error of {error:.1e}")
        del x, y
        chainrule.empty_cache()
        yield f"an image of {name}: pooling and convolution to its last row"


def _available() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        (line,) = (line for line in file if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024

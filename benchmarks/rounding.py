"""Prints the rounding errors of the native backend, Winograd's way beside the direct one.

    python benchmarks/rounding.py           the compiled kernels, over shapes of convolutions
    python benchmarks/rounding.py --points  the tiles of Winograd with other points, simulated

An error is the largest difference from the result in float64, divided by that result's largest
value. Inputs are normal with mean zero in every other draw, so that terms of both signs cancel, and
between 0 and 1 in the others, as images are. Weights and output gradients are normal.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import chainrule
from chainrule import ops
from chainrule.geometry import window
from chainrule.ops import Block

SEEDS = range(10)


class Case(NamedTuple):
    """A convolution of square images, as a network of the reports might have it."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    scale: int = 1
    """Of the nearest upsampling before it."""
    transposed: bool = False
    size: int = 32
    """Of the input."""
    batch: int = 2

    def __str__(self) -> str:
        kind = f"{self.kernel}x{self.kernel}"
        if self.scale > 1:
            kind = f"upsampling, {kind}"
        if self.transposed:
            kind = f"transposed {kind}"
        if self.stride > 1:
            kind += f", stride {self.stride}"
        return f"{kind}, {self.inputs} to {self.outputs}"

    def block(self) -> Block:
        sliding = window(self.kernel, self.stride, (self.kernel - 1) // 2, 1)
        return Block(sliding, transposed=self.transposed, scale=(self.scale, self.scale))


CASES = (
    *(Case(width, width, 3) for width in (16, 48, 100, 200)),
    Case(400, 400, 3, size=16),
    Case(100, 100, 3, scale=2, size=16),
    Case(400, 400, 3, scale=2, size=8),
    Case(64, 32, 5, scale=2, size=16),
    Case(64, 64, 4, stride=2),
    Case(200, 200, 4, stride=2),
    Case(400, 400, 3, stride=2),
    Case(32, 64, 5, stride=2),
    Case(64, 32, 4, stride=2, transposed=True, size=16),
)


def error(result: Tensor, exact: Tensor) -> float:
    return float((result.double() - exact).abs().max() / exact.abs().max())


# -- the compiled kernels -------------------------------------------------------------------------


def results(case: Case, x: Tensor, weight: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Output, input gradient and weight gradient, in the type of x."""
    block = case.block()
    y = ops.block(x, weight, None, block)
    gy = normal(seed, *y.shape).to(x.dtype)
    gx = ops.block_input_grad(gy, y, weight, (case.size, case.size), block)
    return y, gx, ops.block_parameter_grads(x, gy, y, block)[0]


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def inputs(seed: int, *shape: int) -> Tensor:
    values = normal(seed, *shape)
    return values if seed % 2 == 0 else values.erf().add(1).div(2)


def kernel_errors(case: Case, seed: int) -> Iterator[tuple[str, int, str, float]]:
    """(instruction set, which of the results, way, error); no Winograd where it isn't used."""
    from chainrule import _native

    channels = (case.inputs, case.outputs) if case.transposed else (case.outputs, case.inputs)
    x = inputs(3 * seed, case.batch, case.inputs, case.size, case.size)
    weight = normal(3 * seed + 1, *channels, case.kernel, case.kernel)
    exact = results(case, x.double(), weight.double(), 3 * seed + 2)
    for instructions in _native.instruction_sets():
        _native.use_instruction_set(instructions)
        chainrule.winograd(False)
        direct = results(case, x, weight, 3 * seed + 2)
        chainrule.winograd(True)
        tiles = results(case, x, weight, 3 * seed + 2)
        for index in range(3):
            yield instructions, index, "direct", error(direct[index], exact[index])
            if not torch.equal(direct[index], tiles[index]):
                yield instructions, index, "Winograd", error(tiles[index], exact[index])


def print_kernels() -> None:
    from chainrule import _native

    best = _native.instruction_set()
    print(f"In 1e-6: median (largest) of {len(SEEDS)} draws, {best} kernels.\n")
    print("| | forward | | input gradient | | weight gradient | |")
    print("|---|---|---|---|---|---|---|")
    print("| **convolution** |" + " **Winograd** | **direct** |" * 3)
    largest = dict.fromkeys(_native.instruction_sets(), 0.0)
    for case in CASES:
        found: dict[tuple[int, str], list[float]] = defaultdict(list)
        for seed in SEEDS:
            for instructions, index, way, value in kernel_errors(case, seed):
                if instructions == best:
                    found[index, way].append(value)
                if way == "Winograd":
                    largest[instructions] = max(largest[instructions], value)
        cells = [spread(found[index, way]) for index in range(3) for way in ("Winograd", "direct")]
        print(f"| {case} | {' | '.join(cells)} |", flush=True)
    sets = ", ".join(f"{value * 1e6:.1f} with {name}" for name, value in largest.items())
    print(f"\nThe largest with Winograd, in 1e-6: {sets}.")


def spread(errors: Sequence[float]) -> str:
    if not errors:
        return "not used"
    return f"{statistics.median(errors) * 1e6:.1f} ({max(errors) * 1e6:.1f})"


# -- tiles with other points ----------------------------------------------------------------------

HALF = math.sqrt(1 / 2)
POINTS = {
    3: (
        (0, 1, -1, 2, -2),
        (0, 1, -1, 1 / 2, -1 / 2),
        (0, HALF, -HALF, 2 * HALF, -2 * HALF),
        (0, 2 / 3, -2 / 3, 3 / 2, -3 / 2),
    ),
    2: (
        (0, 1, -1, 2),
        (0, 1 / 2, -1, 2),
        (HALF, -HALF, 2 * HALF, -2 * HALF),
        (1 / 2, -1 / 2, 1, -1),
        (1 / 2, -1 / 2, 5 / 4, -5 / 4),
    ),
}
TILE = 4  # outputs, along an axis


def matrices(points: Sequence[float], taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A, B and G of docs/kernels.md#winograd, of `points` and infinity."""
    count = len(points) + 1
    a, b, g = np.zeros((count, TILE)), np.zeros((count, count)), np.zeros((count, taps))
    for i, point in enumerate(points):
        others = [other for other in points if other != point]
        row = np.poly(others)[::-1]
        b[i, : len(row)] = row
        a[i] = point ** np.arange(TILE)
        g[i] = point ** np.arange(taps) / np.prod([point - other for other in others])
    b[-1] = np.poly(points)[::-1]
    a[-1, -1] = g[-1, -1] = 1
    return a, b.T, g


def tile_errors(points: Sequence[float], taps: int, seed: int) -> list[float]:
    """Errors of 256 tiles of 64 channels: outputs and weight gradient, from float32 throughout."""
    tiles, channels, outputs, count = 256, 64, 16, len(points) + 1
    x = inputs(3 * seed, tiles, channels, count, count)
    w = normal(3 * seed + 1, outputs, channels, taps, taps)
    gy = normal(3 * seed + 2, tiles, outputs, TILE, TILE)
    a, b, g = (torch.from_numpy(matrix).float() for matrix in matrices(points, taps))

    x_at, w_at, gy_at = flat(b.T @ x @ b), flat(g @ w @ g.T), flat(a @ gy @ a.T)
    y = a.T @ square(x_at @ w_at.mT) @ a  # at every point: (tiles, channels) (channels, outputs)
    gw = g.T @ square(gy_at.mT @ x_at) @ g
    exact = x.double(), w.double(), gy.double()
    return [
        error(y, ops.conv2d(exact[0], exact[1])),
        error(gw, ops.conv2d_weight_grad(exact[0], exact[2], (taps, taps))),
    ]


def flat(values: Tensor) -> Tensor:
    """(first, second, n, n) as n * n matrices."""
    return values.flatten(2).permute(2, 0, 1)


def square(products: Tensor) -> Tensor:
    """The inverse of `flat`."""
    side = math.isqrt(len(products))
    return products.permute(1, 2, 0).unflatten(2, (side, side))


def print_points() -> None:
    print(f"In 1e-6: median (largest) of {len(SEEDS)} draws, simulated in float32.\n")
    print("| tiles | points, beside infinity | outputs | weight gradient |")
    print("|---|---|---|---|")
    for taps, choices in POINTS.items():
        for points in choices:
            errors = zip(*(tile_errors(points, taps, seed) for seed in SEEDS), strict=True)
            names = ", ".join(f"{point:.4g}" for point in points)
            print(f"| F(4x4, {taps}x{taps}) | {names} | {' | '.join(map(spread, errors))} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", action="store_true", help="simulate tiles with other points")
    if parser.parse_args().points:
        return print_points()
    if chainrule.backend() != "native":
        parser.error("the compiled kernels are not there: only --points can be printed")
    return print_kernels()


if __name__ == "__main__":
    main()

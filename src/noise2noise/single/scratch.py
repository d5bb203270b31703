"""A network that learns from one image from nothing: ZS-N2N.

With D1 and D2 the means of the two diagonals of each 2 x 2 pixels and f the network, learning
lessens

    1/2 (|f(D1 y) - D2 y|^2 + |f(D2 y) - D1 y|^2)
    + 1/2 (|f(D1 y) - D1 f(y)|^2 + |f(D2 y) - D2 f(y)|^2),

means over the values: either half of the image is denoised to the other, and halving and denoising
may change places, so that what is learned at half the size holds at the whole (Y. Mansour and R.
Heckel, "Zero-Shot Noise2Noise: Efficient Image Denoising without any Data", CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from chainrule import Adam, Graph, Module, Tape, fuse
from noise2noise import networks
from noise2noise.device import CPU, moved
from noise2noise.single.fit import Budget, Progress
from noise2noise.single.sample import Sample

ARCHITECTURE = "zero-shot"
STEPS = 1000
"""Enough for 256 x 256 pixels; the publication takes twice as many, of the whole image."""

_RATE, _HALVED = 1e-3, 2  # of learning, and how often it is halved on the way
_SIDE = 256  # pixels of the square that a step looks at


class Diagonals(Module):
    """The means of the two diagonals of each 2 x 2 pixels.

    y1[i, j] = (x[2i, 2j] + x[2i+1, 2j+1]) / 2,    y2[i, j] = (x[2i, 2j+1] + x[2i+1, 2j]) / 2

    Every pixel counts in one of them with a half, so that dL/dx = gy1 / 2 on the first diagonal and
    gy2 / 2 on the second.

    Shapes:
        x (N, C, H, W), H and W even, to y1 and y2 (N, C, H / 2, W / 2).
    """

    def run(self, x: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        if x.dim() != 4 or x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(f"Diagonals: expected (N, C, H, W), H and W even, got {(*x.shape,)}")
        first = (x[:, :, ::2, ::2] + x[:, :, 1::2, 1::2]) / 2
        second = (x[:, :, ::2, 1::2] + x[:, :, 1::2, ::2]) / 2
        return first, second

    def back(self, gy: tuple[Tensor, Tensor], tape: Tape) -> Tensor:
        first, second = gy
        n, c, h, w = first.shape
        gx = first.new_empty((n, c, 2 * h, 2 * w))
        gx[:, :, ::2, ::2] = gx[:, :, 1::2, 1::2] = first / 2
        gx[:, :, ::2, 1::2] = gx[:, :, 1::2, ::2] = second / 2
        return gx


def learn(
    samples: Sequence[Sample],
    held: Sequence[np.ndarray],
    steps: int,
    rng: np.random.Generator,
    budget: Budget,
    progress: Progress,
    device: torch.device = CPU,
) -> tuple[Module, int]:
    """A network that has learned from samples of one image.

    Arguments:
        samples: on the unit scale.
        held: for each, where at half its size nothing is learned: bool (h / 2, w / 2).
        steps: of Adam; the rate is halved after each third of them.
        rng: chooses squares, and seeds the weights.
        budget: of time; learning ends when it is spent.
        progress: told how far it is.
        device: what computes.

    Returns:
        The network, (N, C, H, W) to the same, and how many steps it took.
    """
    channels = len(samples[0].image)
    with networks.seeded(int(rng.integers(2**31))):
        network = networks.build(ARCHITECTURE, channels=channels).to(device)
    passes = _passes(fuse(network))
    optimizer = Adam(network.parameters(), lr=_RATE)
    areas = np.array([each.size for each in held], np.float64)
    step = 0
    while step < steps and not budget.spent:
        progress(step / steps)
        optimizer.param_groups[0]["lr"] = _RATE / 2 ** (step * (_HALVED + 1) // steps)
        place = int(rng.choice(len(samples), p=areas / areas.sum()))
        square = _square(samples[place].image, held[place], rng)
        _step(passes, optimizer, *(moved(part, device) for part in square))
        step += 1
    return network, step


def _passes(network: Module) -> Graph:
    """The four images that are compared, of an image and its two halves."""
    nodes = {
        "one": (network, "first"),
        "other": (network, "second"),
        "whole": (network, "image"),
        "halves": (Diagonals(), "whole"),
    }
    outputs = ("one", "other", "halves.0", "halves.1")
    return Graph(("image", "first", "second"), nodes, outputs)


def _step(passes: Graph, optimizer: Adam, image: Tensor, held: Tensor) -> None:
    first, second = Diagonals().infer(image)
    optimizer.zero_grad()
    one, other, half, rest = passes.forward(image, first, second)
    scale = 1 / one.numel()  # the half before the means, times the square's two
    apart, across = (one - half) * scale, (other - rest) * scale
    free = (~held).to(one.dtype) * scale
    gradients = ((one - second) * free + apart, (other - first) * free + across, -apart, -across)
    passes.backward(gradients, input_gradient=False)
    optimizer.step()


def _square(image: np.ndarray, held: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A part of the image (1, C, h, w), and where nothing is learned of its halves."""
    side = _SIDE // 2
    corner = [int(rng.integers(0, max(size - side, 0), endpoint=True)) for size in held.shape]
    rows, columns = (slice(start, start + side) for start in corner)
    part = held[rows, columns]
    top, left = 2 * corner[0], 2 * corner[1]
    pixels = image[:, top : top + 2 * part.shape[0], left : left + 2 * part.shape[1]]
    return torch.from_numpy(np.ascontiguousarray(pixels))[None], torch.from_numpy(part.copy())

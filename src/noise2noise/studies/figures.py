"""The page's drawings: curves beside each other, predictions epoch by epoch, a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Polygon
from matplotlib.ticker import MaxNLocator

from chainrule import Conv2d, ConvTranspose2d, Module, NearestUpsampling, summary
from noise2noise.figures import GREY, INK, save_figure

COLOURS = ("#1f6fb4", "#d8601a", "#2b8a3e", "#7b3fa0", "#b08900", "#0b7285", "#868e96")

Points = tuple[Sequence[float], Sequence[float]]


class Panel(NamedTuple):
    """One set of axes.

    Attributes:
        across, up: what the axes show.
        lines: points by label.
    """

    across: str
    up: str
    lines: Mapping[str, Points]


def save_panels(path: Path, panels: Sequence[Panel]) -> None:
    """Draw panels side by side."""
    figure = Figure(figsize=(4.6 * max(len(panels), 1.4), 3.5), dpi=150, layout="constrained")
    for axes, panel in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        _draw_panel(axes, panel)
    save_figure(figure, path)


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for number, (label, (x, y)) in enumerate(panel.lines.items()):
        axes.plot(
            x,
            y,
            label=label,
            color=COLOURS[number % len(COLOURS)],
            linewidth=1.6,
            marker="o" if len(x) <= 20 else "",
            markersize=3.5,
        )
    axes.set_xlabel(panel.across, color=INK)
    axes.set_ylabel(panel.up, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    if len(panel.lines) > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK)


def save_grid(
    path: Path, heads: Sequence[str], rows: Sequence[Sequence[tuple[np.ndarray, str]]]
) -> None:
    """Draw a grid of small images, each `(3, H, W)` in [0, 1] with a line of text below."""
    figure = Figure(
        figsize=(1.5 * len(heads), 1.75 * len(rows) + 0.2), dpi=150, layout="constrained"
    )
    grid = figure.subplots(len(rows), len(heads), squeeze=False)
    for place, row in enumerate(rows):
        for axes, head, (image, text) in zip(grid[place], heads, row, strict=True):
            axes.imshow(image.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.set_xlabel(text, fontsize=8, color=INK)
            if place == 0:
                axes.set_title(head, fontsize=9, color=INK)
    save_figure(figure, path)


def save_network(path: Path, model: Module, shape: tuple[int, int, int, int]) -> None:
    """Draw a network without branches: what each step does, and the images between.

    An image's height follows its height in pixels, its depth to the right its channels.

    Arguments:
        path: the picture.
        model: a chain of layers, such as `zhao`.
        shape: of its input.
    """
    stages = _stages(model, shape)
    figure = Figure(dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_ylim(-1.0, 2.6)
    axes.axis("off")
    tallest = shape[2]
    x = _draw_image(axes, 0.25, shape[1:], tallest)
    for words, output in stages:
        axes.add_patch(
            FancyArrowPatch(
                (x + 0.08, 0.75), (x + 1.3, 0.75), arrowstyle="-|>", mutation_scale=12, color=INK
            )
        )
        axes.text(x + 0.68, 0.83, words, ha="center", va="bottom", fontsize=7.5, color=INK)
        x = _draw_image(axes, x + 1.38, output[1:], tallest)
    figure.set_size_inches(x + 0.25, 3.6)
    axes.set_xlim(0, x + 0.25)
    save_figure(figure, path)


def _stages(model: Module, shape: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Layers up to and with each activation: (what they do, the shape they make)."""
    layers = dict(model.named_modules())
    stages: list[tuple[str, tuple[int, ...]]] = []
    words: list[str] = []
    rows = summary(model, shape).rows
    for row in rows:
        words += _words(layers[row.name])
        if not row.parameters and not isinstance(layers[row.name], NearestUpsampling):
            stages.append(("\n".join(words), row.output_shape))
            words = []
    if words:
        stages.append(("\n".join(words), rows[-1].output_shape))
    return stages


def _words(layer: Module) -> list[str]:
    if isinstance(layer, NearestUpsampling):
        return ["nearest upsampling"]
    if not isinstance(layer, (Conv2d, ConvTranspose2d)):
        return [type(layer).__name__]
    kind = "convolution" if isinstance(layer, Conv2d) else "transposed conv."
    kernel = " x ".join(map(str, layer.weight.shape[2:]))
    stride = f", stride {layer.stride[0]}" if layer.stride != (1, 1) else ""
    return [kind, f"{kernel}{stride}"]


def _draw_image(axes: Axes, x: float, shape: tuple[int, ...], tallest: int) -> float:
    """A slab for an image (C, H, W) at `x`; returns where it ends."""
    channels, height, width = shape
    up, thick, slant = 1.5 * height / tallest, 0.04 + 0.0055 * channels, 0.28 * width / tallest
    low = 0.75 - up / 2
    front = [(x, low), (x + thick, low), (x + thick, low + up), (x, low + up)]
    top = [front[3], front[2], (x + thick + slant, low + up + slant), (x + slant, low + up + slant)]
    side = [front[1], (x + thick + slant, low + slant), top[2], front[2]]
    for corners, colour in ((front, "#74a9d8"), (top, "#b7d3ec"), (side, "#4c86bd")):
        axes.add_patch(
            Polygon(corners, closed=True, facecolor=colour, edgecolor=INK, linewidth=0.7)
        )
    text = f"{channels}\n{height} x {width}"
    axes.text(x + (thick + slant) / 2, low - 0.08, text, ha="center", va="top", fontsize=7.5)
    return x + thick + slant

"""Draws the figures of docs/gradients.md into docs/images; every number in them is computed.

Run it with: python docs/figures/make_gradient_figures.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from torch import Tensor
from torch.nn.functional import unfold

from chainrule import ops

IMAGES = Path(__file__).resolve().parents[1] / "images"
INK, FAINT, WHITE = "#222222", "#9a9a9a", "#ffffff"
BLUE, ORANGE, GREEN, PURPLE = "#4c78a8", "#e07b39", "#3a9a5f", "#9467bd"
WINDOWS = (BLUE, ORANGE, GREEN, PURPLE)
BACKWARD = "#c0392b"
MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"

STYLE: dict[Any, str] = {
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "path",
    "svg.hashsalt": "chainrule",  # the same drawing gives the same file
}


def tint(color: str, strength: float = 0.28) -> tuple[float, float, float]:
    """The colour, mixed with white."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(color))
    return red, green, blue


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one axes whose unit is one cell of a grid, y downwards."""
    figure = Figure(figsize=(width * 0.42, height * 0.42), facecolor=WHITE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    axes.axis("off")
    return figure, axes


def save(figure: Figure, name: str) -> None:
    """Write the figure as SVG, without a date."""
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})


def cell(axes: Axes, x: float, y: float, text: str, fill: Any = WHITE, **style: Any) -> None:
    """One square of a grid, with its text."""
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=fill, edgecolor=INK, linewidth=0.8))
    style = {"size": 11, "color": INK} | style
    axes.text(x + 0.5, y + 0.52, text, ha="center", va="center", **style)


def grid(
    axes: Axes, x: float, y: float, values: Tensor | Sequence[Sequence[str]], fills: Any = WHITE
) -> None:
    """A matrix, its upper left corner at (x, y); `fills` is one colour, or one for each cell."""
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            text = value if isinstance(value, str) else number(float(value))
            fill = fills[i][j] if isinstance(fills, list) else fills
            cell(axes, x + j, y + i, text, fill)


def number(value: float) -> str:
    """An integer as mathematicians write it."""
    return f"{value + 0.0:.0f}".replace("-", MINUS)


def label(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Text centred at (x, y)."""
    axes.text(x, y, text, **({"ha": "center", "va": "center", "size": 11, "color": INK} | style))


def heading(axes: Axes, y: float, *words: str) -> None:
    """A line in bold at the left."""
    label(axes, 0.6, y, " ".join(words), ha="left", weight="bold", size=12)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """An arrow from start to end."""
    style = {
        "color": INK,
        "linewidth": 1.3,
        "mutation_scale": 12,
        "shrinkA": 0,
        "shrinkB": 0,
    } | style
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", **style))


def outline(axes: Axes, x: float, y: float, size: float, color: str, inset: float = 0) -> None:
    """A thick frame around size x size cells."""
    side = size - 2 * inset
    axes.add_patch(
        Rectangle((x + inset, y + inset), side, side, fill=False, edgecolor=color, linewidth=2.2)
    )


# -- a convolution is a matrix product -------------------------------------------------------------


def convolution_figure() -> Figure:
    """The worked example: y, dL/dx and dL/dw of a 2 x 2 convolution of a 3 x 3 image."""
    x = torch.tensor([[1.0, 2, 0], [0, 1, 3], [2, 0, 1]])[None, None]
    weight = torch.tensor([[1.0, 2], [0, -1]])[None, None]
    gy = torch.tensor([[1.0, 2], [-1, 4]])[None, None]
    columns = unfold(x, 2)[0]
    y = ops.conv2d(x, weight)
    gx = ops.conv2d_input_grad(gy, weight, (3, 3))
    gw = ops.conv2d_weight_grad(x, gy, (2, 2))
    light = [tint(color) for color in WINDOWS]
    by_column, by_row = [light] * 4, [[color] * 4 for color in light]
    as_square = [light[:2], light[2:]]

    figure, axes = canvas(29.5, 21.2)
    heading(axes, 0.7, "Forward: the filter as a row, times a column for each window")
    grid(axes, 0.8, 2.1, x[0, 0])
    for index, color in enumerate(WINDOWS):
        outline(axes, 0.8 + index % 2, 2.1 + index // 2, 2, color, 0.04 + 0.06 * index)
    label(axes, 2.3, 5.7, "$x$, four windows")
    arrow(axes, (4.3, 2.4), (12.6, 2.4))
    label(axes, 8.4, 1.95, "unfold", size=10)
    grid(axes, 7.6, 3.1, weight.reshape(1, 4))
    label(axes, 9.6, 4.7, "$w$, as a row")
    label(axes, 12.25, 3.6, TIMES, size=15)
    grid(axes, 12.9, 1.6, columns, by_column)
    label(axes, 14.9, 6.15, "columns")
    label(axes, 17.55, 3.6, "=", size=15)
    grid(axes, 18.2, 3.1, y.reshape(1, 4), [light])
    label(axes, 20.2, 4.7, "$y$, as a row")
    _step(axes, 22.7, 3.6, "reshape")
    grid(axes, 25.6, 2.6, y[0, 0], as_square)
    label(axes, 26.6, 5.2, "$y$")

    top = 7.7
    heading(
        axes,
        top,
        "Input gradient: each window's gradient is $w$ times its number of",
        "$\\partial L/\\partial y$; fold adds what overlaps",
    )
    grid(axes, 2.2, top + 0.9, weight.reshape(4, 1))
    label(axes, 2.7, top + 5.4, "$w^T$")
    label(axes, 4.2, top + 2.9, TIMES, size=15)
    grid(axes, 5.2, top + 2.4, gy.reshape(1, 4), [light])
    label(axes, 7.2, top + 4.0, r"$\partial L/\partial y$, as a row")
    label(axes, 10.2, top + 2.9, "=", size=15)
    grid(axes, 11.2, top + 0.9, weight.reshape(4, 1) @ gy.reshape(1, 4), by_column)
    label(axes, 13.2, top + 5.4, r"$\partial L/\partial$columns")
    _step(axes, 16.2, top + 2.9, "fold")
    grid(axes, 19.4, top + 1.4, gx[0, 0])
    cell(axes, 20.4, top + 2.4, number(float(gx[0, 0, 1, 1])), tint(FAINT, 0.4))
    label(axes, 20.9, top + 5.0, r"$\partial L/\partial x$")
    label(axes, 26.0, top + 2.0, "the middle pixel lies\nunder all four windows:", size=10)
    shares = (weight.flatten().flip(0) * gy.flatten()).tolist()
    middle = " + ".join(f"({number(share)})" if share < 0 else number(share) for share in shares)
    label(axes, 26.0, top + 3.5, f"{middle} = {number(float(gx[0, 0, 1, 1]))}", size=10)

    top = 14.8
    heading(axes, top, "Weight gradient: the columns are what $w$ was multiplied by")
    grid(axes, 1.6, top + 2.4, gy.reshape(1, 4), [light])
    label(axes, 3.6, top + 4.0, r"$\partial L/\partial y$, as a row")
    label(axes, 6.6, top + 2.9, TIMES, size=15)
    grid(axes, 7.6, top + 0.9, columns.T, by_row)
    label(axes, 9.6, top + 5.4, "columns$^T$")
    label(axes, 12.6, top + 2.9, "=", size=15)
    grid(axes, 13.6, top + 2.4, gw.reshape(1, 4))
    label(axes, 15.6, top + 4.0, r"$\partial L/\partial w$, as a row")
    _step(axes, 18.2, top + 2.9, "reshape")
    grid(axes, 21.4, top + 1.9, gw[0, 0])
    label(axes, 22.4, top + 4.4, r"$\partial L/\partial w$")
    return figure


def _step(axes: Axes, x: float, y: float, name: str) -> None:
    arrow(axes, (x, y), (x + 2.4, y))
    label(axes, x + 1.2, y - 0.5, name, size=10)


# -- the input gradient of a strided convolution ---------------------------------------------------


def strided_figure() -> Figure:
    """dL/dx of a 3 x 3 convolution with stride 2 and padding 1, as a convolution of dL/dy."""
    fill = tint(BLUE)
    spread = [["0"] * 5 for _ in range(5)]
    for place, letter in enumerate("abcdefghi"):
        spread[place // 3 * 2][place % 3 * 2] = letter
    padded = [["0"] * 7, *(["0", *row, "0"] for row in spread), ["0"] * 7]
    flipped = [[f"$w_{9 - 3 * row - column}$" for column in range(3)] for row in range(3)]

    figure, axes = canvas(36, 11)
    middle = 5.6
    heading(
        axes, 0.7, f"The input gradient of a 3 {TIMES} 3 convolution with stride 2 and padding 1"
    )
    grid(axes, 0.6, middle - 1.5, ["abc", "def", "ghi"], fill)
    label(axes, 2.1, middle + 2.3, "$\\partial L/\\partial y$")
    _step(axes, 4.2, middle, "spread")
    _lettered(axes, 7.2, middle - 2.5, spread, fill)
    label(axes, 9.7, middle + 3.7, f"stride {MINUS} 1 zeros\nbetween")
    _step(axes, 12.8, middle, "pad")
    _lettered(axes, 15.8, middle - 3.5, padded, fill)
    outline(axes, 18.8, middle - 1.5, 3, BACKWARD)
    label(axes, 19.3, middle + 4.5, f"kernel {MINUS} 1 {MINUS} padding\nzeros around")
    arrow(axes, (23.1, middle), (24.9, middle))
    label(axes, 24.0, middle - 0.5, "correlate", size=10)
    grid(axes, 25.3, middle - 1.5, flipped)
    outline(axes, 25.3, middle - 1.5, 3, BACKWARD)
    label(axes, 26.8, middle + 2.7, "with the flipped kernel,\nat steps of 1")
    label(axes, 28.95, middle, "=", size=15)
    grid(axes, 29.6, middle - 2.5, [[""] * 5] * 5)
    cell(axes, 32.6, middle - 0.5, "", tint(BACKWARD))
    label(axes, 32.1, middle + 3.3, "$\\partial L/\\partial x$")
    label(axes, 32.1, middle + 4.4, "$e\\,w_6 + f\\,w_4$ in the red cell", color=BACKWARD)
    return figure


def _lettered(axes: Axes, x: float, y: float, values: Sequence[Sequence[str]], fill: Any) -> None:
    """A grid in which the letters stand out from the zeros between them."""
    for i, row in enumerate(values):
        for j, text in enumerate(row):
            if text == "0":
                cell(axes, x + j, y + i, text, color=FAINT)
            else:
                cell(axes, x + j, y + i, text, fill)


# -- the tape of a network with a skip connection --------------------------------------------------


def tape_figure() -> Figure:
    """Forward, the tape, and backward of Sequential(SkipConcat(Sequential(Conv2d, ReLU)), Conv2d).

    Each record stands under the module that pushes it and above the one that takes it.
    """
    names = ("Conv2d", "ReLU", "SkipConcat", "Conv2d")
    kept = ("its input $x$", "its output $r$", "C, the channels\nof $x$", "its input $[x, r]$")
    wide, gap, left = 4.6, 2.3, 4.4
    places = [left + index * (wide + gap) for index in range(4)]
    forward, tape, backward = 3.2, 8.1, 13.4

    figure, axes = canvas(34.5, 17.8)
    for y in (forward, backward):
        _inner(axes, left - 0.55, y - 0.55, 2 * wide + gap + 1.1, 3)
    for index, (name, color) in enumerate(zip(names, WINDOWS, strict=True)):
        x = places[index]
        middle = x + wide / 2
        _box(axes, x, forward, wide, 1.9, f"{name}.run", color)
        _box(axes, x, backward, wide, 1.9, f"{name}.back", color)
        axes.add_patch(
            Rectangle(
                (x - gap / 2, tape),
                wide + gap,
                2.3,
                facecolor=tint(color),
                edgecolor=INK,
                linewidth=1,
            )
        )
        label(axes, middle, tape + 1.15, kept[index])
        arrow(axes, (middle, forward + 1.9), (middle, tape), color=color)
        arrow(axes, (middle, tape + 2.3), (middle, backward), color=color)
        label(axes, middle + 0.3, forward + 3.2, f"push {index + 1}", ha="left", size=10)
        label(axes, middle + 0.3, tape + 3.7, f"take {4 - index}", ha="left", size=10)

    line = forward + 0.95
    for index, text in enumerate(("$x$", "", "$r$", "$[x, r]$", "$y$")):
        start = places[index - 1] + wide if index else left - gap
        arrow(axes, (start, line), (start + gap, line))
        label(axes, start + gap / 2, line - 0.6, text)
    line = backward + 0.95
    texts = ("", "", "$g$[:, C:]", "$g$", "$\\partial L/\\partial y$")
    for index, text in enumerate(texts):
        start = places[index - 1] + wide if index else left - gap
        arrow(axes, (start + gap, line), (start, line), color=BACKWARD)
        label(axes, start + gap / 2, line - 0.6, text, color=BACKWARD)
    _detours(axes, places[2] + wide / 2, left - gap, forward, backward + 1.9)

    for y, title, note in (
        (1.2, "Forward", "left to right"),
        (tape + 0.7, "The tape", "grows to the right"),
        (backward - 1.8, "Backward", "right to left"),
    ):
        label(axes, -0.6, y, title, ha="left", weight="bold", size=12)
        label(axes, -0.6, y + 0.8, note, ha="left", size=10)
    axes.set_xlim(-1, 33.5)
    return figure


def _inner(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.5",
            facecolor="#f2f2f2",
            edgecolor="none",
        )
    )
    label(axes, x + width / 2, y + height / 2 - 1, "inner", size=10, color=FAINT)


def _box(
    axes: Axes, x: float, y: float, width: float, height: float, text: str, color: str
) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.35",
            facecolor=WHITE,
            edgecolor=color,
            linewidth=2,
        )
    )
    label(axes, x + width / 2, y + height / 2, text, family="DejaVu Sans Mono", size=10)


def _detours(axes: Axes, skip: float, source: float, top: float, bottom: float) -> None:
    """The way of x past the inner module, and the way of its gradient back."""
    above, below = top - 1.2, bottom + 1.4
    axes.plot([source + 0.5] * 2 + [skip], [top + 0.95, above, above], color=INK, linewidth=1.3)
    arrow(axes, (skip, above), (skip, top))
    label(axes, (source + skip) / 2, above - 0.55, "$x$, past the inner module")
    axes.plot([skip, skip, source + 0.5], [bottom, below, below], color=BACKWARD, linewidth=1.3)
    arrow(axes, (source + 0.5, below), (source + 0.5, bottom - 0.55), color=BACKWARD)
    label(axes, (source + skip) / 2, below + 0.6, "$g$[:, :C], past the inner module",
          color=BACKWARD)  # fmt: skip
    axes.add_patch(Circle((source + 0.5, bottom - 0.95), 0.4, facecolor=WHITE, edgecolor=BACKWARD))
    label(axes, source + 0.5, bottom - 0.93, "+", color=BACKWARD, size=12)
    arrow(axes, (source + 0.1, bottom - 0.95), (source - 0.9, bottom - 0.95), color=BACKWARD)
    label(axes, source - 0.75, bottom - 1.9, "$\\partial L/\\partial x$", color=BACKWARD)


# -- the gradient of max pooling -------------------------------------------------------------------


def pooling_figure() -> Figure:
    """Where 2 x 2 windows side by side, and 3 x 3 windows that overlap, send their gradients."""
    figure, axes = canvas(30, 15.6)
    apart = torch.tensor([[1.0, 5, 4, 4], [2, 3, 4, 0], [0, 1, 7, 6], [8, 2, 3, 5]])
    overlapping = torch.tensor(
        [[1.0, 2, 0, 3, 1], [0, 4, 1, 2, 5], [3, 0, 9, 1, 2], [1, 2, 0, 6, 0], [7, 1, 2, 3, 1]]
    )
    gy = torch.tensor([[1.0, 2], [-1, 3]])
    heading(
        axes, 0.8, f"2 {TIMES} 2 windows side by side: of the three equal 4s the first is taken"
    )
    _pool(axes, 2.0, apart, gy, 2)
    heading(
        axes,
        7.9,
        f"3 {TIMES} 3 windows at steps of 2 overlap: the 9 is the maximum of all four,",
        "and receives all their gradients",
    )
    _pool(axes, 9.0, overlapping, gy, 3)
    return figure


def _pool(axes: Axes, top: float, image: Tensor, gradient: Tensor, kernel: int) -> None:
    """One row of the figure: x, y, dL/dy, dL/dx, each maximum in the colour of its window."""
    size = image.shape[0]
    x, gy = image[None, None], gradient[None, None]
    y, places = ops.max_pool2d(x, kernel, 2)
    gx = ops.max_pool2d_grad(gy, places, (size, size), kernel, 2)[0, 0]
    light = [tint(color) for color in WINDOWS]
    square = [light[:2], light[2:]]
    fills: list[list[Any]] = [[WHITE] * size for _ in range(size)]
    for window in range(4):
        row, column = divmod(int(places.flatten()[window]), kernel)
        fills[window // 2 * 2 + row][window % 2 * 2 + column] = light[window]
    if kernel == 3:
        fills[2][2] = tint(FAINT, 0.4)
        square = [[tint(FAINT, 0.4)] * 2] * 2

    middle = top + size / 2
    grid(axes, 1.0, top, image, fills)
    for window, color in enumerate(WINDOWS):
        inset = 0.04 + (0.06 * window if kernel == 3 else 0.03)
        outline(axes, 1.0 + window % 2 * 2, top + window // 2 * 2, kernel, color, inset)
    label(axes, 1.0 + size / 2, top + size + 0.7, "$x$")
    _step(axes, 6.8, middle, "max")
    grid(axes, 9.9, middle - 1, y[0, 0], square)
    label(axes, 10.9, middle + 1.7, "$y$")
    label(axes, 14.6, middle, "…  $L$  …", size=12)
    grid(axes, 17.2, middle - 1, gradient, square)
    label(axes, 18.2, middle + 1.7, "$\\partial L/\\partial y$", color=BACKWARD)
    arrow(axes, (20.0, middle), (22.4, middle), color=BACKWARD)
    label(axes, 21.2, middle - 0.5, "route", size=10)
    grid(axes, 23.2, top, gx, fills)
    label(axes, 23.2 + size / 2, top + size + 0.7, "$\\partial L/\\partial x$", color=BACKWARD)


FIGURES = {
    "gradient-convolution": convolution_figure,
    "gradient-strided-convolution": strided_figure,
    "gradient-tape": tape_figure,
    "gradient-max-pooling": pooling_figure,
}

if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            save(draw(), name)

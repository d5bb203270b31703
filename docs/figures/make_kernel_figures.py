"""Draws the figures of docs/kernels.md into docs/images.

Run it with: python docs/figures/make_kernel_figures.py
"""

from __future__ import annotations

import matplotlib as mpl
from make_gradient_figures import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    STYLE,
    TIMES,
    WHITE,
    arrow,
    canvas,
    cell,
    heading,
    label,
    outline,
    save,
    tint,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

# -- the register tile -----------------------------------------------------------------------------

PIXELS, VECTORS = 4, 3


def tile_figure() -> Figure:
    """One step of the inner loop: a column of inputs times a row of weights, added to the sums."""
    figure, axes = canvas(27, 10.2)
    left, top, wide = 5.4, 4.6, 3.7
    sums, edge = left + 3.2, left + 3.2 + VECTORS * wide
    heading(axes, 0.7, f"A tile of {PIXELS} pixels {TIMES} {VECTORS} vectors of output channels")
    for pixel in range(PIXELS):
        cell(axes, left, top + pixel, f"$x_{{{pixel}}}$", tint(BLUE))
        arrow(axes, (left + 1.15, top + pixel + 0.5), (sums - 0.2, top + pixel + 0.5), color=BLUE)
        for vector in range(VECTORS):
            _lanes(axes, sums + vector * wide, top + pixel, GREEN)
    for vector in range(VECTORS):
        x = sums + vector * wide
        _lanes(axes, x, top - 2.2, ORANGE)
        arrow(axes, (x + 1.7, top - 1.15), (x + 1.7, top - 0.1), color=ORANGE)
        label(axes, x + 1.7, top - 2.6, f"channels {4 * vector} to {4 * vector + 3}", size=10)
    left_aligned = {"ha": "left", "size": 10}
    middle = top + PIXELS / 2
    label(axes, edge + 0.2, top - 1.7, f"{VECTORS} loads:\nweights", **left_aligned)
    label(
        axes,
        0.6,
        middle,
        f"{PIXELS} loads: one float\nof each pixel,\nin every lane",
        **left_aligned,
    )
    fused = f"{PIXELS * VECTORS} multiply-adds;\nthe sums stay\nin registers"
    label(axes, edge + 0.2, middle, fused, **left_aligned)
    following = "next step: the next float of every pixel, the next row of weights"
    label(axes, (sums + edge) / 2, top + PIXELS + 0.8, following, size=10)
    return figure


def _lanes(axes: Axes, x: float, y: float, color: str) -> None:
    """A register of four floats."""
    for lane in range(4):
        axes.add_patch(
            Rectangle(
                (x + 0.85 * lane, y + 0.08),
                0.85,
                0.84,
                facecolor=tint(color),
                edgecolor=INK,
                linewidth=0.8,
            )
        )


# -- upsampling and convolution, by phases ---------------------------------------------------------


def phases_figure() -> Figure:
    """The 3 x 3 window of four neighbouring outputs on the enlarged image, and on the small one."""
    letters = ["abc", "def", "ghi"]
    figure, axes = canvas(34, 16.6)
    heading(
        axes,
        0.7,
        f"Nearest upsampling by 2, then a 3 {TIMES} 3 convolution: two of the four phases",
    )
    for index, (row, column) in enumerate(((0, 0), (1, 1))):
        top = 2.0 + 7.6 * index
        color = (BLUE, ORANGE)[index]
        _enlarged(axes, 1.0, top, letters)
        outline(axes, 2.0 + column, top + 1 + row, 3, color)
        label(axes, 4.0, top + 6.6, f"the window of output (2 + {row}, 2 + {column})", size=10)
        label(axes, 9.1, top + 3, "=", size=15)
        for k in range(3):
            for m in range(3):
                small = letters[(row + 1 + k) // 2][(column + 1 + m) // 2]
                cell(axes, 10.6 + 1.9 * m, top + 1.5 + k, "", WHITE)
                cell(axes, 10.6 + 1.9 * m, top + 1.5 + k, small, tint(color))
                label(axes, 12.05 + 1.9 * m, top + 2 + k, f"$w_{{{k}{m}}}$", size=9)
        label(axes, 13.4, top + 6.6, "9 products", size=10)
        label(axes, 17.4, top + 3, "=", size=15)
        groups = ((0,), (1, 2)) if row == 0 else ((0, 1), (2,))
        for i, down in enumerate(groups):
            for j, across in enumerate(groups):
                small = letters[i + row][j + column]
                x, y = 19.0 + 8.1 * j, top + 1.6 + 1.8 * i
                cell(axes, x, y, small, tint(color))
                terms = "+".join(f"w_{{{k}{m}}}" for k in down for m in across)
                label(axes, x + 1.25, y + 0.5, f"$({terms})$", ha="left", size=10)
        label(
            axes,
            26.0,
            top + 6.6,
            f"4 products: a 2 {TIMES} 2 convolution of the small image",
            size=10,
        )
    return figure


def _enlarged(axes: Axes, x: float, y: float, letters: list[str]) -> None:
    """Each letter four times, the blocks apart by a thicker line."""
    for i in range(6):
        for j in range(6):
            shade = tint(FAINT, 0.25) if (i // 2 + j // 2) % 2 else WHITE
            cell(axes, x + j, y + i, letters[i // 2][j // 2], shade)


FIGURES = {"kernel-tile": tile_figure, "kernel-phases": phases_figure}

if __name__ == "__main__":
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            save(draw(), name)

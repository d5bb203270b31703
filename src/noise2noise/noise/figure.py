"""The mean-variance plot: how the noise grows with the brightness, and the line through it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from noise2noise.figures import GREY, INK, save_figure
from noise2noise.noise.line import Points
from noise2noise.noise.profile import NoiseProfile

_COLOURS = {1: (INK,), 3: ("#c4312b", "#2a7d3f", "#1f6fb4")}


def save_mean_variance(
    path: str | Path,
    profile: NoiseProfile,
    points: Sequence[Points],
    overwrite: bool = False,
) -> None:
    """Draw each channel's variance by brightness, and its line.

    Arguments:
        path: the picture: `.png`, `.jpg`, `.webp`, `.pdf` or `.svg`.
        profile, points: of `noise2noise.noise.estimate.measure`.
        overwrite: replace a file that stands at `path`.

    Raises:
        UserError: `path` exists or has another suffix.
        OSError: the disk refused.
    """
    figure = Figure(figsize=(6.4, 4.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    colours = _COLOURS.get(len(points), tuple(f"C{index % 10}" for index in range(len(points))))
    for channel, (each, colour) in enumerate(zip(points, colours, strict=True)):
        if not len(each.level):
            continue
        # The area of a point is how much it counts.
        area = 4 + 60 * each.weight / each.weight.max()
        axes.scatter(each.level, each.variance, area, colour, alpha=0.6, linewidths=0)
        ends = np.array([profile.black, each.level.max()])
        axes.plot(ends, profile.variance(ends, channel), color=colour)
    axes.set_xlabel("brightness")
    axes.set_ylabel("variance of the noise")
    axes.set_ylim(bottom=0)
    axes.grid(color=GREY, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, Path(path), overwrite)

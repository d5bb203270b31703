"""Pictures of results: how training went, and images side by side.

Drawn through matplotlib's objects, never through pyplot, so nothing global changes and no window
opens. Files appear whole or not at all.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from chainrule.serialization import replacing
from noise2noise.errors import UserError

INK, GREY = "#24292f", "#d0d7de"
"""Of text and of grid lines, in all figures."""

_BLUE, _ORANGE = "#1f6fb4", "#d8601a"

_PHOTOGRAPHIC = (".png", ".jpg", ".webp")
_DRAWN = (*_PHOTOGRAPHIC, ".pdf", ".svg")

# Of a comparison, in pixels. Text is sized for a page that shows it READING_WIDTH wide.
READING_WIDTH = 900
_LARGEST_WIDTH = 2400
_GAP = 8


def save_curves(
    history: Sequence[Mapping[str, object]] | str | Path, path: str | Path, overwrite: bool = True
) -> None:
    """Draw training loss and validation PSNR over the epochs, one panel each.

    The loss gets a logarithmic axis once it has changed by a factor of ten.

    Arguments:
        history: a row for each epoch with `epoch`, `training_loss` and `validation_psnr` (dB), or
            the CSV file that holds these columns. Other columns are left alone.
        path: the picture: `.png`, `.jpg`, `.webp`, `.pdf` or `.svg`.
        overwrite: replace a file that stands at `path`.

    Raises:
        UserError: the CSV file is missing or lacks a column, there is no row, an epoch is not
            finite, `path` exists or has another suffix.
        OSError: the disk refused.
    """
    rows = _read_rows(Path(history)) if isinstance(history, (str, Path)) else history
    epoch, loss, psnr = (
        _column(rows, name) for name in ("epoch", "training_loss", "validation_psnr")
    )
    if not np.isfinite(epoch).all():
        raise UserError("the history has an epoch that is no finite number; leave out its row")
    figure = Figure(figsize=(9, 3.4), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_curve(left, epoch, loss, "training loss", _BLUE)
    positive = loss[loss > 0]
    if positive.size and (loss >= 0).all() and positive.max() >= 10 * positive.min():
        left.set_yscale("log")
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        left.yaxis.set_minor_locator(NullLocator())
    _draw_curve(right, epoch, psnr, "validation PSNR (dB)", _ORANGE)
    _mark_best(right, epoch, psnr)
    save_figure(figure, Path(path), overwrite)


def save_comparison(
    path: str | Path,
    panels: Sequence[tuple[str, np.ndarray]],
    caption: str = "",
    overwrite: bool = False,
    zoom: tuple[int, int, int] | None = None,
) -> None:
    """Draw images side by side, each under its title, pixel for pixel.

    A pixel of an image becomes one of the picture, or a square of several if the images are small;
    only images that are more than 2400 pixels wide together are reduced. Titles stay readable where
    the picture is shown 900 pixels wide.

    Arguments:
        path: the picture: `.png`, `.jpg` or `.webp`.
        panels: (title, image); images `(C, H, W)`, C 1 or 3, of one height and width. Values are
            clipped to [0, 1].
        caption: a line or more below the images.
        overwrite: replace a file that stands at `path`.
        zoom: (top, left, side) of a square, in pixels of the images: it is framed in each and shown
            enlarged below, its pixels as squares.

    Raises:
        ValueError: there are no panels, shapes differ or are others, or `zoom` leaves the images.
        UserError: `path` exists and `overwrite` is false, or has another suffix.
        OSError: the disk refused.
    """
    titles = [title for title, _ in panels]
    images = _checked_images([image for _, image in panels])
    height, width = images[0].shape[:2]
    if zoom is not None:
        _check_zoom(zoom, height, width)

    scale = _scale(width, len(images))
    shown = [_resized(image, round(width * scale), round(height * scale)) for image in images]
    rows = [shown]
    if zoom is not None:
        top, left, side = zoom
        squares = [image[top : top + side, left : left + side] for image in images]
        across = shown[0].shape[1]
        rows.append([_enlarged(square, across) for square in squares])
    frame = None if zoom is None else tuple(scale * number for number in zoom)
    sheet = _sheet(rows, titles, caption, frame)
    save_figure(sheet, Path(path), overwrite, _PHOTOGRAPHIC)


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} could not be read as CSV: {error}") from error


def _column(rows: Sequence[Mapping[str, object]], name: str) -> np.ndarray:
    if not rows:
        raise UserError("there is no epoch in the history to draw; train for at least one")
    try:
        return np.array([float(str(row[name])) for row in rows])
    except (KeyError, ValueError) as error:
        raise UserError(f"the history needs a column {name} of numbers") from error


def _draw_curve(axes: Axes, epoch: np.ndarray, values: np.ndarray, label: str, colour: str) -> None:
    marker = "o" if len(epoch) <= 30 else ""
    axes.plot(epoch, values, color=colour, linewidth=1.8, marker=marker, markersize=3.5)
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel(label, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    margin = max(0.5, 0.03 * np.ptp(epoch))  # of one epoch alone, too
    axes.set_xlim(epoch.min() - margin, epoch.max() + margin)
    axes.grid(color=GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)


def _mark_best(axes: Axes, epoch: np.ndarray, psnr: np.ndarray) -> None:
    if not np.isfinite(psnr).any():
        return
    best = int(np.nanargmax(np.where(np.isfinite(psnr), psnr, np.nan)))
    axes.set_title(
        f"best {psnr[best]:.2f} dB in epoch {epoch[best]:g}", fontsize=10, color=INK, loc="right"
    )
    axes.plot(epoch[best], psnr[best], "o", color=_ORANGE, markersize=7, fillstyle="none")


def _checked_images(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(C, H, W) floats -> (H, W, 3) bytes."""
    if not images:
        raise ValueError("there are no images to compare")
    for image in images:
        if image.ndim != 3 or image.shape[0] not in (1, 3) or 0 in image.shape:
            raise ValueError(f"expected images (C, H, W) with 1 or 3 channels, got {image.shape}")
        if image.shape[1:] != images[0].shape[1:]:
            raise ValueError(
                f"images to compare must be of one size, got {images[0].shape} and {image.shape}"
            )
    return [
        np.broadcast_to(
            np.rint(255 * np.nan_to_num(image.clip(0, 1))).astype(np.uint8), (3, *image.shape[1:])
        ).transpose(1, 2, 0)
        for image in images
    ]


def _check_zoom(zoom: tuple[int, int, int], height: int, width: int) -> None:
    top, left, side = zoom
    if side < 1 or top < 0 or left < 0 or top + side > height or left + side > width:
        raise ValueError(
            f"the zoomed square of {side} pixels at row {top}, column {left} leaves the images of "
            f"{width} x {height}"
        )


def _scale(width: int, count: int) -> float:
    """Pixels of the sheet for one of an image: a whole number, or less than one if it must be."""
    most = _LARGEST_WIDTH / count
    if width > most:
        return most / width
    return max(1, round(READING_WIDTH / count / width))


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    if width >= image.shape[1]:
        factor = width // image.shape[1]
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    small = PIL.Image.fromarray(np.ascontiguousarray(image)).resize(
        (max(width, 1), max(height, 1)), PIL.Image.Resampling.BOX
    )
    return np.asarray(small)


def _enlarged(square: np.ndarray, side: int) -> np.ndarray:
    """Nearest neighbour, to a side that need not be a multiple."""
    source = np.arange(side) * len(square) // side
    return square[source][:, source]


def _sheet(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    caption: str,
    frame: tuple[float, ...] | None,
) -> Figure:
    across = rows[0][0].shape[1]
    width = len(titles) * across + (len(titles) + 1) * _GAP
    # A sheet wider than the page is shown smaller there, and its text with it.
    text = 16 * max(1.0, width / READING_WIDTH)
    head = round(1.9 * text) if any(titles) else _GAP
    foot = round((1.45 * caption.count("\n") + 2.0) * text) if caption else _GAP
    heights = [row[0].shape[0] for row in rows]
    height = head + sum(heights) + (len(rows) - 1) * _GAP + foot

    # 128 dots an inch, because dividing by a power of two and multiplying again is exact.
    figure = Figure(figsize=(width / 128, height / 128), dpi=128, facecolor="white")
    lefts = [_GAP + column * (across + _GAP) for column in range(len(titles))]
    bottom = height - head
    for row in rows:
        bottom -= row[0].shape[0]
        for left, image in zip(lefts, row, strict=True):
            figure.figimage(image, left, bottom, origin="upper")
        bottom -= _GAP
    if frame is not None:
        top, start, side = frame
        for left in lefts:
            figure.add_artist(_square(figure, left + start, height - head - top - side, side, text))
    heads = [
        (left + across / 2, height - head / 2, title)
        for left, title in zip(lefts, titles, strict=True)
    ]
    _write(figure, heads, text, across)
    _write(figure, [(width / 2, foot / 2, caption)], 0.85 * text, width - 2 * _GAP)
    return figure


def _square(figure: Figure, left: float, bottom: float, side: float, text: float) -> Rectangle:
    return Rectangle(
        (left, bottom),
        side,
        side,
        transform=None,
        fill=False,
        edgecolor="#ffd33d",
        linewidth=text / 10,
        figure=figure,
    )


def _write(
    figure: Figure, lines: Sequence[tuple[float, float, str]], size: float, room: float
) -> None:
    """Texts centred at (x, y), all in pixels; all smaller if one would be wider than its room."""
    width, height = figure.get_size_inches() * figure.dpi
    points = 72 / figure.dpi
    texts = [
        figure.text(
            x / width,
            y / height,
            words,
            fontsize=size * points,
            color=INK,
            ha="center",
            va="center" if "\n" in words else "center_baseline",
            parse_math=False,
        )
        for x, y, words in lines
    ]
    renderer = FigureCanvasAgg(figure).get_renderer()
    widest = max(text.get_window_extent(renderer).width for text in texts)
    for text in texts if widest > room else ():
        text.set_fontsize(size * points * room / widest)


def save_figure(
    figure: Figure, path: Path, overwrite: bool = True, suffixes: Sequence[str] = _DRAWN
) -> None:
    """Write a figure to a file, whole or not at all.

    Raises:
        UserError: `path` exists and `overwrite` is false, or has none of the suffixes.
        OSError: the disk refused.
    """
    if path.suffix.lower() not in suffixes:
        raise UserError(
            f"{path} names no format for this figure; end it in one of {', '.join(suffixes)}"
        )
    try:
        with replacing(path, overwrite) as temporary:
            figure.savefig(temporary)
    except FileExistsError:
        raise UserError(f"{path} exists already; choose another name or add --overwrite") from None

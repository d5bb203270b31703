"""`noise2noise inspect`: what the noise of images is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise2noise.cli.common import (
    JSON_OPTION,
    OVERWRITE_OPTION,
    examples,
    print_error,
    print_json,
    track,
)
from noise2noise.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from noise2noise.files import Stack
    from noise2noise.noise import NoiseProfile


_PLANES = 8  # of a stack's planes, and of each of its channels, at most so many are looked at


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "inspect",
        epilog=examples(
            "noise2noise inspect photo.jpg",
            "noise2noise inspect cell.tif --plot noise.png",
            "noise2noise inspect dark.tif bright.tif --save camera.json --json",
        ),
    )(inspect)


@dataclass(frozen=True)
class _Seen:
    """One file: its noise in the file's own units, and what is looked at of it."""

    path: Path
    parts: list[np.ndarray]
    white: float
    profile: NoiseProfile
    brightest: float
    model: str

    @property
    def sentence(self) -> str:
        from noise2noise.noise.words import describe

        return f"{describe(self.profile, self.brightest)}; the model {self.model} suits"

    def range(self) -> tuple[float, float]:
        """The standard deviation at the darkest and at the brightest level, of all channels."""
        import numpy as np

        levels = (self.profile.black, self.brightest)
        channels = range(self.profile.channels)
        dark, bright = (
            float(np.sqrt(np.mean([self.profile.variance(level, each) for each in channels])))
            for level in levels
        )
        return dark, bright


def inspect(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    save: Annotated[
        Path | None,
        typer.Option(help="Write the noise of all images together, of one camera, as JSON."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw variance by brightness of all images together.")
    ] = None,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Measure the noise of images, each from itself alone.

    Shown in each file's own units, 0 to 255 for 8 bits: the standard deviation of a pixel; that of
    the finest details in the darkest and in the brightest areas; that of means of 2 x 2 and of
    4 x 4 pixels, times 2 and 4, which is the same for noise that is independent from pixel to
    pixel; the correlation of neighbouring pixels; the share of impulses; and, from 0 to 1, how far
    the measurement can be trusted. Of a stack a few planes are measured together, each channel for
    itself. An image that can't be used is skipped and reported,
    and the exit status is then 2.
    """
    from noise2noise.files import list_images, refuse_existing

    for path in (save, plot):
        if path is not None:
            refuse_existing(path, overwrite)
    files = [file for path in images for file in (list_images(path) if path.is_dir() else [path])]
    seen = _look(files)
    if as_json:
        print_json([_record(each) for each in seen])
    elif seen:
        _print(seen)
    if seen and (save or plot):
        _together(seen, save, plot, overwrite)
    if len(seen) < len(files):
        raise typer.Exit(2)


def _look(files: list[Path]) -> list[_Seen]:
    from noise2noise.files import open_stack
    from noise2noise.noise.patches import MOST_CROPS

    seen = []
    most = max(MOST_CROPS // max(len(files), 1), 1)
    for file in track(files, "Measuring", len(files)):
        try:
            with open_stack(file) as stack:
                seen.append(_measured(file, stack, most))
        except UserError as error:
            print_error(error)
    return seen


def _measured(path: Path, stack: Stack, most: int) -> _Seen:
    """What is seen of all planes of a stack together, of its channels apart."""
    import numpy as np

    from noise2noise.noise.estimate import measure
    from noise2noise.noise.patches import MOST_CROPS
    from noise2noise.suiting import default_model

    dtype = stack.header.whole or stack.header.dtype
    parts = _parts(stack, MOST_CROPS)
    profile, points = measure(parts)
    levels = [float(each.level.max()) for each in points if len(each.level)]
    return _Seen(
        path=path,
        parts=_parts(stack, most),
        white=1.0 if dtype.kind == "f" else float(np.iinfo(dtype).max),
        profile=profile,
        brightest=max(levels, default=profile.black),
        model=default_model(stack),
    )


def _parts(stack: Stack, most: int) -> list[np.ndarray]:
    """What is looked at, (C, h, w) in the file's units: `most` crops of a few planes of each
    channel, spread evenly."""
    import numpy as np

    from noise2noise.files import Scale
    from noise2noise.guidance import ChannelPlanes, PlaneView

    channels = ChannelPlanes.of(stack.header)
    chosen = [channels.some(channel, _PLANES) for channel in range(channels.channels)]
    crops = max(most // len(chosen[0]), 1)
    parts = []
    for planes in zip(*chosen, strict=True):
        looks = [PlaneView(stack, Scale(0, 1), plane).parts(crops) for plane in planes]
        # Of some crops of one channel nothing may be known.
        parts += [np.concatenate(look) for look in zip(*looks, strict=False)]
    return parts


def _together(seen: list[_Seen], save: Path | None, plot: Path | None, overwrite: bool) -> None:
    from noise2noise.noise.estimate import measure

    channels = {each.profile.channels for each in seen}
    if len(channels) > 1:
        raise UserError("the images are grey and colour; inspect those of one kind together")
    if len({each.white for each in seen}) > 1:
        raise UserError("the images differ in their bits; inspect those of one kind together")
    profile, points = measure([part for each in seen for part in each.parts])
    if save is not None:
        profile.save(save, overwrite)
    if plot is not None:
        from noise2noise.noise.figure import save_mean_variance  # a second for matplotlib

        save_mean_variance(plot, profile, points, overwrite)


def _record(seen: _Seen) -> dict[str, object]:
    from noise2noise.noise.words import is_correlated

    dark, bright = seen.range()
    return {
        "file": str(seen.path),
        "white": seen.white,
        **asdict(seen.profile),
        "darkest": {"level": seen.profile.black, "deviation": dark},
        "brightest": {"level": seen.brightest, "deviation": bright},
        "correlated": is_correlated(seen.profile),
        "model": seen.model,
        "sentence": seen.sentence,
    }


def _print(seen: list[_Seen]) -> None:
    from rich.table import Column, Table

    from noise2noise.cli.common import results

    numbers = ("noise", "dark", "bright", "2 x 2", "4 x 4", "correlation", "impulses")
    table = Table("file", *(Column(name, no_wrap=True) for name in numbers), box=None)
    for each in seen:
        profile = each.profile
        table.add_row(
            each.path.name,
            *(f"{value:.3g}" for value in (profile.pixel, *each.range(), *profile.spectrum[1:])),
            f"{profile.correlation.nearest:.2f}",
            f"{100 * profile.impulses:.2g} %",
        )
    results.print(table)
    for each in seen:
        print(f"{each.path}: {each.sentence} (confidence {each.profile.confidence:.2f})")

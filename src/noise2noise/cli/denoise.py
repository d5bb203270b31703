"""`noise2noise denoise`: what can be asked for. `denoising.py` does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from noise2noise.cli.common import JSON_OPTION, OUT_FLAGS, OVERWRITE_OPTION, device_option, examples
from noise2noise.errors import UserError

_PLACES, _HOW, _FILES, _WORK = "Places", "Denoising", "What files hold", "Work"
_SINGLE = "A model of its own"
_TRUST = "What came of it"
_EACH = "each"


@dataclass(frozen=True)
class Asked:
    """The options of the command, by their names."""

    images: list[str]
    files_from: str | None
    recursive: bool
    output: str | None
    name: str | None
    overwrite: bool
    dry_run: bool
    model: str | None
    quality: str
    strength: float
    noise: str | None
    keep_impulses: bool
    white: float | None
    axes: str | None
    channel_axis: int | None
    format: str | None
    dtype: str | None
    bit_depth: int | None
    jpeg_quality: int | None
    memory: str | None
    tile: int | None
    threads: int | None
    device: str
    workers: int | None
    scheduler: str | None
    quiet: bool
    as_json: bool
    single: str | None
    """"" for one fit for all images, "each" for one for each, None for none."""
    minutes: float
    seed: int
    save_model: str | None
    from_scratch: bool
    report: str | None
    residual: str | None


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "denoise",
        epilog=examples(
            "noise2noise denoise photo.jpg",
            "noise2noise denoise scans/ --recursive -o clean/",
            "noise2noise denoise 'shots/*.png' --name '{stem}_{model}.tif'",
            "noise2noise denoise cell.tif --model runs/cells --strength 0.8",
            "noise2noise denoise dark.png --noise camera.json --quality best",
            "noise2noise denoise --single cell.tif --minutes 2 --save-model cell.safetensors",
            "noise2noise denoise cell.tif --report report.html --residual removed.png",
            "noise2noise denoise movie.npy --axes TZYX --memory 2GB",
            "noise2noise denoise photo.jpg --format png --dtype uint16",
            "find . -name '*.png' | noise2noise denoise --files-from - -o clean/",
            "noise2noise denoise plates.ome.zarr -o clean.ome.zarr --workers 8 --memory 1GB",
            "noise2noise denoise plates.ome.zarr -o clean.ome.zarr --scheduler tcp://node1:8786",
            "cat photo.jpg | noise2noise denoise - > clean.jpg",
        ),
    )(denoise)


def denoise(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Images, folders of them, or patterns such as 'scans/**/*.png'; - reads an image "
            "from standard input.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            *OUT_FLAGS,
            help="A file for a single image, or a folder, made if need be; - writes to standard "
            "output. By default photo.jpg becomes photo_denoised.jpg beside it.",
            rich_help_panel=_PLACES,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="The names of results, of {stem}, {model} and {suffix}: '{stem}_{model}{suffix}'.",
            rich_help_panel=_PLACES,
        ),
    ] = None,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive",
            "-r",
            help="Look into subfolders too; --out mirrors them.",
            rich_help_panel=_PLACES,
        ),
    ] = False,
    files_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Read names from a file, a line each, or from - for standard input.",
            rich_help_panel=_PLACES,
        ),
    ] = None,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A shipped model's name, a model file, or a training run's folder. By default "
            "the shipped model that suits each image; its name is printed, and why.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    quality: Annotated[
        str,
        typer.Option(
            metavar="fast|balanced|best",
            help="fast takes small models, balanced the usual ones; best averages over the eight "
            "flips and turns and takes eight times as long.",
            rich_help_panel=_HOW,
        ),
    ] = "balanced",
    strength: Annotated[
        float,
        typer.Option(
            help="From 0, the image as it is, to 1, all noise removed; up to 2 where it is left, "
            "with models that are told the noise.",
            rich_help_panel=_HOW,
        ),
    ] = 1.0,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE",
            help="The noise's standard deviation in the file's own units, or a profile that "
            "inspect --save wrote. By default it is measured in each image.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    keep_impulses: Annotated[
        bool,
        typer.Option(
            "--keep-impulses",
            help="Keep single pixels that stand out from all around them, such as hot ones.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    single: Annotated[
        bool,
        typer.Option(
            "--single",
            help="Fit the model to the noise of the images first, from themselves alone: one fit "
            "for all of them or, with the word each behind it, one for each. Nothing that a check "
            "on held-back pixels finds worse is used.",
            rich_help_panel=_SINGLE,
        ),
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="How long a fit may take; most are done before. By default 2.",
            rich_help_panel=_SINGLE,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of the random choices of a fit; by default 0.", rich_help_panel=_SINGLE, min=0
        ),
    ] = None,
    save_model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Keep the fitted model, for --model.",
            rich_help_panel=_SINGLE,
        ),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Learn from nothing but the images, for those that are unlike any photograph; "
            "with --single or by itself. The model is used all the same where it does better.",
            rich_help_panel=_SINGLE,
        ),
    ] = False,
    report: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write an HTML page that says how far each result can be trusted: the PSNR, "
            "estimated without a clean image, and whether what was removed looks like noise. With "
            "--json the figures are there too.",
            rich_help_panel=_TRUST,
        ),
    ] = None,
    residual: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write what was removed from a single image as a picture: grey is nothing, black "
            "and white are four standard deviations.",
            rich_help_panel=_TRUST,
        ),
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(
            help="The value that is white, such as 4095 for 12 bits in 16. "
            "By default the file's word, or what its values need.",
            min=1e-30,
            rich_help_panel=_FILES,
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="What the axes are where a file doesn't say, such as TZYX: T time, Z depth, C a "
            "micrograph's channels, S a colour's samples, Y and X, Q and I any other.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    channel_axis: Annotated[
        int | None,
        typer.Option(
            help="The axis of an array that holds the samples of a pixel, from 0, or from -1, the "
            "last; three of them are a colour.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Write results in this format: png, tif, zarr, ... By default in that of each "
            "image.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Write results as uint8, uint16, float32, ... White stays white, and where there "
            "is none values stay.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    bit_depth: Annotated[
        int | None,
        typer.Option(
            help="Write integers of which so many bits count, such as 12 in 16.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    jpeg_quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="The quality of JPEGs that are written. By default as fine as the source, and 90 "
            "at least.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="How much memory may be taken beyond what the program itself takes: 2GB, 800MB. "
            "Tiles become smaller, and results stay the same.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Work in tiles of so many pixels; smaller needs less memory.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Compute on so many cores. By default on all.", min=1, rich_help_panel=_WORK
        ),
    ] = None,
    device: Annotated[str, device_option(_WORK)] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Share the pieces of each OME-Zarr out among so many processes of this machine; "
            "--memory is then that of each. What was stopped goes on where it was.",
            min=1,
            rich_help_panel=_WORK,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|FILE",
            help="The same among the workers of a Dask scheduler, tcp://node1:8786 or the file of "
            "dask scheduler --scheduler-file.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print nothing but errors."),
    ] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Remove noise from images and stacks of any size: PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG XL,
    AVIF, OME-Zarr and .npy, integers or floats of any range.

    Size, axes, bit depth, transparency and metadata stay as they are unless other ones are asked
    for, and nothing is overwritten. Of several images those that a run before this one has done
    are skipped, unless the image, the model or an option changed. One that can't be used is
    reported, the others are done, and the exit status is then 2.
    """
    from noise2noise.cli.denoising import run

    images, mode = _mode(single or from_scratch, images or [])
    _check_single(mode, minutes=minutes, seed=seed, save_model=save_model)
    asked = Asked(
        images=images,
        files_from=files_from,
        recursive=recursive,
        output=output,
        name=name,
        overwrite=overwrite,
        dry_run=dry_run,
        model=model,
        quality=quality,
        strength=strength,
        noise=noise,
        keep_impulses=keep_impulses,
        white=white,
        axes=axes,
        channel_axis=channel_axis,
        format=format,
        dtype=dtype,
        bit_depth=bit_depth,
        jpeg_quality=jpeg_quality,
        memory=memory,
        tile=tile,
        threads=threads,
        device=device,
        workers=workers,
        scheduler=scheduler,
        quiet=quiet,
        as_json=as_json,
        single=mode,
        minutes=2.0 if minutes is None else minutes,
        seed=seed or 0,
        save_model=save_model,
        from_scratch=from_scratch,
        report=report,
        residual=residual,
    )
    if tile is not None and memory is not None:
        raise UserError(f"--memory {memory} chooses the tile; leave --tile {tile} out")
    if mode is not None and (workers is not None or scheduler is not None):
        raise UserError(
            "--single fits the model in this process; fit it to an image before, with "
            "--save-model, and give that to the workers by --model"
        )
    if workers is not None and scheduler is not None:
        raise UserError(f"{scheduler} has its workers; leave --workers {workers} out")
    status = run(asked)
    if status:
        raise typer.Exit(status)


def _mode(single: bool, images: list[str]) -> tuple[list[str], str | None]:
    """The images, and what is fitted to them: the word each, unless there is such a file, belongs
    to --single."""
    if not single:
        return images, None
    if _EACH in images and not Path(_EACH).exists():
        return [image for image in images if image != _EACH], _EACH
    return images, ""


def _check_single(mode: str | None, **given: object) -> None:
    """Refuse what makes sense only where something is fitted."""
    for name, value in given.items():
        if value is not None and mode is None:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} {value} is of a fit; add --single, or leave it out")

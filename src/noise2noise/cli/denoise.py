"""`noise2noise denoise`: clean up image files."""

import time
from pathlib import Path
from typing import Annotated

import typer

from noise2noise.cli.common import (
    JSON_OPTION,
    OVERWRITE_OPTION,
    examples,
    messages,
    print_json,
    results,
    track,
)
from noise2noise.denoiser import Denoiser, default_model
from noise2noise.errors import UserError
from noise2noise.images import SUFFIXES, list_images, read_image


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "denoise",
        epilog=examples(
            "noise2noise denoise photo.jpg",
            "noise2noise denoise scans/ --output clean/",
            "noise2noise denoise cell.tif -o cell_clean.tif --model runs/cells --strength 0.8",
        ),
    )(denoise)


def denoise(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="A file for a single image, or a folder, made if need be. "
            "By default photo.jpg becomes photo_denoised.jpg beside it.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="A shipped model's name, a model file, or a training run's folder. "
            "By default the shipped model for colour or for grey images, as each image asks.",
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="From 0, the image as it is, to 1, all noise removed.")
    ] = 1.0,
    tile: Annotated[
        int | None,
        typer.Option(help="Work in tiles of so many pixels; smaller needs less memory."),
    ] = None,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Remove noise from images: PNG, JPEG, TIFF, BMP or WebP, 8 or 16 bits or floats, any size.

    Size, bit depth, transparency and metadata stay as they are. An image that can't be used is
    skipped and reported, and the exit status is then 2.
    """
    jobs = _destinations(_files(images), output)
    loaded: dict[str, Denoiser] = {}
    done, failures = [], 0
    for source, destination in jobs:
        try:
            done.append(_denoise_one(source, destination, model, loaded, strength, tile, overwrite))
        except UserError as error:
            failures += 1
            messages.print(
                f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True
            )
            continue
        if not as_json:
            results.print(
                f"{source} -> {destination}  ({done[-1]['seconds']:.1f} s)",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
    if as_json:
        print_json(done)
    if failures:
        raise typer.Exit(2)


def _denoise_one(
    source: Path,
    destination: Path,
    model: str | None,
    loaded: dict[str, Denoiser],
    strength: float,
    tile: int | None,
    overwrite: bool,
) -> dict[str, object]:
    started = time.perf_counter()
    name = model or default_model(1 if read_image(source).pixels.ndim == 2 else 3)
    if name not in loaded:
        loaded[name] = Denoiser.load(name)
    _, clean = loaded[name].denoise_file(source, destination, overwrite, strength, tile, track)
    height, width = clean.pixels.shape[:2]
    return {
        "input": str(source),
        "output": str(destination),
        "model": name,
        "width": width,
        "height": height,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _files(images: list[Path]) -> list[Path]:
    return [file for path in images for file in (list_images(path) if path.is_dir() else [path])]


def _destinations(sources: list[Path], output: Path | None) -> list[tuple[Path, Path]]:
    if output is None:
        jobs = [(path, path.with_stem(f"{path.stem}_denoised")) for path in sources]
    elif output.suffix.lower() in SUFFIXES and not output.is_dir():
        if len(sources) > 1:
            raise UserError(
                f"{output} is one file, but there are {len(sources)} images; name a folder"
            )
        jobs = [(path, output) for path in sources]
    else:
        _make_folder(output)
        jobs = [(path, output / path.name) for path in sources]
    _check_distinct(jobs)
    return jobs


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} can't be made: {error.strerror or error}") from error


def _check_distinct(jobs: list[tuple[Path, Path]]) -> None:
    taken: dict[Path, Path] = {}
    for source, destination in jobs:
        if destination in taken:
            raise UserError(
                f"{taken[destination]} and {source} would both be written to {destination}; "
                "denoise them separately"
            )
        if destination.resolve() == source.resolve():
            raise UserError(
                f"the result would replace {source} itself; choose another output folder"
            )
        taken[destination] = source

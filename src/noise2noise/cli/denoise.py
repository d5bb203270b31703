"""`noise2noise denoise`: clean up image files."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from noise2noise.cli.common import (
    JSON_OPTION,
    OVERWRITE_OPTION,
    examples,
    print_error,
    print_json,
    track,
)
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError, out_of_memory
from noise2noise.files import (
    is_image_folder,
    list_images,
    open_stack,
    refuse_existing,
    result_name,
    suffixes,
)
from noise2noise.inference import Settings
from noise2noise.noise import NoiseProfile
from noise2noise.shipped import default_model


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "denoise",
        epilog=examples(
            "noise2noise denoise photo.jpg",
            "noise2noise denoise scans/ --output clean/",
            "noise2noise denoise cell.tif -o cell_clean.tif --model runs/cells --strength 0.8",
            "noise2noise denoise dark.png --noise camera.json",
            "noise2noise denoise movie.npy --axes TZYX",
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
            "By default the shipped model that suits each image; its name is printed.",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(
            help="From 0, the image as it is, to 1, all noise removed; up to 2 where it is left, "
            "with models that are told the noise."
        ),
    ] = 1.0,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER|FILE",
            help="The noise's standard deviation in the file's own units, or a profile that "
            "inspect --save wrote. By default it is measured in each image.",
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(help="Work in tiles of so many pixels; smaller needs less memory."),
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(
            help="The value that is white, such as 4095 for 12 bits in 16. "
            "By default the file's word, or what its values need.",
            min=1e-30,
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="What the axes are where a file doesn't say, such as TZYX: T time, Z depth, C a "
            "micrograph's channels, S a colour's samples, Y and X, Q and I any other.",
        ),
    ] = None,
    channel_axis: Annotated[
        int | None,
        typer.Option(
            help="The axis of an array that holds the samples of a pixel, from 0, or from -1, the "
            "last; three of them are a colour.",
        ),
    ] = None,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Remove noise from images and stacks of any size: PNG, JPEG, TIFF, BMP, WebP, GIF, JPEG XL,
    AVIF, OME-Zarr and .npy, integers or floats of any range.

    Size, axes, bit depth, transparency and metadata stay as they are. An image that can't be
    used is skipped and reported, and the exit status is then 2.
    """
    jobs = _jobs(images, output)
    load = functools.cache(Denoiser.load)
    # What is wrong with the options is said once, not of each image.
    profile = None if noise is None else NoiseProfile.parse(noise)
    settings = Settings(strength, tile, noise=profile)
    load(model or "photo").check(settings)
    if output is not None and output != jobs[0][1]:
        _make_folder(output)
    over_images, over_tiles = (track, None) if len(jobs) > 1 else (_untracked, track)
    said = {"axes": axes, "channel_axis": channel_axis, "white": white}
    options = {"settings": settings, "overwrite": overwrite, "track": over_tiles}
    done = []
    for source, destination in over_images(jobs, "Denoising", len(jobs)):
        with _reported(source):
            record = _denoise(source, destination, model, load, said, **options)
            done.append(record)
            if not as_json:
                notes = "".join(f"; {note}" for note in record["notes"])
                facts = f"{record['model']}, {record['seconds']:.1f} s{notes}"
                print(f"{source} -> {destination}  ({facts})")
    if as_json:
        print_json(done)
    if len(done) < len(jobs):
        raise typer.Exit(2)


def _untracked(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    return items


@contextlib.contextmanager
def _reported(source: Path) -> Iterator[None]:
    """Whatever goes wrong with one image is said, and the next one is taken."""
    try:
        yield
    except UserError as error:
        print_error(error)
    except Exception as error:
        if out_of_memory(error):
            print_error(f"{source} does not fit into memory; choose a smaller --tile")
        else:
            reason = " ".join(str(error).split())
            print_error(f"{source} could not be denoised ({type(error).__name__}: {reason})")


def _denoise(
    source: Path,
    destination: Path,
    model: str | None,
    load: Callable[[str], Denoiser],
    said: dict[str, Any],
    **options: Any,
) -> dict[str, Any]:
    """Denoise one file, with what is `said` of it to `open_stack`, and options of
    `Denoiser.denoise_stack`; what came of it as JSON."""
    started = time.perf_counter()
    refuse_existing(destination, options["overwrite"])
    with open_stack(source, **said) as stack:
        header, name = stack.header, model or default_model(stack)
        outcome = load(name).denoise_stack(stack, destination, **options)
    notes = list(header.notes)
    if outcome.seen.bad:
        notes.append(f"{outcome.seen.bad} NaN or infinite values stay as they are")
    if outcome.impulses:
        notes.append(f"{outcome.impulses} impulses removed")
    return {
        "input": str(source),
        "output": str(destination),
        "model": name,
        "width": header.width,
        "height": header.height,
        "planes": header.planes,
        "notes": notes,
        "seconds": round(time.perf_counter() - started, 3),
    }


def _jobs(images: list[Path], output: Path | None) -> list[tuple[Path, Path]]:
    """What to read and where to write it: no two to one place, and none onto an input."""
    sources = list(dict.fromkeys(file for path in images for file in _files(path, output)))
    jobs = _destinations(sources, output)
    inputs = {source.resolve(): source for source in sources}
    taken: dict[Path, Path] = {}
    for source, destination in jobs:
        place = destination.resolve()
        if place in inputs:
            raise UserError(
                f"the result of {source} would replace {inputs[place]}, which is to be denoised; "
                "choose another output"
            )
        if place in taken:
            raise UserError(
                f"{taken[place]} and {source} would both be written to {destination}; "
                "denoise them separately"
            )
        taken[place] = source
    return jobs


def _files(path: Path, output: Path | None) -> list[Path]:
    if not path.is_dir() or is_image_folder(path):
        return [path]
    files = list_images(path)
    if output is not None:
        return files
    # The results of an earlier call lie beside their originals; they are no new images.
    results_of_others = {_beside(file) for file in files}
    return [file for file in files if file not in results_of_others]


def _beside(source: Path) -> Path:
    stem = source.stem
    if stem.lower().endswith(".ome"):  # cells.ome.zarr, cells.ome.tif
        return source.with_name(result_name(source, f"{stem[:-4]}_denoised{stem[-4:]}"))
    return source.with_name(result_name(source, f"{stem}_denoised"))


def _destinations(sources: list[Path], output: Path | None) -> list[tuple[Path, Path]]:
    if output is None:
        return [(path, _beside(path)) for path in sources]
    single, writable = len(sources) == 1, output.suffix.lower() in suffixes()
    if output.is_dir() or not (writable or (single and output.suffix)):
        return [(path, output / result_name(path, path.stem)) for path in sources]
    if not single:
        raise UserError(f"{output} is one file, but there are {len(sources)} images; name a folder")
    if not writable:
        raise UserError(
            f"{output} ends in no image format that can be written; end it in one of "
            f"{', '.join(sorted(suffixes()))}, or make a folder of that name first"
        )
    return [(sources[0], output)]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder {folder} can't be made: {error.strerror or error}") from error

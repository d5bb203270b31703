"""`noise2noise make-pairs`: noisy pairs out of clean photographs."""

from pathlib import Path
from typing import Annotated

import numpy as np
import PIL.Image
import torch
import typer

from chainrule.serialization import replacing
from noise2noise.cli.common import OVERWRITE_OPTION, examples, messages, track
from noise2noise.corruptions import Corruption, describe, parse
from noise2noise.errors import UserError
from noise2noise.images import Image, from_unit, list_images, read_image, to_unit, write_image


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "make-pairs",
        epilog=examples(
            "noise2noise make-pairs photos/ --corruption gaussian:25 --out pairs/",
            "noise2noise make-pairs photos/ --corruption subpixel:6 --out train_data.pkl "
            "--count 50000 --size 32",
        )
        + "\n\n**Corruptions**\n\n"
        + "\n\n".join(describe().splitlines()),
    )(make_pairs)


def make_pairs(
    photos: Annotated[Path, typer.Argument(help="A folder of clean photographs.")],
    corruption: Annotated[str, typer.Option(help="The noise to add; see below.")],
    out: Annotated[
        Path,
        typer.Option(
            help="A folder, which gets a/, b/ and clean/ of 32-bit float TIFF files; "
            "or a .pkl file of two uint8 tensors."
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option(help="Pairs to make; by default one of each photograph.", min=1),
    ] = None,
    size: Annotated[
        int, typer.Option(help="For a .pkl: side of the images, in pixels.", min=1)
    ] = 32,
    seed: Annotated[int, typer.Option(help="Makes the draws repeatable.", min=0)] = 0,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
) -> None:
    """Make pairs of noisy images out of clean photographs: two independent draws of each.

    Folders hold floats, because noise leaves the range of 8 bits and clipping it would bias it.
    A .pkl is the format of EPFL's course EE-559: every photograph's centre square is averaged down
    to the size, and values are rounded and clipped to 0..255.
    """
    noise, paths = parse(corruption), list_images(photos)
    jobs = [(index, paths[index % len(paths)]) for index in range(count or len(paths))]
    if out.suffix == ".pkl":
        _write_tensors(jobs, noise, size, seed, out, overwrite)
    else:
        _write_folders(jobs, noise, seed, out, overwrite)
    messages.print(f"{len(jobs)} pairs in {out}", markup=False, highlight=False, soft_wrap=True)


def _write_folders(
    jobs: list[tuple[int, Path]], noise: Corruption, seed: int, out: Path, overwrite: bool
) -> None:
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UserError(f"{out} is not empty; choose another folder or add --overwrite")
    photos = len({path for _, path in jobs})
    for name in ("a", "b", "clean"):
        try:
            (out / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the folder {out / name} can't be made: {error.strerror}") from error
    for index, path in track(jobs, "Making pairs", len(jobs)):
        photo = to_unit(read_image(path))
        first, second = noise.pair(photo, np.random.default_rng((seed, index)))
        stem = path.stem if len(jobs) <= photos else f"{path.stem}_{index // photos:05d}"
        for folder, image in (("a", first), ("b", second), ("clean", noise.clean(photo))):
            pixels = from_unit(image, np.float32)
            write_image(out / folder / f"{stem}.tif", Image(pixels), overwrite)


def _write_tensors(
    jobs: list[tuple[int, Path]],
    noise: Corruption,
    size: int,
    seed: int,
    out: Path,
    overwrite: bool,
) -> None:
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists already; choose another name or add --overwrite")
    sides = np.empty((2, len(jobs), 3, size, size), np.uint8)
    squares: dict[Path, np.ndarray] = {}
    for index, path in track(jobs, "Making pairs", len(jobs)):
        if path not in squares:
            squares[path] = _square(path, size * noise.scale)
        clean = np.float32(squares[path]) / 255
        pair = noise.pair(clean, np.random.default_rng((seed, index)))
        sides[:, index] = np.rint(np.clip(np.stack(pair), 0, 1) * 255)
    try:
        with replacing(out, overwrite) as temporary:
            torch.save(tuple(torch.from_numpy(side) for side in sides), temporary)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error.strerror or error}") from error


def _square(path: Path, side: int) -> np.ndarray:
    """The centre square of a photograph, averaged over areas to uint8 (3, side, side)."""
    pixels = from_unit(to_unit(read_image(path)), np.uint8)
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short < side:
        raise UserError(
            f"{path} is {width} x {height}; {side} pixels are needed on the shorter side"
        )
    top, left = (height - short) // 2, (width - short) // 2
    square = PIL.Image.fromarray(pixels[top : top + short, left : left + short]).convert("RGB")
    small = square.resize((side, side), PIL.Image.Resampling.BOX)
    return np.asarray(small).transpose(2, 0, 1)

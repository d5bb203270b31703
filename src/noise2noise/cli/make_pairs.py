"""`noise2noise make-pairs`: noisy pairs out of clean photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise2noise.cli.common import OUT_FLAGS, OVERWRITE_OPTION, corruptions, examples, track
from noise2noise.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from noise2noise.noise import Corruption

PAIR_FILES = (".pkl", ".pth", ".pt")
"""Endings of a file of two tensors."""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "make-pairs",
        epilog=examples(
            "noise2noise make-pairs photos/ --corruption gaussian:25 --out pairs/",
            "noise2noise make-pairs photos/ --corruption subpixel:6 --out train_data.pkl "
            "--count 50000 --size 32",
            "noise2noise make-pairs others/ --corruption subpixel:6 --out val_data.pkl --clean",
        )
        + corruptions(),
    )(make_pairs)


def make_pairs(
    photos: Annotated[Path, typer.Argument(help="A folder of clean photographs.")],
    corruption: Annotated[str, typer.Option(help="The noise to add; see below.")],
    out: Annotated[
        Path,
        typer.Option(
            *OUT_FLAGS,
            help="A folder, which gets a/, b/ and clean/ of 32-bit float TIFF files; "
            "or a .pkl, .pth or .pt file of two uint8 tensors.",
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option(help="Pairs to make; by default one of each photograph.", min=1),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="For a .pkl: side of the images, in pixels; 32 by default.", min=1),
    ] = None,
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="For a .pkl: its second tensor holds the clean images, to validate on; folders "
            "have them anyway.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Makes the draws repeatable.", min=0)] = 0,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
) -> None:
    """Make pairs of noisy images out of clean photographs: two independent draws of each.

    Folders hold floats, because noise leaves the range of 8 bits and clipping it would bias it.
    A .pkl is the format of EPFL's course EE-559: every photograph's centre square is averaged down
    to the size, and values are rounded and clipped to 0..255.
    """
    from noise2noise.cli.common import messages
    from noise2noise.files import list_images
    from noise2noise.noise import parse

    noise, paths = parse(corruption), list_images(photos)
    jobs = [(index, paths[index % len(paths)]) for index in range(count or len(paths))]
    if out.suffix.lower() in PAIR_FILES:
        _write_tensors(jobs, noise, clean, size or 32, seed, out, overwrite)
    elif size is not None:
        raise UserError(f"--size {size} is for a .pkl file; images in folders keep their size")
    elif clean:
        raise UserError("--clean is for a .pkl file; folders have their clean images in clean/")
    else:
        _write_folders(jobs, noise, seed, out, overwrite)
    messages.print(f"{len(jobs)} pair{'' if len(jobs) == 1 else 's'} in {out}")


def _write_folders(
    jobs: list[tuple[int, Path]], noise: Corruption, seed: int, out: Path, overwrite: bool
) -> None:
    import numpy as np

    from noise2noise.evaluation import read_unit
    from noise2noise.files import Image, from_unit, write_image

    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UserError(f"{out} is not empty; choose another folder or add --overwrite")
    photos = len({path for _, path in jobs})
    _refuse_same_names([path for _, path in jobs[:photos]])
    for name in ("a", "b", "clean"):
        try:
            (out / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"the folder {out / name} can't be made: {error.strerror}") from error
    for index, path in track(jobs, "Making pairs", len(jobs)):
        photo = read_unit(path, least=noise.scale)
        first, second = noise.pair(photo, np.random.default_rng((seed, index)))
        stem = path.stem if len(jobs) <= photos else f"{path.stem}_{index // photos:05d}"
        for folder, image in (("a", first), ("b", second), ("clean", noise.clean(photo))):
            pixels = from_unit(image, np.float32)
            write_image(out / folder / f"{stem}.tif", Image(pixels), overwrite)


def _refuse_same_names(paths: list[Path]) -> None:
    by_name: dict[str, Path] = {}
    for path in paths:
        other = by_name.setdefault(path.stem, path)
        if other != path:
            raise UserError(
                f"{other} and {path.name} have the same name but for the ending, so their pairs "
                "would too; rename one"
            )


def _write_tensors(
    jobs: list[tuple[int, Path]],
    noise: Corruption,
    with_clean: bool,
    size: int,
    seed: int,
    out: Path,
    overwrite: bool,
) -> None:
    from noise2noise.data import save_pair_file
    from noise2noise.files import refuse_existing

    refuse_existing(out, overwrite)
    try:
        save_pair_file(out, _draw_tensors(jobs, noise, with_clean, size, seed), overwrite)
    except OSError as error:
        raise UserError(f"{out} could not be written: {error.strerror or error}") from error


def _draw_tensors(
    jobs: list[tuple[int, Path]], noise: Corruption, with_clean: bool, size: int, seed: int
) -> tuple[torch.Tensor, ...]:
    import numpy as np
    import torch

    from noise2noise.squares import averaged, centre, read_photograph

    sides = np.empty((2, len(jobs), 3, size, size), np.uint8)
    squares: dict[Path, np.ndarray] = {}
    for index, path in track(jobs, "Making pairs", len(jobs)):
        if path not in squares:
            photograph = read_photograph(path, least=size * noise.scale)
            squares[path] = averaged(photograph, centre(photograph), size * noise.scale)
        square = np.float32(squares[path]) / 255
        first, second = noise.pair(square, np.random.default_rng((seed, index)))
        pair = np.stack([first, noise.clean(square) if with_clean else second])
        sides[:, index] = np.rint(np.clip(pair, 0, 1) * 255)
    return tuple(torch.from_numpy(side) for side in sides)

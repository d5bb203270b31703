"""The course's data set made anew: noisy pairs out of photographs, once for an output folder.

A square of a photograph is averaged over areas to 192 x 192; each pixel of a 32 x 32 noisy image is
one sub-pixel of its 6 x 6 block (`subpixel:6`); two draws are a pair. The first pair of every
photograph shows its centre square, as in the course. Where more pairs are needed than there are
photographs, the further ones show random squares, half of them mirrored: networks that saw a
thousand scenes again and again would learn them by heart.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from chainrule.serialization import replacing
from noise2noise.data import Track, load_pair_file, save_pair_file
from noise2noise.errors import UserError
from noise2noise.files import list_images, suffixes
from noise2noise.noise.corruptions import parse
from noise2noise.squares import averaged, centre, read_photograph
from noise2noise.studies.runs import Images

SIDE = 32
"""Side in pixels of the course's images."""

_NOISE = parse("subpixel:6")
_LEAST = SIDE * _NOISE.scale

_SMALLEST_SHARE = 0.7
"""Random squares are at least so large, as a share of the centre square."""

_FILES = ("pairs.pkl", "validation.pkl", "data.json")


def prepare(
    folder: Path, photos: Path | None, validation: Path | None, count: int, seed: int, track: Track
) -> None:
    """Put the pairs and a copy of the validation images into `folder`, unless they are there.

    Arguments:
        folder: where results are kept.
        photos: a folder of photographs, whose folders count too; may be None if the pairs are there
            already, like `validation`.
        validation: a file of two tensors (noisy, clean), uint8 `(N, 3, 32, 32)`.
        count: pairs to make.
        seed: of all draws.
        track: shows the progress.

    Raises:
        UserError: photographs or validation images are missing, unusable, or others than those that
            `folder` was begun with.
    """
    wanted = _description(photos, validation, count, seed)
    stored = _stored(folder)
    if stored is not None:
        refuse_others(folder, wanted, stored)
        return
    if photos is None or validation is None:
        raise UserError(
            f"there is no folder {folder} of results to go on with; to begin one, give --photos "
            "(to make noisy pairs of) and --validation (noisy and clean images to validate on, as "
            "noise2noise make-pairs --clean makes them)"
        )
    paths = photographs_in(photos, _LEAST)
    _check_validation(validation)
    first, second = make_pairs(paths, count, seed, track)
    folder.mkdir(parents=True, exist_ok=True)
    save_pair_file(folder / _FILES[0], (first, second), overwrite=True)
    with replacing(folder / _FILES[1], overwrite=True) as temporary:
        shutil.copyfile(validation, temporary)
    with replacing(folder / _FILES[2], overwrite=True) as temporary:  # the last: all is there then
        temporary.write_text(json.dumps(wanted, indent=1) + "\n")


def are_there(folder: Path) -> bool:
    """Whether `prepare` has been there."""
    return (folder / _FILES[2]).exists()


def refuse_others(folder: Path, wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Raise UserError if what is asked for differs from what `folder` was begun with; None is
    whatever it was."""
    for name, value in wanted.items():
        if value is not None and value != stored[name]:
            raise UserError(
                f"{folder} holds results of other data ({name}: {stored[name]} then, "
                f"{value} now); choose another --out"
            )


def load(folder: Path) -> Images:
    """The images that `prepare` put into `folder`.

    Raises:
        UserError: there are none.
    """
    describe(folder)
    first, second = load_pair_file(folder / _FILES[0])
    noisy, clean = load_pair_file(folder / _FILES[1])
    return Images(first, second, noisy, clean)


def describe(folder: Path) -> dict[str, Any]:
    """What the data in `folder` are: "photographs", "validation", "pairs", "seed".

    Raises:
        UserError: there are none.
    """
    stored = _stored(folder)
    if stored is None:
        raise UserError(f"there is no folder {folder} of results; run a study, or name --out")
    return stored


def make_pairs(
    paths: list[Path], count: int, seed: int, track: Track
) -> tuple[torch.Tensor, torch.Tensor]:
    """Two uint8 tensors `(count, 3, 32, 32)` of noisy images, pair `i` of photograph `i % n`.

    Pair `i` follows from `(seed, i)` and its photograph alone, so a larger count adds pairs.

    Raises:
        UserError: a photograph can't be read.
    """
    sides = np.empty((2, count, 3, SIDE, SIDE), np.uint8)
    used = paths[:count]
    for place, path in enumerate(track(used, "Making pairs", len(used))):
        photograph = read_photograph(path, _LEAST)
        for index in range(place, count, len(paths)):
            rng = np.random.default_rng((seed, index))
            square = _square(photograph, rng if index >= len(paths) else None)
            pair = _NOISE.pair(square, rng)  # 8-bit values: a draw picks some of them
            sides[:, index] = np.stack(pair)
    return torch.from_numpy(sides[0]), torch.from_numpy(sides[1])


def _square(photo: PIL.Image.Image, rng: np.random.Generator | None) -> np.ndarray:
    """A square of the photograph as uint8 (3, 192, 192): the centre one, or a random one."""
    if rng is None:
        return averaged(photo, centre(photo), _LEAST)
    short = min(photo.size)
    length = int(rng.integers(max(_LEAST, round(_SMALLEST_SHARE * short)), short + 1))
    left, top = (int(rng.integers(size - length + 1)) for size in photo.size)
    square = averaged(photo, (left, top, left + length, top + length), _LEAST)
    return square[..., ::-1] if rng.integers(2) else square


def photographs_in(folder: Path, least: int) -> list[Path]:
    """The photographs in the folder and in the folders within that have `least` pixels a side.

    Raises:
        UserError: there are none.
    """
    known = suffixes()
    found = [path for path in folder.rglob("*") if path.suffix.lower() in known]
    folders = sorted({path.parent for path in found if path.name[0] != "."}) or [folder]
    paths = [path for each in folders for path in list_images(each)]
    large = [path for path in paths if _is_large(path, least)]
    if not large:
        raise UserError(
            f"no photograph in {folder} has at least {least} x {least} pixels, which is what is "
            "cut out of them; give larger ones"
        )
    return large


def _is_large(path: Path, least: int) -> bool:
    try:
        with PIL.Image.open(path) as image:
            return min(image.size) >= least
    except OSError:
        return True  # whoever reads it will say what is wrong


def _check_validation(path: Path) -> None:
    noisy, _ = load_pair_file(path)
    if noisy.shape[1:] != (3, SIDE, SIDE) or noisy.dtype != torch.uint8:
        raise UserError(
            f"{path}: expected uint8 images (N, 3, {SIDE}, {SIDE}) as the course has them, "
            f"got {noisy.dtype} {tuple(noisy.shape)}"
        )


def _description(
    photos: Path | None, validation: Path | None, count: int, seed: int
) -> dict[str, Any]:
    photographs = None
    if photos is not None:
        names = [path.name for path in photographs_in(photos, _LEAST)]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
        photographs = f"{len(names)} photographs, names {digest}"
    images = None
    if validation is not None:
        number = len(load_pair_file(validation)[0])
        digest = hashlib.sha256(validation.read_bytes()).hexdigest()[:8]
        images = f"{number} images, file {digest}"
    return {"photographs": photographs, "validation": images, "pairs": count, "seed": seed}


def _stored(folder: Path) -> dict[str, Any] | None:
    return described(folder / _FILES[2], ("photographs", "validation", "pairs", "seed"))


def described(path: Path, names: Iterable[str]) -> dict[str, Any] | None:
    """What is written at `path` of the data beside it, or None if nothing is there.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text())
        return {name: stored[name] for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; remove it, and the data are made anew") from error

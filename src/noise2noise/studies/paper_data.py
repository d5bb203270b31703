"""What the paper's study learns from and is measured on: squares of photographs, and test images.

Both are put into the output folder once, so that a run goes on without the photographs:

    squares.safetensors    squares of photographs at their own resolution, which crops are taken of
    tests.safetensors      the test images, by the name of their folder
    paper.json             what they were made of, to refuse others later
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.serialization import load_tensors, replacing, save_tensors
from noise2noise.data import Track
from noise2noise.errors import UserError
from noise2noise.files import list_images
from noise2noise.squares import read_photograph
from noise2noise.studies.data import described, photographs_in, refuse_others

SIDE = 128
"""Side in pixels of the squares: crops are taken out of them at random."""

SQUARES = 3000

QUICK_SQUARES = 8
QUICK_TESTS = 2
QUICK_SIDE = 48
"""What `--quick` leaves: squares, test images of a folder, and the side of these in pixels."""

_SQUARES, _TESTS, _FACTS = "squares.safetensors", "tests.safetensors", "paper.json"
_NAMES = ("photographs", "tests", "squares", "seed", "quick")


@dataclass(frozen=True)
class PaperImages:
    """uint8 images in colour.

    Attributes:
        squares: `(N, 3, 128, 128)`.
        tests: images `(3, H, W)` by the name of their folder.
    """

    squares: Tensor
    tests: Mapping[str, Sequence[Tensor]]


def prepare(
    folder: Path,
    photos: Path | None,
    tests: Sequence[Path],
    seed: int,
    quick: bool,
    track: Track,
) -> None:
    """Put squares and test images into `folder`, unless they are there.

    Arguments:
        folder: where results are kept.
        photos: a folder of photographs, whose folders count too; may be None if the squares are
            there already.
        tests: folders of test images, of different names; may be empty if they are there already.
        seed: of the squares' places.
        quick: a few of everything.
        track: shows the progress.

    Raises:
        UserError: photographs or test images are missing, unusable, or others than those that
            `folder` was begun with.
    """
    names = [path.name for path in tests]
    if len({*names}) < len(names):
        raise UserError(
            f"two of the folders of test images have one name ({', '.join(names)}), by which the "
            "page tells them apart; rename one"
        )
    count = QUICK_SQUARES if quick else SQUARES
    wanted = {
        "photographs": None if photos is None else _words(photographs_in(photos, SIDE)),
        "tests": {path.name: _words(list_images(path)) for path in tests} or None,
        "squares": count,
        "seed": seed,
        "quick": quick,
    }
    stored = _stored(folder)
    if stored is not None:
        refuse_others(folder, wanted, stored)
        return
    if photos is None or not tests:
        raise UserError(
            f"there is no folder {folder} of the paper's runs to go on with; to begin one, give "
            "--photos (to learn from) and --tests (a folder of test images, such as Set14; may be "
            "repeated)"
        )
    read = {path.name: _read_tests(path, quick, track) for path in tests}
    squares = _cut(photographs_in(photos, SIDE), count, seed, track)
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / _SQUARES, {"squares": squares}, {}, overwrite=True)
    tensors = {f"{name}/{i:04}": x for name, images in read.items() for i, x in enumerate(images)}
    save_tensors(folder / _TESTS, tensors, {}, overwrite=True)
    with replacing(folder / _FACTS, overwrite=True) as temporary:  # the last: all is there then
        temporary.write_text(json.dumps(wanted, indent=1) + "\n")


def load(folder: Path) -> PaperImages:
    """The images that `prepare` put into `folder`.

    Raises:
        UserError: there are none, or a file is damaged.
    """
    facts, found = describe(folder), {}
    for name in (_SQUARES, _TESTS):
        try:
            found[name], _ = load_tensors(folder / name)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder / name} is damaged or gone: {error}") from error
    tests: dict[str, list[Tensor]] = {name: [] for name in facts["tests"]}  # in the order given
    for name, image in sorted(found[_TESTS].items()):
        tests[name.rpartition("/")[0]].append(image)
    return PaperImages(found[_SQUARES]["squares"], tests)


def describe(folder: Path) -> dict[str, Any]:
    """What the data in `folder` are: "photographs", "tests", "squares", "seed", "quick".

    Raises:
        UserError: there are none.
    """
    stored = _stored(folder)
    if stored is None:
        raise UserError(f"there is no folder {folder} of the paper's runs; run the study first")
    return stored


def are_there(folder: Path) -> bool:
    """Whether `prepare` has been there."""
    return (folder / _FACTS).exists()


def _stored(folder: Path) -> dict[str, Any] | None:
    return described(folder / _FACTS, _NAMES)


def _cut(paths: Sequence[Path], count: int, seed: int, track: Track) -> Tensor:
    """Square `i` of photograph `i % n`, at a place that follows from `(seed, i)`."""
    squares = np.empty((count, 3, SIDE, SIDE), np.uint8)
    used = paths[:count]
    for place, path in enumerate(track(used, "Cutting squares", len(used))):
        pixels = np.asarray(read_photograph(path, SIDE)).transpose(2, 0, 1)
        for index in range(place, count, len(paths)):
            rng = np.random.default_rng((seed, index))
            top, left = (int(rng.integers(size - SIDE + 1)) for size in pixels.shape[1:])
            squares[index] = pixels[:, top : top + SIDE, left : left + SIDE]
    return torch.from_numpy(squares)


def _read_tests(folder: Path, quick: bool, track: Track) -> list[Tensor]:
    paths = list_images(folder)
    if quick:
        paths = paths[:QUICK_TESTS]
    images = []
    for path in track(paths, f"Reading {folder.name}", len(paths)):
        pixels = np.asarray(read_photograph(path, QUICK_SIDE)).transpose(2, 0, 1)
        if quick:
            pixels = pixels[:, :QUICK_SIDE, :QUICK_SIDE]
        images.append(torch.from_numpy(pixels.copy()))
    return images


def _words(paths: Iterable[Path]) -> str:
    names = [path.name for path in paths]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    return f"{len(names)} images, names {digest}"

"""Pairs as they were taken, in two folders: files of the same name show the same scene."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noise2noise.data.assembly import Group, assembled
from noise2noise.data.pixels import refuse_small
from noise2noise.data.scenes import RecordedScenes
from noise2noise.data.shots import Shot, one_kind, read_shots, usual_crop
from noise2noise.data.source import Track, silently
from noise2noise.data.words import counted, shortened, size_text
from noise2noise.errors import UserError
from noise2noise.files import is_image_folder, list_images


class FolderPairs(RecordedScenes):
    """Pairs of image files: two folders that hold the same scenes under the same names.

    `a/tree.png` and `b/tree.tif` are a pair: the endings may differ. `a/tree/` and `b/tree/` may be
    folders, of several shots of one scene: each in one is a pair with each in the other. Files of
    several planes or channels are a pair for each. All images are read at once, and every one that
    can't be used is named before training starts. Which of the two is the input is drawn anew each
    time, unless `target_is_clean`.

    Arguments:
        folder_a, folder_b: one noisy image of each scene in either.
        crop: side of the crops in pixels; by default 64, or less where images are smaller.
        target_is_clean: `folder_b` holds clean images: they are always the target.
        track: shows the progress of reading.
        register: move shots into place that are shifted by more than half a pixel; otherwise they
            are left out.
        multiple: crops chosen by default are multiples of this.

    Raises:
        UserError: a folder is missing or empty, a file can't be read, a name has no partner or is
            there twice, the images of a pair differ in size, some are grey and some in colour,
            some are smaller than the crop, or no pair is left.
    """

    def __init__(
        self,
        folder_a: str | Path,
        folder_b: str | Path,
        crop: int | None = None,
        target_is_clean: bool = False,
        track: Track | None = None,
        register: bool = False,
        multiple: int = 1,
    ) -> None:
        a, b = Path(folder_a), Path(folder_b)
        names = _matched_scenes(a, b)
        work = (track or silently)(names, "Reading pairs", len(names))
        read = [(_read(first), _read(second)) for first, second in work]
        sides = [both for first, second in read for both in _alike(first, second)]
        _refuse_different_sizes(sides)
        shots = [shot for first, second in sides for shot in (*first, *second)]
        unit = one_kind(shots)
        crop = usual_crop(shots, multiple) if crop is None else crop
        refuse_small([shot.name for shot in shots], [shot.pixels for shot in shots], crop)
        _refuse_copies(sides, a, b)
        groups = [
            Group(
                [*first, *second],
                list(itertools.product(range(len(first)), range(len(first), len(first + second)))),
            )
            for first, second in sides
        ]
        watched = (track or silently)(groups, "Comparing shots", len(groups))
        scenes, notes = assembled(watched, crop, register)
        self._folders = a, b
        super().__init__(scenes, crop, target_is_clean, notes, unit)

    def describe(self) -> str:
        a, b = self._folders
        kind = "noisy and clean" if self.reference_is_clean else "noisy"
        pairs, scenes, crops = self._in_words()
        of = "" if pairs.split()[0] == scenes.split()[0] else f" of {scenes}"
        return f"{pairs} of {kind} images{of} from {a} and {b}, {crops}"


Rows = list[list[Shot]]
"""Shots of the same thing side by side, a row for each channel or sequence."""


def _read(paths: Sequence[Path]) -> list[Rows]:
    return [read_shots(path) for path in paths]


def _alike(first: list[Rows], second: list[Rows]) -> list[tuple[list[Shot], list[Shot]]]:
    """Which shots show the same scene: those of a file and its partner, plane by plane; or all of
    several files and their partners, channel by channel."""
    for files in (first, second):
        for rows in files:
            if [len(row) for row in rows] != [len(row) for row in first[0]]:
                raise UserError(
                    f"{_held(first[0])} and {_held(rows)}; both files of a pair must hold as many"
                )
    if len(first) == len(second) == 1:
        planes = zip(itertools.chain(*first[0]), itertools.chain(*second[0]), strict=True)
        return [([one], [other]) for one, other in planes]
    return [
        (
            [shot for rows in first for shot in rows[number]],
            [shot for rows in second for shot in rows[number]],
        )
        for number in range(len(first[0]))
    ]


def _held(rows: Rows) -> str:
    count = sum(map(len, rows))
    return f"{rows[0][0].name} is one of {counted(count, 'image')}"


def _matched_scenes(a: Path, b: Path) -> list[tuple[list[Path], list[Path]]]:
    """The files of each scene: folders of the same name, then files of the same name."""
    both = sorted(_subfolders(a) & _subfolders(b))
    scenes = [(list_images(a / name), list_images(b / name)) for name in both]
    if both and not (_has_images(a) or _has_images(b)):
        return scenes
    return [*scenes, *(([first], [second]) for first, second in matched(a, b))]


def _subfolders(folder: Path) -> set[str]:
    if not folder.is_dir():
        return set()
    return {
        path.name
        for path in folder.iterdir()
        if path.is_dir() and path.name[0] != "." and not is_image_folder(path)
    }


def _has_images(folder: Path) -> bool:
    try:
        return bool(list_images(folder))
    except UserError:
        return False


def matched(folder_a: Path, folder_b: Path) -> list[tuple[Path, Path]]:
    """The files of two folders as pairs of the same name; refuses any that has no partner."""
    a, b = _by_name(folder_a), _by_name(folder_b)
    if folder_a.resolve() == folder_b.resolve():
        raise UserError(f"both folders are {folder_a}; give two, each with its own noisy images")
    alone = [str(a[name]) for name in a if name not in b]
    alone += [str(b[name]) for name in b if name not in a]
    if alone:
        raise UserError(
            f"{counted(len(alone), 'image')} without a partner of that name in the other folder: "
            f"{shortened(alone)}; rename or remove them"
        )
    return [(a[name], b[name]) for name in sorted(a)]


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in list_images(folder):
        other = files.setdefault(path.stem, path)
        if other != path:
            raise UserError(
                f"{other} and {path.name} have the same name but for the ending, so it is not "
                "clear which belongs to a pair; remove one"
            )
    return files


def _refuse_different_sizes(sides: Sequence[tuple[list[Shot], list[Shot]]]) -> None:
    differing = [
        f"{first[0].name} is {size_text(first[0].pixels)} and {shot.name} is "
        f"{size_text(shot.pixels)}"
        for first, second in sides
        for shot in (*first, *second)
        if shot.pixels.shape != first[0].pixels.shape
    ]
    if differing:
        raise UserError(
            f"{counted(len(differing), 'pair')} of different sizes: {shortened(differing)}; "
            "both images of a pair must show the same pixels"
        )


def _refuse_copies(sides: Sequence[tuple[list[Shot], list[Shot]]], a: Path, b: Path) -> None:
    if all(np.array_equal(one[0].pixels, other[0].pixels) for one, other in sides):
        raise UserError(
            f"every image of {a} is the same in {b}, noise and all; a pair needs two shots, each "
            "with its own noise"
        )

"""Pairs out of shots that were taken one after another: films, and bursts of several scenes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noise2noise.data.assembly import Group, assembled
from noise2noise.data.pixels import refuse_small
from noise2noise.data.registration import MOST_SHIFT, shift
from noise2noise.data.scenes import RecordedScenes
from noise2noise.data.shots import Shot, one_kind, read_shots, usual_crop
from noise2noise.data.source import Track, silently
from noise2noise.data.words import counted, size_text
from noise2noise.errors import UserError
from noise2noise.files import ending, is_image_folder, list_images, suffixes

MOST_APART = 4
"""Frames further apart are no pair, however still the picture is."""

_SIDE = 256  # of the square in the middle in which motion is looked for
_CHANGE = 1.05  # frames may differ by so much more than neighbours do, in the mean square
_LOOKED_AT = 24  # pairs of frames, to tell how the picture changes
_TOGETHER = 16  # frames that make a scene, of which one in some is held back


class StackFrames(RecordedScenes):
    """The frames of a film, or the planes of a stack: neighbours are pairs.

    How far apart two frames may be follows from the motion, which is measured from frame to frame
    by correlation (see `registration.shift`): the picture may move by half a pixel between them,
    and frames must not differ by more than 5 % more than neighbours do, in the mean square.

    Arguments:
        path: of a file whose planes follow each other along T, Z or another axis, or of a folder of
            frames in the order of their names. Channels are films of their own.
        crop, track, register, multiple: as `FolderPairs`.

    Raises:
        UserError: it can't be read, it is one image, or no two frames are a pair.
    """

    def __init__(
        self,
        path: str | Path,
        crop: int | None = None,
        track: Track | None = None,
        register: bool = False,
        multiple: int = 1,
    ) -> None:
        path = Path(path)
        films = _films(path, track or silently)
        shots = list(itertools.chain(*films))
        if max(map(len, films)) < 2:
            raise UserError(
                f"{path} holds one image, and neighbouring frames are to be the pairs; name a "
                "stack, or a folder of frames"
            )
        unit = one_kind(shots)
        _refuse_other_sizes(films)
        crop = usual_crop(shots, multiple) if crop is None else crop
        refuse_small([shot.name for shot in shots], [shot.pixels for shot in shots], crop)
        motions = [
            Motion.of([shot.pixels for shot in film])
            for film in (track or silently)(films, "Measuring motion", len(films))
        ]
        groups = [
            group
            for film, motion in zip(films, motions, strict=True)
            for group in _groups(film, motion)
        ]
        scenes, notes = assembled(groups, crop, register, named=False)
        notes.insert(0, _told(motions, register))
        self._path = path
        super().__init__(scenes, crop, notes=notes, unit=unit)

    def describe(self) -> str:
        pairs, _, crops = self._in_words()
        return f"{pairs} of neighbouring frames of {self._path}, {crops}"


class Bursts(RecordedScenes):
    """Folders of shots, one for each scene: every two shots of a scene are a pair.

    Arguments:
        folder: holds a folder for each scene, or the shots of a single one.
        crop, track, register, multiple: as `FolderPairs`.

    Raises:
        UserError: a folder is missing, a file can't be read, a scene has a single shot, sizes
            differ within a scene, or no pair is left.
    """

    def __init__(
        self,
        folder: str | Path,
        crop: int | None = None,
        track: Track | None = None,
        register: bool = False,
        multiple: int = 1,
    ) -> None:
        folder = Path(folder)
        folders = _scene_folders(folder)
        work = (track or silently)(folders, "Reading shots", len(folders))
        scenes_read = [scene for each in work for scene in _burst(each)]
        shots = list(itertools.chain(*scenes_read))
        unit = one_kind(shots)
        _refuse_other_sizes(scenes_read)
        crop = usual_crop(shots, multiple) if crop is None else crop
        refuse_small([shot.name for shot in shots], [shot.pixels for shot in shots], crop)
        groups = [
            Group(scene, list(itertools.combinations(range(len(scene)), 2)))
            for scene in scenes_read
        ]
        watched = (track or silently)(groups, "Comparing shots", len(groups))
        scenes, notes = assembled(watched, crop, register)
        self._folder = folder
        super().__init__(scenes, crop, notes=notes, unit=unit)

    def describe(self) -> str:
        pairs, scenes, crops = self._in_words()
        return f"{pairs} of shots of {scenes} in {self._folder}, {crops}"


@dataclass(frozen=True)
class Motion:
    """How the picture of a film moves.

    Attributes:
        places: where it lies in each frame, (frames, 2), in pixels.
        apart: how many frames two of them may be apart, as far as the picture changes in itself.
    """

    places: np.ndarray
    apart: int

    @classmethod
    def of(cls, frames: Sequence[np.ndarray]) -> Motion:
        """As measured from frame to frame."""
        steps = [shift(a, b, _SIDE) for a, b in itertools.pairwise(frames)]
        places = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0).reshape(-1, 2)])
        nearest, apart = _difference(frames, 1), 1
        while apart < min(MOST_APART, len(frames) - 1):
            if _difference(frames, apart + 1) > _CHANGE * nearest:
                break
            apart += 1
        return cls(places, apart)

    @property
    def step(self) -> float:
        """How far the picture moves from one frame to the next, in pixels, as a rule."""
        steps = np.hypot(*np.diff(self.places, axis=0).T)
        return float(np.median(steps)) if len(steps) else 0.0


def _difference(frames: Sequence[np.ndarray], apart: int) -> float:
    """The mean square of the difference between frames so far apart; some are looked at."""
    count = len(frames) - apart
    if count < 1:
        return 0.0
    starts = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int)).tolist()
    squares = [
        np.var(frames[start][:, ::2, ::2].astype(np.float64) - frames[start + apart][:, ::2, ::2])
        for start in starts
    ]
    return float(np.mean(squares))


def _told(motions: Sequence[Motion], register: bool) -> str:
    """What the motion is, in a sentence."""
    step = float(np.median([motion.step for motion in motions]))
    apart = max(motion.apart for motion in motions)
    steps = np.concatenate([np.abs(np.diff(each.places, axis=0)).max(1) for each in motions])
    still = steps <= MOST_SHIFT + 0.01
    near = f"frames up to {apart} apart" if apart > 1 else "neighbouring frames"
    text = f"the picture moves by {step:.2f} pixels a frame; {near} are pairs"
    if still.all():
        return text
    if register:
        return f"{text}, moved into place by whole pixels"
    return (
        f"{text}, but not across the {counted(int((~still).sum()), 'step')} of {len(steps)} that "
        "are larger than half a pixel; --register moves frames into place"
    )


def _films(path: Path, track: Track) -> list[list[Shot]]:
    if not path.is_dir() or is_image_folder(path):
        return read_shots(path)
    paths = list_images(path)
    rows = [read_shots(each) for each in track(paths, "Reading frames", len(paths))]
    return _joined(rows)


def _groups(film: list[Shot], motion: Motion) -> list[Group]:
    """A film in scenes of some frames; a short rest goes to the one before."""
    count = max(1, len(film) // _TOGETHER)
    groups = []
    for numbers in np.array_split(np.arange(len(film)), count):
        size = len(numbers)
        pairs = [(a, b) for a in range(size) for b in range(a + 1, min(a + motion.apart + 1, size))]
        shots = [film[number] for number in numbers.tolist()]
        if pairs:
            groups.append(Group(shots, pairs, motion.places[numbers]))
    return groups


def _scene_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        list_images(folder)  # says what is wrong
    inner = sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and path.name[0] != "." and not is_image_folder(path)
    )
    known = suffixes()
    with_images = [each for each in inner if any(ending(path) in known for path in each.iterdir())]
    return with_images or [folder]


def _burst(folder: Path) -> list[list[Shot]]:
    scenes = _joined([read_shots(path) for path in list_images(folder)])
    if min(map(len, scenes)) < 2:
        raise UserError(f"{folder} holds a single shot; a scene needs two, each with its own noise")
    return scenes


def _joined(files: list[list[list[Shot]]]) -> list[list[Shot]]:
    """The shots of several files, one after another, channel by channel."""
    for rows in files:
        if len(rows) != len(files[0]):
            raise UserError(
                f"{files[0][0][0].name} is one of {counted(len(files[0]), 'channel')} and "
                f"{rows[0][0].name} one of {len(rows)}; shots of a scene must have as many"
            )
    return [[shot for rows in files for shot in rows[number]] for number in range(len(files[0]))]


def _refuse_other_sizes(scenes: Sequence[Sequence[Shot]]) -> None:
    for scene in scenes:
        for shot in scene:
            if shot.pixels.shape != scene[0].pixels.shape:
                raise UserError(
                    f"{scene[0].name} is {size_text(scene[0].pixels)} and {shot.name} is "
                    f"{size_text(shot.pixels)}; shots of a scene must show the same pixels"
                )

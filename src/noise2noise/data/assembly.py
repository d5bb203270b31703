"""Scenes put together from shots: which of them fit each other, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from noise2noise.data.registration import (
    MOST_SHIFT,
    SAME,
    Exposure,
    common,
    exposure,
    registered,
    shift,
)
from noise2noise.data.scenes import Scene
from noise2noise.data.shots import Shot
from noise2noise.data.words import counted, shortened
from noise2noise.errors import UserError

_NAMED = 5
_MOVED = "all are more than half a pixel apart; --register moves them into place"


@dataclass(frozen=True)
class Group:
    """Shots that should show the same scene.

    Attributes:
        shots: of one shape.
        pairs: which two of them would be pairs.
        places: where the picture lies in each, (shots, 2), in pixels; measured if it isn't known.
    """

    shots: Sequence[Shot]
    pairs: Sequence[tuple[int, int]]
    places: np.ndarray | None = None


@dataclass
class Findings:
    """What was met in shots that are to be pairs, by their names.

    Attributes:
        left_out: shifted, and so without a partner.
        moved: shifted, and moved into place.
        scaled: of another exposure.
        other: that show something else.
    """

    left_out: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    scaled: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """A sentence for each kind of thing that was met."""
        said = [
            (
                self.left_out,
                "shifted by more than half a pixel and left out",
                "; --register moves them into place",
            ),
            (self.moved, "shifted by more than half a pixel and moved into place", ""),
            (self.scaled, "at another exposure than the first of the scene and scaled to it", ""),
            (self.other, "of another scene than the first and left out", ""),
        ]
        return [
            f"{counted(len(names), 'shot')} {_are(names)} {what}: "
            f"{shortened(names, _NAMED)}{advice}"
            for names, what, advice in said
            if names
        ]


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def assembled(
    groups: Iterable[Group], crop: int, register: bool = False, named: bool = True
) -> tuple[list[Scene], list[str]]:
    """The scenes that groups of shots make, and sentences about what was met.

    Shots whose pictures lie more than `MOST_SHIFT` apart are no pair. Those that have no partner
    left are named; with `register` all are cut to what they have in common.

    Arguments:
        groups: the shots.
        crop: no scene is cut smaller than this.
        register: move shots into place.
        named: whether shots that are shifted are to be named, one by one.

    Raises:
        UserError: nothing is left.
    """
    findings = Findings()
    scenes = [scene for group in groups if (scene := _scene(group, crop, register, findings))]
    if not named:
        findings.moved.clear()
        findings.left_out.clear()
    notes = findings.notes()
    if not scenes:
        raise UserError("no pair of shots is left to learn from: " + ("; ".join(notes) or _MOVED))
    return scenes, notes


def _scene(group: Group, crop: int, register: bool, findings: Findings) -> Scene | None:
    shots, pairs = list(group.shots), np.array(group.pairs)
    places = _places(shots) if group.places is None else group.places
    if register and _far(places, pairs).any():
        shots, places = _moved(group, shots, places, crop, findings)
    exposures, strangers = _exposures(group, shots, places, findings)
    good = ~_far(places, pairs) & ~np.isin(pairs, list(strangers)).any(1)
    used = set(pairs[good].reshape(-1).tolist())
    alone = set(pairs.reshape(-1).tolist()) - used - strangers
    if not used:
        alone -= {0}  # of two that don't fit, the other is named
    middle = np.median(places[sorted(used) or [0]], axis=0)
    findings.left_out += [_told(group.shots[each], places[each] - middle) for each in sorted(alone)]
    if not used:
        return None
    unknown = [shot.unknown for shot in shots]
    gaps = [] if all(each is None for each in unknown) else unknown
    return Scene([shot.pixels for shot in shots], pairs[good], exposures, gaps)


def _places(shots: Sequence[Shot]) -> np.ndarray:
    first = shots[0].pixels
    return np.array([np.zeros(2), *(shift(first, shot.pixels) for shot in shots[1:])])


def _far(places: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Which pairs lie too far apart; a hundredth of a pixel is rounding."""
    return abs(places[pairs[:, 0]] - places[pairs[:, 1]]).max(1) > MOST_SHIFT + 0.01


def _moved(
    group: Group, shots: list[Shot], places: np.ndarray, crop: int, findings: Findings
) -> tuple[list[Shot], np.ndarray]:
    """The shots cut to what they have in common, if that is large enough, and what of their
    distance is left."""
    whole = np.rint(places - places[0]).astype(int)
    windows = common(shots[0].pixels.shape, whole)
    cut = [shot.window(*window) for shot, window in zip(shots, windows, strict=True)]
    if min(cut[0].pixels.shape[1:]) < crop:
        return shots, places
    findings.moved += [
        _told(shot, place - places[0])
        for shot, place, by in zip(group.shots, places, whole, strict=True)
        if by.any()
    ]
    return cut, places - whole


def _exposures(
    group: Group, shots: list[Shot], places: np.ndarray, findings: Findings
) -> tuple[list[Exposure], set[int]]:
    """What brings shots to the exposure of the first, none if nothing has to; and which of them
    show something else."""
    found: list[Exposure | None] = [SAME]
    for shot, place in zip(shots[1:], places[1:], strict=True):
        there = np.rint([np.zeros(2), place - places[0]]).astype(int)
        found.append(exposure(*registered((shots[0].pixels, shot.pixels), there)))
    for shot, each in zip(group.shots, found, strict=True):
        if each is None:
            findings.other.append(shot.name)
        elif each is not SAME:
            findings.scaled.append(f"{shot.name} ({1 / each.gain:.2f} times as bright)")
    strangers = {number for number, each in enumerate(found) if each is None}
    exposures = [each or SAME for each in found]
    return exposures if any(each is not SAME for each in exposures) else [], strangers


def _told(shot: Shot, by: np.ndarray) -> str:
    rows, columns = by.tolist()
    return f"{shot.name} ({rows:+.1f} rows, {columns:+.1f} columns)"

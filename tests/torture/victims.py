"""The commands that are knocked: all that write files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from noise2noise.data import load_pair_file
from noise2noise.files import read_image
from tests.torture import pictures
from tests.torture.knock import Finding, done, files


@dataclass(frozen=True)
class Victim:
    """A command that is killed again and again.

    Attributes:
        name: of the command.
        begin: its arguments.
        go_on: those after it was killed.
        result: the folder that it writes, in the folder that it runs in.
        whole: raises where one of these files isn't whole.
        same: what must be the same in the end as in an undisturbed run.
        folder_is_made: whether the command makes the folder.
    """

    name: str
    begin: tuple[str, ...]
    go_on: Callable[[Path], tuple[str, ...]]
    result: str
    whole: Callable[[Path], object]
    same: Callable[[Path], object]
    folder_is_made: bool = True


def victims_of(place: Path, short: bool) -> list[Victim]:
    """The commands that write, working on `photos` in `place`."""
    photos = str(place / "photos")
    noise = ("--corruption", "gaussian:25")
    train = (
        "train",
        "--out",
        "run",
        "--photos",
        photos,
        *noise,
        "--crop",
        "16",
        "--size",
        "width=4",
    )
    train += ("--epochs", "4" if short else "12", "--batch-size", "1")
    pairs = ("make-pairs", photos, *noise)
    victims = [
        Victim(
            "train",
            train,
            lambda run: (
                ("train", "--out", "run", "--resume")
                if (run / "last.safetensors").exists()
                else (*train, "--overwrite")
            ),
            "run",
            load_file,
            lambda run: {name: _numbers(run / f"{name}.safetensors") for name in ("last", "best")},
        ),
        Victim(
            "denoise",
            ("denoise", photos, "--output", "clean", "--model", "fast"),
            lambda clean: ("denoise", photos, "--output", "clean", "--model", "fast"),
            "clean",
            read_image,
            _pixels,
        ),
        Victim(
            "make-pairs",
            (*pairs, "--out", "pairs"),
            lambda folder: (*pairs, "--out", "pairs", "--overwrite"),
            "pairs",
            read_image,
            files,
        ),
        Victim(
            "make-pairs .pkl",
            (*pairs, "--out", "pairs/a.pkl", "--count", "400", "--size", "24"),
            lambda folder: (
                *(*pairs, "--out", "pairs/a.pkl", "--count", "400", "--size", "24"),
                "--overwrite",
            ),
            "pairs",
            load_pair_file,
            lambda folder: [side.tolist() for side in load_pair_file(folder / "a.pkl")],
            folder_is_made=False,
        ),
        Victim(
            "export",
            ("export", "fast", "-o", "model/fast.pth"),
            lambda folder: ("export", "fast", "-o", "model/fast.pth", "--overwrite"),
            "model",
            lambda path: path.stat().st_size > 0,
            lambda folder: sorted(files(folder)),
            folder_is_made=False,
        ),
    ]
    return victims if short else [*victims, _reproduction(place)]


def _reproduction(place: Path) -> Victim:
    pictures.write(place / "large", 3, 200)
    make = ("make-pairs", str(place / "large"), "--corruption", "subpixel:6", "--count", "20")
    done(place, *make, "--clean", "--out", "val.pkl")
    command = ("reproduce", "zhao", "--quick", "--photos", str(place / "large"))
    command += ("--val", str(place / "val.pkl"))
    return Victim(
        "reproduce",
        command,
        lambda folder: command,
        "reproduction-quick",
        lambda path: load_file(path) if path.suffix == ".safetensors" else load_pair_file(path),
        lambda folder: {
            path.relative_to(folder).as_posix(): _numbers(path)
            for path in sorted(folder.rglob("best.safetensors"))
        },
    )


def room(place: Path, name: str, victim: Victim) -> Path:
    """A folder to run the command in, with that of its result where it doesn't make it."""
    folder = place / f"{victim.name.replace(' ', '')}-{name}"
    (folder if victim.folder_is_made else folder / victim.result).mkdir(parents=True)
    return folder


def look(victim: Victim, result: Path) -> None:
    """All that doesn't call itself half written is whole."""
    for path in result.rglob("*"):
        if path.is_file() and path.suffix in (".safetensors", ".png", ".tif", ".pkl", ".pth"):
            if path.name.startswith("."):
                continue
            try:
                if path.suffix != ".png" or victim.name == "denoise":
                    victim.whole(path)
            except Exception as error:
                raise Finding(f"{victim.name} left {path.name} half written: {error}") from error


def _numbers(path: Path) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in load_file(path).items()}


def _pixels(folder: Path) -> dict[str, bytes]:
    return {path.name: read_image(path).pixels.tobytes() for path in sorted(folder.glob("*.png"))}

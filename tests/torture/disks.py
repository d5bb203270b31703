"""Disks that are full, that may not be written to, and that fail in the middle of a file.

The last one is a limit on the size of files: beyond it every write fails, whoever asks for it, in
Python or in a library. The others are small file systems in memory, for which one must be root.
"""

from __future__ import annotations

import contextlib
import functools
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.torture import pictures
from tests.torture.knock import Command, check, done, hidden, start
from tests.torture.victims import Victim, look, room, victims_of


def knock(place: Path, seed: int, short: bool, size: float) -> Iterator[str]:
    pictures.write(place / "photos", 4, 48)
    for victim in victims_of(place, short=True):
        rng = random.Random(f"{seed} {victim.name}")
        yield _fails_in_the_middle(victim, place, rng, 1 if short else max(round(20 * size), 1))
        with contextlib.ExitStack() as mounts:
            try:
                small = mounts.enter_context(_mounted(place / "small", "size=48k"))
                closed = mounts.enter_context(_mounted(place / "closed", "size=8m,ro"))
            except PermissionError:
                yield f"{victim.name}: no file systems can be made here; not tried on a full disk"
                continue
            yield f"{victim.name}: a full disk: {_refused(victim, small)}"
            yield f"{victim.name}: a closed disk: {_refused(victim, closed)}"


def _fails_in_the_middle(victim: Victim, place: Path, rng: random.Random, rounds: int) -> str:
    calm = room(place, "calm", victim)
    done(calm, *victim.begin)
    largest = max(path.stat().st_size for path in calm.rglob("*") if path.is_file())
    refused = 0
    for number in range(rounds):
        folder = room(place, f"failing{number}", victim)
        most = rng.randrange(200, largest + 1000)
        limits = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (most, most))
        refused += _ended_well(start(folder, *victim.begin, limits=limits), victim)
    return f"{victim.name}: a disk that fails in the middle: {refused} of {rounds} refused"


def _refused(victim: Victim, folder: Path) -> str:
    with contextlib.suppress(OSError):
        if not victim.folder_is_made:
            (folder / victim.result).mkdir(parents=True)
    command = start(folder, *victim.begin)
    return "refused" if _ended_well(command, victim) else "there was room enough"


def _ended_well(command: Command, victim: Victim) -> bool:
    """Whether it was refused, in sentences, and nothing half-written is there."""
    status, said = command.wait(), command.said()
    check(status in (0, 2), f"{victim.name} ended with {status}: {said}")
    check("Traceback" not in said, f"{victim.name} prints a traceback: {said}")
    check("error: " in said or status == 0, f"{victim.name} doesn't say what is wrong: {said}")
    result = command.folder / victim.result
    if result.exists():
        look(victim, result)
        check(hidden(result) == [], f"{victim.name} left {hidden(result)} behind")
    return status == 2


@contextlib.contextmanager
def _mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError(folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)

"""SIGKILL and SIGTERM at random moments: what is there is whole, and the same command goes on."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.torture import pictures
from tests.torture.knock import Command, check, done, hidden, start
from tests.torture.victims import Victim, look, room, victims_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM)


def knock(place: Path, seed: int, short: bool, size: float) -> Iterator[str]:
    pictures.write(place / "photos", 4, 48)
    rounds = 1 if short else max(round(8 * size), 1)
    for victim in victims_of(place, short):
        yield _killed(victim, place, random.Random(f"{seed} {victim.name}"), rounds)


def _killed(victim: Victim, place: Path, rng: random.Random, rounds: int) -> str:
    calm = room(place, "calm", victim)
    started = time.monotonic()
    done(calm, *victim.begin)
    seconds, expected = time.monotonic() - started, victim.same(calm / victim.result)
    kills = resumed = 0
    for number in range(rounds):
        folder = room(place, f"killed{number}", victim)
        arguments = victim.begin
        # So many kills at most: each run goes on for longer, until one comes to its end.
        for strike in range(1, 6):
            command = start(folder, *arguments)
            time.sleep(rng.uniform(0, seconds * strike / 3))
            status = _end(command, rng.choice(SIGNALS))
            if status == 0:
                break
            kills += 1
            look(victim, folder / victim.result)
            arguments = victim.go_on(folder / victim.result)
            resumed += 1
        else:
            done(folder, *arguments)
        _compare(victim, folder, expected)
        shutil.rmtree(folder)
    return f"{victim.name}: {kills} kills in {rounds} runs, {resumed} went on, all ended alike"


def _end(command: Command, number: signal.Signals) -> int:
    """The status of a command that gets a signal, or has ended before."""
    with contextlib.suppress(ProcessLookupError):
        command.send(number)
    status = command.wait()
    said = command.said()
    # 130: a run that saved first; 143: stopped in good order.
    right = (0, -number) if number == signal.SIGKILL else (0, 130, 143, -number)
    check(status in right, f"after {number.name} status {status}: {said}")
    check("Traceback" not in said, f"{number.name} prints a traceback: {said}")
    return status


def _compare(victim: Victim, folder: Path, expected: object) -> None:
    result = folder / victim.result
    check(victim.same(result) == expected, f"{victim.name}: another result than undisturbed")
    check(hidden(result) == [], f"{victim.name} left {hidden(result)} behind")

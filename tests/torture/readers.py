"""Every reader, fed with damaged files: `make fuzz` for a longer while."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.torture.knock import check

ROOT = Path(__file__).resolve().parents[2]


def knock(place: Path, seed: int, short: bool, size: float) -> Iterator[str]:
    long = ["--cases", "5"] if short else ["--seconds", f"{600 * size:.0f}"]
    result = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seed", str(seed), *long],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    check(result.returncode == 0, result.stdout + result.stderr)
    yield from result.stdout.splitlines()[1:]

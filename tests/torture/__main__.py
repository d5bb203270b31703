"""Hard knocks: `make torture`, or one of them again with `make torture KNOCK=kills SEED=1`.

Each knock prints what it did, in figures, and ends with status 1 at the first thing that isn't as
it should be. The long form takes less than an hour on two cores, the short one (`--short`, with
every run of the tests) less than a minute.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: processes are forked from this one

from tests.torture import disks, kernels, kills, memory, readers, sharing
from tests.torture.knock import Finding, Knock

KNOCKS: dict[str, Knock] = {
    "kills": kills.knock,
    "disks": disks.knock,
    "sharing": sharing.knock,
    "memory": memory.knock,
    "readers": readers.knock,
    "kernels": kernels.knock,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few seconds of each")
    parser.add_argument("--knock", choices=KNOCKS, help="this one only")
    parser.add_argument("--seed", type=int, help="a fresh one by default")
    parser.add_argument("--size", type=float, default=1, help="so many times as much of each")
    asked = parser.parse_args()
    seed = secrets.randbelow(2**32) if asked.seed is None else asked.seed
    print(f"seed {seed}: the same again with SEED={seed}", flush=True)
    found = 0
    for name in [asked.knock] if asked.knock else KNOCKS:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"torture-{name}-") as place:
            try:
                for line in KNOCKS[name](Path(place), seed, asked.short, asked.size):
                    print(f"{name}: {line}", flush=True)
            except Finding as finding:
                found += 1
                print(f"{name}: FOUND {finding}\nagain: make torture KNOCK={name} SEED={seed}")
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Feeds damaged files to every reader: `make fuzz SECONDS=60 SEED=1`, or one case again with
`make fuzz SEED=1 READER=tiff CASE=17`.

A reader may take the file, or refuse it with a UserError. Anything else is a finding: another
error, a text that is no single line, more time than `PATIENCE`, more memory than `MEMORY` beyond
what the package takes, or the end of the process. Each case follows from seed, reader and number
alone, and the file of a finding is kept.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
import resource
import secrets
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from noise2noise.errors import UserError
from tests.fuzz.readers import READERS

PATIENCE = 10
"""Seconds that a reader has for one small file."""

MEMORY = 2**30
"""Bytes that a reader has, beyond what the process holds before."""

KEPT = Path("build/fuzz")
"""Where the files of findings are kept."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all readers together")
    parser.add_argument("--cases", type=int, help="so many of each reader, in place of a time")
    parser.add_argument("--seed", type=int, help="a fresh one by default")
    parser.add_argument("--reader", choices=READERS, help="this one only")
    parser.add_argument("--case", type=int, help="this one only")
    asked = parser.parse_args()
    if asked.seed is None:
        asked.seed = secrets.randbelow(2**32)
    print(f"seed {asked.seed}: the same again with SEED={asked.seed}", flush=True)
    names = list(READERS) if asked.reader is None else [asked.reader]
    asked.seconds /= len(names)
    return max([_in_a_process(name, asked) for name in names])


def _in_a_process(name: str, asked: argparse.Namespace) -> int:
    # A fork: what is imported is imported once, and limits and crashes are the child's.
    child = multiprocessing.get_context("fork").Process(target=try_reader, args=(name, asked))
    child.start()
    child.join()
    if (child.exitcode or 0) < 0:
        print(f"{name}: the process ended by signal {-(child.exitcode or 0)} at {_current(name)}")
    return int(child.exitcode != 0)


def _current(name: str) -> Path:
    return KEPT / f"{name}{READERS[name].suffix}"


def try_reader(name: str, asked: argparse.Namespace) -> None:
    """Cases of one reader in this process, which ends with status 1 at the first finding."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    reader = READERS[name]
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        samples, read = reader.samples(folder), reader.prepare(folder)
        for sample in samples:  # before the limits: what is loaded on first use isn't the file's
            _read(read, sample, folder / f"whole{reader.suffix}")
        _limit_memory()
        signal.signal(signal.SIGALRM, _too_long)
        tried = refused = 0
        for case in _cases(asked):
            data = reader.damage(samples, random.Random(f"{asked.seed} {name} {case}"))
            _current(name).write_bytes(data)
            outcome = _outcome(read, data, folder / f"damaged{reader.suffix}")
            if outcome not in ("read", "refused"):
                kept = _current(name).rename(KEPT / f"{name}-{asked.seed}-{case}{reader.suffix}")
                print(f"{name}: case {case}, kept as {kept}\n{outcome}")
                print(f"again: make fuzz SEED={asked.seed} READER={name} CASE={case}", flush=True)
                sys.exit(1)
            tried, refused = tried + 1, refused + (outcome == "refused")
        _current(name).unlink(missing_ok=True)
    print(f"{name}: {tried} files, {refused} refused, the others read", flush=True)


def _cases(asked: argparse.Namespace) -> Iterable[int]:
    if asked.case is not None:
        return [asked.case]
    if asked.cases is not None:
        return range(asked.cases)
    ends = time.monotonic() + asked.seconds
    return itertools.takewhile(lambda case: time.monotonic() < ends, itertools.count())


def _outcome(read: Callable[[Path], object], data: bytes, path: Path) -> str:
    """ "read", "refused", or what is wrong."""
    signal.alarm(PATIENCE)
    try:
        _read(read, data, path)
    except UserError as error:
        return _hungry(error) or _not_a_sentence(str(error)) or "refused"
    except BaseException:
        return traceback.format_exc(limit=-5)
    finally:
        signal.alarm(0)
    return "read"


def _read(read: Callable[[Path], object], data: bytes, path: Path) -> None:
    path.write_bytes(data)
    read(path)


def _hungry(error: BaseException) -> str:
    """What it was refused for, where that is memory: a small file must not ask for so much."""
    reason = error.__cause__
    while reason is not None:
        if isinstance(reason, MemoryError) or "allocate memory" in str(reason):
            return "".join(traceback.format_exception(reason, limit=-5))
        reason = reason.__cause__
    return ""


def _not_a_sentence(text: str) -> str:
    if "\n" in text or len(text) > 1500 or not text.isprintable():
        return f"the refusal is no sentence: {text!r:.3000}"
    return ""


def _limit_memory() -> None:
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux: time is bounded only
        return
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmSize:"))
    most = int(line.split()[1]) * 1024 + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


class _TooLong(BaseException):  # readers catch every Exception
    pass


def _too_long(signum: int, frame: object) -> None:
    raise _TooLong(f"the reader took more than {PATIENCE} s")


if __name__ == "__main__":
    sys.exit(main())

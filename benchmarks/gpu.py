"""What a GPU does with the networks of `noise2noise benchmark speed`, beside PyTorch, in minutes.

    python -m benchmarks.gpu speed --out gpu.json
    python -m benchmarks.gpu train recipes/photo.toml --photos photos/ --out runs/gpu

The first runs the tests that need a GPU, and then times training steps and inference passes of each
network: ours, captured where that can be, and PyTorch's, as it comes, with channels-last memory,
and compiled by torch.compile with max-autotune. Losses are read after each step, as training reads
them. What was measured is written at once, so that the command, given again, goes on with what is
missing: compiling takes longer than all the rest. The second trains a recipe; see
`benchmarks.gpu_training`. Nothing is downloaded. `--toy` does a little of everything on the CPU,
with the kernels in Triton's interpreter: it shows that the commands work, and no speed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib
import importlib.metadata
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from chainrule import backend, use_backend
from chainrule.serialization import replacing
from noise2noise.benchmark import steps
from noise2noise.benchmark.speed import Case, multiply_adds
from noise2noise.benchmark.steps import OURS, RECIPES, TASKS
from noise2noise.benchmark.twins import VARIANTS
from noise2noise.device import in_words, resolved
from noise2noise.errors import UserError

TYPES = {"tf32": torch.float32, "bfloat16": torch.bfloat16}
"""What is multiplied: float32 through TF32, where the card has it, and bfloat16."""

CONTENDERS = (OURS, *VARIANTS)
TESTS = ("tests/chainrule/triton_cases.py", "tests/noise2noise/test_gpu.py")
_ROUNDS, _SECONDS = 5, 0.1  # of a measurement
_SIDE = 8192  # of the matrices whose product tells the card's peak
_LEFT = 15  # seconds before the end in which no compilation is begun


class Scale(NamedTuple):
    """How much is done.

    Attributes:
        networks: by name.
        batch: None for the larger one that `benchmark speed` has.
        types: keys of `TYPES`.
        contenders: of `CONTENDERS`.
        side: of the matrices.
        tests: what pytest is given.
        warm: steps before the first measurement, after the first of all.
        rounds, repeats: measurements of each, and steps in one; None for as many as it takes.
    """

    networks: tuple[str, ...] = tuple(RECIPES)
    batch: int | None = None
    types: tuple[str, ...] = tuple(TYPES)
    contenders: tuple[str, ...] = CONTENDERS
    side: int = _SIDE
    tests: tuple[str, ...] = TESTS
    warm: int = 4
    rounds: int = _ROUNDS
    repeats: int | None = None


TOY = Scale(
    networks=("coldenhoff",),
    batch=1,
    types=("tf32",),
    contenders=(OURS, "eager"),
    side=64,
    tests=(f"{TESTS[0]}::test_zero_and_accumulate",),
    warm=0,
    rounds=1,
    repeats=1,
)


class Clock:
    """The time that is left of some minutes."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds."""
        return max(self._end - time.monotonic(), 0.0)


def speed(scale: Scale, device: torch.device, out: Path, clock: Clock) -> dict[str, Any]:
    """Measure, print and write to `out` what isn't there yet, until the time is over."""
    result = _begun(out, device)
    if not result.get("tests", "").startswith("passed"):
        result["tests"] = _tests(scale.tests, device, clock)
    print(f"tests: {result['tests']}", flush=True)
    for name in scale.types:
        peak = _product_speed(scale.side, TYPES[name], device)
        result["peak"][name] = max(peak, result["peak"].get(name, 0))
        print(f"peak, products of {scale.side} x {scale.side}, {name}: {peak / 1e12:.4g} TFLOP/s")
    cases = [
        (name, Case(network, task, scale.batch or RECIPES[network].batches[-1]))
        for name in scale.types
        for network in scale.networks
        for task in TASKS
    ]
    # Compiling is for the end: all else is known then.
    for quick in (True, False):
        for name, case in cases:
            for contender in scale.contenders:
                if (contender != "compile") == quick and (quick or clock.left > _LEFT):
                    _measured(result, name, case, contender, scale, device, clock)
                    _write(out, result)
    print(table(result))
    return result


def _begun(out: Path, device: torch.device) -> dict[str, Any]:
    """What an earlier call found on the same machine, or nothing yet."""
    machine = {
        "card": in_words(device),
        "backend": backend(device=device),
        "PyTorch": torch.__version__,
        "Triton": _version("triton"),
    }
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(out.read_text())
        if known["machine"] == machine:
            return known
    return {"machine": machine, "date": str(datetime.date.today()), "peak": {}, "rows": {}}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _write(out: Path, result: dict[str, Any]) -> None:
    with replacing(out, overwrite=True) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")


def _tests(paths: tuple[str, ...], device: torch.device, clock: Clock) -> str:
    """What pytest says of them in the end."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "default",
        "-p",
        "no:cacheprovider",
        *paths,
    ]
    if device.type == "cuda" and importlib.util.find_spec("xdist"):
        command += ["-n", str(min(os.cpu_count() or 1, 16))]  # compiling kernels takes most of it
    limit = max(clock.left / 3, 1)
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return f"not finished within {limit:.0f} s"
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    if done.returncode == 0:
        return f"passed: {lines[-1]}"
    print(done.stdout[-6000:])
    return f"FAILED: {lines[-1]}"


def _product_speed(side: int, dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of a product of two square matrices, the best of some."""
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / min(_seconds(lambda: a.mm(b), device, 1) for _ in range(10))


def _measured(
    result: dict[str, Any],
    type_name: str,
    case: Case,
    contender: str,
    scale: Scale,
    device: torch.device,
    clock: Clock,
) -> None:
    """One contender in one case goes into the result's rows."""
    key = " ".join(map(str, (*case, type_name)))
    row = result["rows"].setdefault(key, {"microseconds": {}, "bytes": {}, "failures": {}})
    if contender in row["microseconds"] or contender in row["failures"]:
        return
    base = _reserved(device)
    try:
        with warnings.catch_warnings(), _alarm(clock.left):
            warnings.simplefilter("ignore")  # torch.compile's, of itself
            step = steps.step_of(contender, *case, device, TYPES[type_name])
            run = functools.partial(_read, step) if case.task == "training" else step
            first = run()
            for _ in range(scale.warm):
                run()
            seconds = [_seconds(run, device, scale.repeats) for _ in range(scale.rounds)]
    except TimeoutError:
        print(f"{key}, {contender}: no time left")
        return
    except Exception as error:  # what one contender can't do, others may
        row["failures"][contender] = f"{type(error).__name__}: {error}"[:500]
        print(f"{key}, {contender}: {row['failures'][contender]}", flush=True)
        return
    row["microseconds"][contender] = 1e6 * statistics.median(seconds)
    most = _reserved(device, most=True)
    row["bytes"][contender] = None if most is None or base is None else most - base
    row["multiply_adds"] = multiply_adds(case)
    if isinstance(first, float):
        row.setdefault("losses", {})[contender] = first
    print(f"{key}, {contender}: {row['microseconds'][contender]:.1f} us", flush=True)


def _read(step: Callable[[], Any]) -> float:
    """A step and its loss, for which the host waits."""
    return float(step())


def _seconds(step: Callable[[], object], device: torch.device, repeats: int | None) -> float:
    """That one step takes, the device's work included; enough of them to be measured."""
    if repeats is None:
        once = _seconds(step, device, 1)
        repeats = max(1, min(int(_SECONDS / once), 1000))
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    _wait(device)
    return (time.perf_counter() - started) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reserved(device: torch.device, most: bool = False) -> int | None:
    """Bytes of the card that PyTorch has taken, or the most that it had since it was asked."""
    if device.type != "cuda":
        return None
    if most:
        return torch.cuda.max_memory_reserved(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_reserved(device)


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """TimeoutError after so many seconds."""

    def ring(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    heads = ["network", "task", "batch", "type", *CONTENDERS, "ratio", "peak", "MiB", "torch's MiB"]
    lines = [
        ", ".join(f"{name} {text}" for name, text in result["machine"].items()),
        f"\nMicroseconds; {result['date']}; tests {result['tests']}\n",
        " | ".join(heads),
        " | ".join("---" for _ in heads),
    ]
    for key, row in result["rows"].items():
        times, taken = row["microseconds"], row["bytes"]
        rivals = [name for name in VARIANTS if name in times]
        best = min(rivals, key=times.__getitem__, default=None)
        ratio = f"{times[OURS] / times[best]:.2f}" if best and OURS in times else "-"
        cells = [f"{times[name]:.1f}" if name in times else "-" for name in CONTENDERS]
        rate = 2e6 * row["multiply_adds"] / times[OURS] if OURS in times else 0
        share = f"{rate / result['peak'][key.split()[-1]]:.0%}" if rate else "-"
        memory = [
            "-" if taken.get(name) is None else f"{taken[name] / 2**20:.0f}"
            for name in (OURS, best or "")
        ]
        lines.append(" | ".join([*key.split(), *cells, ratio, share, *memory]))
    lines += [
        f"\n{key}: ours begins with a loss of {losses[OURS]:.6g}, and PyTorch's with "
        f"{losses['eager']:.6g}"
        for key, row in result["rows"].items()
        if {OURS, "eager"} <= {*(losses := row.get("losses", {}))}
        and abs(losses[OURS] / losses["eager"] - 1) > _AGREE[key.split()[-1]]
    ]
    return "\n".join(lines)


_AGREE = {"tf32": 2e-3, "bfloat16": 2e-2}  # by how much losses of the same weights may differ


@contextlib.contextmanager
def computing(toy: bool, name: str) -> Iterator[torch.device]:
    """What computes: the device, or for a toy the CPU by Triton's interpreter."""
    if not toy:
        try:
            yield resolved(name)
        except UserError as error:
            sys.exit(f"error: {error}; --toy shows without one that this works")
        return
    with use_backend(importlib.import_module("chainrule.backends.triton")):
        yield resolved("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("speed", "train"):
        command = commands.add_parser(name)
        command.add_argument("--toy", action="store_true", help="a little, on the CPU")
        command.add_argument("--device", default="cuda")
        command.add_argument("--minutes", type=float, default=8)
    commands.choices["speed"].add_argument("--out", type=Path, default=Path("gpu.json"))
    training = commands.choices["train"]
    training.add_argument("recipe", type=Path, help="such as recipes/photo.toml")
    training.add_argument("--photos", type=Path, required=True, help="a folder of photographs")
    training.add_argument("--out", type=Path, default=Path("runs/gpu"), help="the run's folder")
    training.add_argument("--batch-size", type=int, help="in place of the recipe's")
    asked = parser.parse_args()
    if asked.toy:
        os.environ["TRITON_INTERPRET"] = "1"  # Triton asks once, when it is imported
        for name in TOY.networks:
            RECIPES[name] = RECIPES[name]._replace(side=4, sizes={"width": 2, "depth": 1})
    clock = Clock(asked.minutes)
    torch.set_float32_matmul_precision("high")
    with computing(asked.toy, asked.device) as device:
        if asked.command == "train":
            from benchmarks.gpu_training import train  # the other needs nothing of it

            train(asked, device, clock)
            return
        result = speed(TOY if asked.toy else Scale(), device, asked.out, clock)
    if not result["tests"].startswith("passed"):
        sys.exit(1)


if __name__ == "__main__":
    main()

"""What several processes gain: `python -m benchmarks.scale training`, or `denoising`, or `killed`.

- `training`: steps of photo's recipe in two processes of one thread each, beside one process of two
  threads and one of one, in turns; how much of the exchange of gradients is hidden behind the
  backward pass, by a trace; its bytes; and, by a model fitted to that, what more processes would
  do. What a process computes is told by the time of its threads on a core, which other work on the
  machine doesn't lengthen, and the ratio by the clock too.
- `denoising`: an OME-Zarr through one worker and two, and the same of more.
- `killed`: a large OME-Zarr through two workers within a memory, killed twice on the way, beside a
  run that nobody disturbs. Exits with status 1 unless both are the same, within the memory.

Ratios of turns taken in one run; the machine may have other work meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BATCH, CROP = 16, 64  # of recipes/photo.toml
COUNTS = (1, 2, 4, 8, 16, 32, 64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    asked = _parser().parse_args(arguments)
    if asked.what == "training":
        return training(asked.rounds, asked.steps, asked.trace)
    from benchmarks import scale_zarr  # only this needs zarr and dask

    if asked.what == "denoising":
        return scale_zarr.denoising(asked.folder, asked.size or "64MB", asked.model)
    return scale_zarr.killed(asked.folder, asked.size or "400MB", asked.memory, asked.model)


# -- training --------------------------------------------------------------------------------------


def training(rounds: int, steps: int, trace: str | None) -> int:
    """Take turns, print what they took, and what that says of more processes."""
    with ExitStack() as stack:
        alone = {threads: [stack.enter_context(_child(0, 1, threads, None))] for threads in (1, 2)}
        port = _free_port()
        pair = [stack.enter_context(_child(rank, 2, 1, port)) for rank in range(2)]
        turns = {"1 x 1": alone[1], "1 x 2": alone[2], "2 x 1": pair}
        taken: dict[str, list[float]] = {name: [] for name in turns}
        busy: dict[str, list[float]] = {name: [] for name in turns}
        for children in turns.values():
            _ask(children, f"steps {steps}")  # to warm up
        for _ in range(rounds):
            for name, children in turns.items():
                told = _ask(children, f"steps {steps}")
                taken[name].append(max(clock for clock, _ in told) / steps)
                busy[name].append(max(core for _, core in told) / steps)
        shown = _ask(pair, f"trace {trace or ''}")[0]
        sums = _ask(pair, "sums 30")[0]
    core = {name: statistics.median(values) for name, values in busy.items()}
    ratios = [one / two for one, two in zip(taken["1 x 2"], taken["2 x 1"], strict=True)]
    print(f"{'processes x threads':<22}{'ms a step':>12}{'ms on a core':>14}")
    for name, value in core.items():
        clock = statistics.median(taken[name])
        print(f"{name:<22}{1000 * clock:>12.1f}{1000 * value:>14.1f}")
    print(
        f"two processes of one thread beside one of two threads: {statistics.median(ratios):.2f} "
        f"times the steps a second ({min(ratios):.2f} to {max(ratios):.2f} in {rounds} turns)"
    )
    print(
        f"gradients: {shown['bytes'] / 1e6:.1f} MB a step in {shown['buckets']} messages; "
        f"{100 * shown['hidden']:.0f} % of the time that they travel lies within the backward pass"
    )
    print(
        "the same by time on cores: "
        f"{core['1 x 2'] / 2 / core['2 x 1']:.2f} beside two threads, "
        f"{core['1 x 1'] / 2 / core['2 x 1']:.2f} beside half the work of one"
    )
    model = TrainingCost.fitted(core["1 x 1"], core["2 x 1"], sums, shown)
    print(
        f"fitted: {1000 * model.compute:.1f} ms to compute, {1000 * model.rest:.1f} ms besides, "
        f"{model.bandwidth / 1e9:.2f} GB/s and {1e6 * model.latency:.0f} us a message between two"
    )
    _print_training(model)
    return 0


@dataclass(frozen=True)
class TrainingCost:
    """What a step takes: t(N) = rest + compute / N + max(0, exchange(N) - 0.6 compute / N).

    exchange(N) = messages * latency * (N - 1) + 2 (N - 1) / N * bytes / bandwidth, as all-reduce
    around a ring has it. Six tenths of the passes, forth and back, lie in the backward one, after
    the first gradient is there.

    Attributes:
        compute: seconds of a batch's passes in one process of one thread.
        rest: seconds of what each process does anyway, the optimizer's step among it.
        bytes, messages: of the gradients, a step.
        bandwidth, latency: bytes a second, and seconds a message, between two processes.
    """

    compute: float
    rest: float
    bytes: float
    messages: int
    bandwidth: float
    latency: float

    @classmethod
    def fitted(
        cls, one: float, two: float, sums: dict[str, float], shown: dict[str, Any]
    ) -> TrainingCost:
        """By the time on a core of a step of one process, and of one of two; by sums of one number
        and of as many as a message has; and by a trace.

        The two times are rest + compute and rest + compute / 2: who waits for others isn't on a
        core.
        """
        per_byte = (sums["bucket"] - sums["number"]) / (shown["bytes"] / shown["buckets"])
        compute = min(2 * (one - two), one)
        return cls(
            compute,
            one - compute,
            shown["bytes"],
            shown["buckets"],
            1 / max(per_byte, 1e-12),
            sums["number"],
        )

    def seconds(self, count: int, crops: float = 1.0, link: float | None = None) -> float:
        """Of a step of so many processes.

        Arguments:
            count: processes.
            crops: how many batches all of them do together in a step.
            link: bytes a second between them, if not as here.
        """
        own = crops * self.compute / count
        exchange = (count - 1) * self.messages * self.latency
        exchange += 2 * (count - 1) / count * self.bytes / (link or self.bandwidth)
        room = _BACKWARD * own
        return self.rest + own + max(0.0, exchange - room)


_BACKWARD = 0.6  # of a pass forth and back, the time in which gradients may travel


def _print_training(model: TrainingCost) -> None:
    links = {"as here": None, "10 Gbit/s": 1.25e9, "1 Gbit/s": 0.125e9}
    for title, grows in (("the same batch", False), ("a batch for each process", True)):
        print(f"projected, {title}: batches a second beside one process")
        print(f"{'processes':>10}" + "".join(f"{name:>12}" for name in links))
        for count in COUNTS:
            if not grows and count > BATCH:
                continue
            crops = count if grows else 1
            gains = [
                crops * model.seconds(1) / model.seconds(count, crops, link)
                for link in links.values()
            ]
            print(f"{count:>10}" + "".join(f"{gain:>12.1f}" for gain in gains))
        for name, link in links.items():
            last = last_that_pays(
                (count, (count if grows else 1) / model.seconds(count, count if grows else 1, link))
                for count in COUNTS
                if grows or count <= BATCH
            )
            print(f"pays up to {last} processes, {name}")


def last_that_pays(rates: Iterable[tuple[int, float]]) -> int:
    """The largest count that does at least half of what so many of one would do."""
    (first, one), *others = rates
    good = [count for count, rate in others if rate >= 0.5 * count / first * one]
    return max(good, default=first)


@contextmanager
def _child(
    rank: int, world: int, threads: int, port: int | None
) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    environment |= {"RANK": str(rank), "WORLD_SIZE": str(world)}
    if port is not None:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.scale", "child"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _ask(children: list[subprocess.Popen[str]], line: str) -> list[Any]:
    for child in children:
        assert child.stdin is not None
        child.stdin.write(line + "\n")
        child.stdin.flush()
    answers = []
    for child in children:
        assert child.stdout is not None
        answers.append(json.loads(child.stdout.readline()))
    return answers


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def _serve() -> None:
    """A process of `training`: does what each line asks for, and answers."""
    import torch

    from chainrule import MSE, Adam, distributed, fuse
    from noise2noise import networks
    from noise2noise.fit import Steps
    from noise2noise.fit.team import Team

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if distributed.launched():
        distributed.join()
    with networks.seeded(0):
        model = fuse(networks.build("guided"))
    team = Team(model)
    taken = Steps(model, MSE(), Adam(team.stepped, 1e-6), clip_norm=0.5)
    crops = BATCH // distributed.processes()
    x, y = torch.rand(crops, 6, CROP, CROP), torch.rand(crops, 3, CROP, CROP)

    def steps(count: int) -> None:
        for _ in range(count):
            team.step(taken, x, y, BATCH)

    for line in sys.stdin:
        what, _, given = line.strip().partition(" ")
        distributed.sums(0)  # all begin together
        began, busy = time.perf_counter(), time.process_time()
        if what == "steps":
            steps(int(given))
            answer: Any = (time.perf_counter() - began, time.process_time() - busy)
        elif what == "trace":
            answer = _traced(lambda: steps(3), team, given)
        else:
            answer = _exchanged(int(given), team)
        print(json.dumps(answer), flush=True)


def _traced(do: Any, team: Any, file: str) -> dict[str, Any]:
    """Where gradients travel in a trace: how much of that time lies within computing."""
    from torch.profiler import ProfilerActivity, profile

    sums = team._sums
    before = sums.bytes_sent
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        do()
    if file and int(os.environ["RANK"]) == 0:
        trace.export_chrome_trace(file)
    events = [(e.name, e.time_range.start, e.time_range.end) for e in trace.events() or []]
    travels = _joined((a, b) for name, a, b in events if name == "gloo:all_reduce")
    computes = _joined((a, b) for name, a, b in events if name.startswith("chainrule::"))
    # The last sum of a step is of its loss, which nothing can hide; it is part of the time.
    within = sum(max(0, min(b, d) - max(a, c)) for a, b in travels for c, d in computes)
    total = sum(b - a for a, b in travels)
    return {
        "hidden": within / total if total else 1.0,
        "bytes": (sums.bytes_sent - before) / 3,
        "buckets": len(sums._buckets),
    }


def _joined(ranges: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Ranges that overlap as one."""
    joined: list[tuple[float, float]] = []
    for start, stop in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined


def _exchanged(rounds: int, team: Any) -> dict[str, float]:
    """Seconds of a sum of one number, and of one as large as a usual message."""
    import torch
    import torch.distributed as dist

    buckets = team._sums._buckets
    numbers = sum(x.numel() for bucket in buckets for x in bucket) // len(buckets)
    found = {}
    for name, size in (("number", 1), ("bucket", numbers)):
        values, taken = torch.zeros(size), []
        for _ in range(rounds):
            began = time.perf_counter()
            dist.all_reduce(values)
            taken.append(time.perf_counter() - began)
        found[name] = statistics.median(taken)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("what", choices=("training", "denoising", "killed"))
    parser.add_argument("--rounds", type=int, default=9, help="turns of training")
    parser.add_argument("--steps", type=int, default=8, help="of a turn")
    parser.add_argument("--trace", help="a file for the trace of a step, for chrome://tracing")
    parser.add_argument("--size", help="of the OME-Zarr: 400MB, 4GB")
    parser.add_argument("--memory", default="1GB", help="of a worker, as denoise takes it")
    parser.add_argument("--model", help="by default an untrained one, small and quick")
    parser.add_argument("--folder", help="where the files are made for a while")
    return parser


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        _serve()
    else:
        sys.exit(main())

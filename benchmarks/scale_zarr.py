"""OME-Zarr through several workers: what `python -m benchmarks.scale denoising` and `killed` do."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr

from benchmarks.scale import COUNTS, ROOT, last_that_pays
from chainrule.serialization import save_tensors
from noise2noise import networks
from noise2noise.denoiser import Denoiser
from noise2noise.files import Part, open_stack
from noise2noise.inference import USUAL, Known, parse_memory
from noise2noise.scale.dispatch import spread
from noise2noise.scale.grid import Grid, window_of
from noise2noise.scale.making import folder_for

SIDE = 1024  # of a chunk, in pixels
PROGRAM = 450 * 10**6  # bytes that a worker holds before its first piece


def make(path: Path, size: int) -> None:
    """Waves with noise, float64, in planes of 4 x 4 chunks, of so many bytes at least."""
    planes = max(-(-size // (16 * SIDE * SIDE * 8)), 1)
    array: Any = zarr.create_array(
        str(path),
        shape=(planes, 4 * SIDE, 4 * SIDE),
        chunks=(1, SIDE, SIDE),
        dtype="float64",
        dimension_names=["t", "y", "x"],
    )
    rng = np.random.default_rng(0)
    columns = np.sin(np.arange(4 * SIDE) / 40)
    for plane in range(planes):
        for top in range(0, 4 * SIDE, SIDE):
            rows = np.cos((np.arange(top, top + SIDE) + 9 * plane) / 60)[:, None]
            noise = rng.normal(0, 0.1, (SIDE, 4 * SIDE))
            array[plane, top : top + SIDE] = 0.5 + 0.3 * rows * columns + noise


def small_model(folder: Path) -> str:
    """One that computes next to nothing, so that what is around it counts."""
    with networks.seeded(0):
        model = networks.build("compact", channels=1, width=4)
    sizes = json.dumps({"channels": 1, "width": 4})
    facts = {"architecture": "compact", "sizes": sizes, "title": "untrained", "noise": "none"}
    save_tensors(folder / "small.safetensors", model.state_dict(), facts)
    return str(folder / "small.safetensors")


# -- killed ----------------------------------------------------------------------------------------


def killed(place: str | None, size: str, memory: str, model: str | None) -> int:
    """Kill a run twice, let it go on, and compare it with one that nobody disturbed."""
    allowed = parse_memory(memory)
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        began = time.perf_counter()
        make(folder / "cells.zarr", parse_memory(size))
        print(
            f"made {_bytes_of(folder / 'cells.zarr') / 1e9:.2f} GB in {_since(began)}", flush=True
        )
        model = model or small_model(folder)
        began = time.perf_counter()
        calm = Run(folder, "calm.zarr", model, allowed - PROGRAM)
        most = calm.finish()
        pieces = calm.pieces
        print(
            f"undisturbed: {pieces} pieces in {_since(began)}, {_in_mb(most, allowed)}", flush=True
        )
        disturbed = Run(folder, "killed.zarr", model, allowed - PROGRAM)
        for share in (1 / 3, 2 / 3):
            there, own = disturbed.kill_after(share * pieces)
            most = max(most, own)
            print(f"killed with {there} pieces there", flush=True)
        own = disturbed.finish()
        same = _same(folder / "calm.zarr", folder / "killed.zarr")
        print(f"went on to the end, {_in_mb(max(most, own), allowed)}")
        print("both are the same, file by file" if same else "THEY DIFFER")
        return int(not same or max(most, own) > allowed)


class Run:
    """`noise2noise denoise` by two workers of this machine."""

    def __init__(
        self, folder: Path, result: str, model: str, memory: int, workers: int = 2
    ) -> None:
        self.result, self.pieces = folder / result, 0
        self._command = [sys.executable, "-m", "noise2noise", "denoise", folder / "cells.zarr"]
        self._command += ["-o", self.result, "--workers", workers, "--memory", memory, "-m", model]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [str(each) for each in self._command]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def finish(self) -> int:
        """Run to the end; the most bytes that a worker held."""
        run = self._start()
        with _watched(run.pid) as most:
            while run.poll() is None:
                self.pieces = max(self.pieces, self.done)
                time.sleep(0.02)
        if run.returncode:
            raise SystemExit(run.returncode)
        self.pieces = max(self.pieces, self.done)
        return max(most)

    def kill_after(self, count: float) -> tuple[int, int]:
        """Start, and kill when so many pieces are there; how many are, and as `finish`."""
        run = self._start()
        with _watched(run.pid) as most:
            while self.done < count and run.poll() is None:
                time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        return self.done, max(most)

    @property
    def done(self) -> int:
        with contextlib.suppress(OSError):
            return len((folder_for(self.result) / "done").read_text().splitlines())
        return 0


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[int]]:
    """The bytes that each worker of a command has held at most, looked at all the while."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            listing = ["ps", "-o", "pid=", "--ppid", str(pid)]
            children = subprocess.run(listing, capture_output=True, text=True).stdout.split()
            for child in children:
                with contextlib.suppress(OSError, ValueError):
                    if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                        status = Path(f"/proc/{child}/status").read_text()
                        most.append(1024 * int(status.split("VmHWM:")[1].split()[0]))
            most[:] = [max(most)]

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()


def _same(one: Path, other: Path) -> bool:
    names = [
        sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        for folder in (one, other)
    ]
    if names[0] != names[1]:
        return False
    return all(filecmp.cmp(one / name, other / name, shallow=False) for name in names[0])


def _in_mb(most: int, allowed: int) -> str:
    return f"a worker held {most / 1e6:.0f} MB at most, of {allowed / 1e6:.0f} allowed"


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _since(began: float) -> str:
    return f"{time.perf_counter() - began:.0f} s"


# -- denoising -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DenoisingCost:
    """What a piece takes: t(N) = max(work / N, dispatch, bytes / storage) for each of many.

    Attributes:
        work: seconds on a core to read, denoise and write it.
        dispatch: seconds of the scheduler and of who asks.
        bytes: read and written.
    """

    work: float
    dispatch: float
    bytes: float

    def rate(self, count: int, storage: float) -> float:
        """Pieces a second of so many workers on a storage of so many bytes a second."""
        return 1 / max(self.work / count, self.dispatch, self.bytes / storage)


def denoising(place: str | None, size: str, model: str | None) -> int:
    """Time the parts of a piece; an OME-Zarr by one worker and by two; and project."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        make(folder / "cells.zarr", parse_memory(size))
        taken: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(2):
            for workers in (1, 2):
                began = time.perf_counter()
                Run(folder, f"{turn}{workers}.zarr", model or "fast-grey", 10**9, workers).finish()
                taken[workers].append(time.perf_counter() - began)
        ratio = statistics.median(a / b for a, b in zip(taken[1], taken[2], strict=True))
        print(f"two workers beside one, start and end included: {ratio:.2f} times as fast")
        dispatch = _dispatch()
        for own in ("fast-grey", "grey"):
            parts = _parts(folder, own)
            read = SIDE * SIDE * 8 * 2.0
            cost = DenoisingCost(sum(parts.values()), dispatch, read)
            told = ", ".join(f"{1000 * value:.0f} ms to {part}" for part, value in parts.items())
            print(
                f"a chunk of {SIDE} x {SIDE} by {own}: {told}, {1000 * dispatch:.1f} ms to hand out"
            )
            _print_denoising(cost)
    return 0


def _print_denoising(cost: DenoisingCost) -> None:
    storages = {"0.2 GB/s": 2e8, "2 GB/s": 2e9, "20 GB/s": 2e10}
    print("projected: times as fast as one worker, by what all of them read and write a second")
    print(f"{'workers':>10}" + "".join(f"{name:>12}" for name in storages))
    for count in COUNTS:
        gains = [cost.rate(count, each) / cost.rate(1, each) for each in storages.values()]
        print(f"{count:>10}" + "".join(f"{gain:>12.1f}" for gain in gains))
    for name, storage in storages.items():
        last = last_that_pays((count, cost.rate(count, storage)) for count in COUNTS)
        print(f"pays up to {last} workers, {name}")


def _parts(folder: Path, model: str) -> dict[str, float]:
    """Seconds on a core of what is done with a piece of one chunk."""
    torch.set_num_threads(1)
    source = folder / "cells.zarr"
    network = Denoiser.load(model)
    with open_stack(source) as stack:
        known = Known.of(network.network, stack, USUAL)
        grid = Grid(stack.header.shape, (1, SIDE, SIDE))
        window, core = window_of(grid[5], stack.header, network.network)
        part = Part(stack, window)
        began = time.process_time()
        pixels = part.read(0)
        read = time.process_time() - began
        part.read(0)
        began = time.process_time()
        clean = [*network.run(part, USUAL, known=known, core=core).bands()]
        compute = time.process_time() - began
    made: Any = zarr.create_array(
        str(folder / f"{model}.zarr"), shape=(SIDE, SIDE), chunks=(SIDE, SIDE), dtype=pixels.dtype
    )
    began = time.process_time()
    made[:] = np.concatenate(clean)[..., 0]
    return {"read": read, "denoise": compute, "write": time.process_time() - began}


def _dispatch() -> float:
    """Seconds on a core, of scheduler and client, to hand out a piece that is no work."""
    from distributed import Client, LocalCluster

    count = 400
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        began = time.process_time()
        failed = spread(client, abs, range(count), threading.Event(), lambda number, value: None)
        assert not failed
        return (time.process_time() - began) / count

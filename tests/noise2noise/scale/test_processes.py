"""Clusters of real processes: what happens to a run when parts of them go."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from noise2noise.denoiser import Denoiser
from noise2noise.files import open_stack
from noise2noise.scale.making import folder_for
from tests.noise2noise.scale.conftest import noise, values

if sys.platform == "win32":
    pytest.skip("there is no SIGKILL", allow_module_level=True)

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PATIENCE = 120  # seconds
PIECES, SIDE = 12, 160


class Run:
    """`noise2noise denoise` of a Zarr array of a few pieces, one of which takes a moment."""

    def __init__(self, folder: Path, source: Path, model: Path) -> None:
        self.source, self.model, self.result = source, model, folder / "clean.zarr"

    def start(self, *options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "noise2noise", "denoise"),
                *map(str, [self.source, "-o", self.result, "--model", self.model, *options]),
            ],
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, *options: object) -> str:
        """Run to the end, which must be a good one."""
        run = self.start(*options)
        _, errors = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0, errors
        return errors

    @property
    def done(self) -> int:
        """How many pieces are there."""
        try:
            return len((folder_for(self.result) / "done").read_text().splitlines())
        except FileNotFoundError:
            return 0


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holds()


@pytest.fixture
def run(tmp_path: Path, store: Any, make_model: Any) -> Run:
    source = store(noise(PIECES, SIDE, SIDE), (1, SIDE, SIDE))
    return Run(tmp_path, source, make_model("small.safetensors", channels=1))


@pytest.fixture
def undisturbed(run: Run, tmp_path: Path) -> Any:
    """The values that one process makes."""
    made = tmp_path / "undisturbed.zarr"
    with open_stack(run.source) as stack:
        Denoiser.load(run.model).denoise_stack(stack, made)
    return values(made)


@contextmanager
def process(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    started: Any = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def scheduler(file: Path) -> Iterator[subprocess.Popen[bytes]]:
    file.unlink(missing_ok=True)
    options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file)
    with process("distributed.cli.dask_scheduler", *options) as started:
        until(file.exists)
        yield started


def worker(file: Path, **options: Any) -> Any:
    own = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60")
    own = (*own, "--local-directory", file.parent)
    return process("distributed.cli.dask_worker", "--scheduler-file", file, *own, **options)


def children_of(pid: int) -> list[int]:
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return [int(line) for line in listing.stdout.split()]


def workers_of(pid: int) -> list[int]:
    """The processes that a command started for `--workers`."""
    return [
        child
        for child in children_of(pid)
        if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()
    ]


def test_killed_workers_and_a_killed_run_cost_no_bit(run, undisturbed):
    first = run.start("--workers", 2)
    until(lambda: run.done >= 1)
    os.kill(workers_of(first.pid)[-1], signal.SIGKILL)
    there = run.done
    until(lambda: run.done > there)
    first.kill()
    first.communicate()
    left = run.done
    assert 2 <= left < PIECES
    assert not run.result.exists()
    second = run.start("--workers", 1)
    until(lambda: run.done > left or second.poll() is not None)
    with suppress(ProcessLookupError):
        os.killpg(second.pid, signal.SIGINT)  # as a terminal does
    _, errors = second.communicate(timeout=PATIENCE)
    if second.returncode:  # it may have been at the last piece
        assert second.returncode == 130
        assert "Traceback" not in errors
        assert run.finish("--workers", 1) == ""
    assert (values(run.result) == undisturbed).all()
    assert not folder_for(run.result).exists()


def test_a_scheduler_that_goes_away_is_told_and_what_was_done_is_kept(run, undisturbed, tmp_path):
    file = tmp_path / "scheduler.json"
    with scheduler(file) as started, worker(file):
        first = run.start("--scheduler", file)
        until(lambda: run.done >= 1)
        started.kill()
        _, errors = first.communicate(timeout=PATIENCE)
        assert first.returncode == 2
        assert "is gone; what was done is kept" in errors
        assert "Traceback" not in errors
    assert 1 <= run.done < PIECES
    with scheduler(file), worker(file):
        assert run.finish("--scheduler", file) == ""
    assert (values(run.result) == undisturbed).all()


def test_a_full_disk_on_one_worker_is_left_to_the_other(run, undisturbed, tmp_path):
    """The disk refuses what is larger than a tenth of a chunk."""
    file = tmp_path / "scheduler.json"

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    with scheduler(file), worker(file, preexec_fn=full):
        alone = run.start("--scheduler", file)
        _, errors = alone.communicate(timeout=PATIENCE)
        assert alone.returncode == 2
        assert f"{PIECES} of {PIECES} pieces" in errors
        assert "the first at Z 0, Y 0 to 159, X 0 to 159: OSError: [Errno 27]" in errors
        with worker(file):
            assert run.finish("--scheduler", file) == ""
    assert (values(run.result) == undisturbed).all()

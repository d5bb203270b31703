"""Runs of several processes, as torchrun starts them."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from chainrule.serialization import load_tensors
from noise2noise.fit import Trainer, configure
from tests.noise2noise.fit.wire import wire

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

OPTIONS: dict[str, Any] = {
    "generated": 24,
    "corruption": "gaussian:25",
    "crop": 16,
    "batch_size": 16,
    "epochs": 2,
    "sizes": {"width": 4, "depth": 1},
}


def command(processes: int, folder: Path, *options: str) -> list[str]:
    """The command line of OPTIONS; `options` are torchrun's and, after "--", the command's."""
    place = options.index("--") if "--" in options else len(options)
    launcher, more = options[:place], options[place + 1 :]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)),
        *(*launcher, "-m", "noise2noise", "train", "--out", str(folder)),
        *("--generated", "24", "--corruption", "gaussian:25", "--crop", "16", "--batch-size", "16"),
        *("--epochs", "2", "--size", "width=4", "--size", "depth=1", *more),
    ]


def launch(processes: int, folder: Path, *options: str) -> dict[str, Any]:
    """Everything that a run of so many processes leaves."""
    arguments = command(processes, folder, *options)
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return left_by(folder)


def train(folder: Path, **options: Any) -> dict[str, Any]:
    """The same of a run in this process."""
    Trainer(configure(**OPTIONS, **options), folder).fit()
    return left_by(folder)


def left_by(folder: Path) -> dict[str, Any]:
    tensors, facts = load_tensors(folder / "last.safetensors")
    with open(folder / "history.csv", newline="") as file:
        history = [*csv.DictReader(file)]
    return {"tensors": tensors, "history": history, "position": json.loads(facts["position"])}


def weights(run: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: x for name, x in run["tensors"].items() if not name.startswith("optimizer/")}


def assert_close(run: dict[str, Any], expected: dict[str, Any]) -> None:
    assert run["tensors"].keys() == expected["tensors"].keys()
    for name, value in weights(run).items():
        torch.testing.assert_close(value, weights(expected)[name], rtol=1e-4, atol=1e-6)
    for row, other in zip(run["history"], expected["history"], strict=True):
        for name in ("training_loss", "validation_psnr"):
            assert float(row[name]) == pytest.approx(float(other[name]), rel=1e-5), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return train(tmp_path_factory.mktemp("alone") / "run")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return launch(2, tmp_path_factory.mktemp("pair") / "run")


def test_two_processes_learn_what_one_does(alone, pair):
    assert_close(pair, alone)


def test_four_processes_that_share_the_optimizer_s_state(alone, tmp_path):
    assert_close(launch(4, tmp_path / "run", "--", "--shard-optimizer"), alone)


def test_batches_in_parts_are_the_same_batches(alone, tmp_path):
    assert_close(train(tmp_path / "run", accumulate=3), alone)


def test_a_run_of_two_goes_on_alone(tmp_path):
    """Its optimizer's state sharded among two, and kept whole by the one that goes on."""
    folder = tmp_path / "run"
    launch(2, folder, "--", "--shard-optimizer", "--schedule", "constant", "--epochs", "1")
    longer = Trainer(configure(**OPTIONS, schedule="constant"), folder)
    longer.resume()
    longer.fit()
    assert_close(left_by(folder), train(tmp_path / "undisturbed", schedule="constant"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_process_costs_no_bit(pair, tmp_path):
    """So equal launches give equal bits, too. It dies in the second epoch; torchrun starts both
    again, and they go on from the first one's end.
    """
    folder = tmp_path / "run"
    run = subprocess.Popen(
        command(2, folder, "--max-restarts", "2", "--monitor-interval", "0.1"),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 400
    while not (folder / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    victim = [pid for pid in children_of(run.pid) if "noise2noise" in command_line(pid)][-1]
    os.kill(victim, signal.SIGKILL)
    _, errors = run.communicate(timeout=400)
    assert run.returncode == 0, errors
    left = left_by(folder)
    assert all(torch.equal(x, left["tensors"][name]) for name, x in pair["tensors"].items())
    assert [int(row["restarts"]) for row in left["history"]] == [0, 1]


def children_of(pid: int) -> list[int]:
    listing = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return [int(line) for line in listing.stdout.split()]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    """Two network namespaces, 10.77.0.1 and .2; 50 Mbit/s and 20 ms either way between them."""
    names = [f"n2n-{os.getpid()}-{place}" for place in range(2)]
    ends = [f"v{os.getpid()}-{place}" for place in range(2)]
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(wire(ends[0], ends[1], delay=0.02, rate=50e6))
        except OSError:
            pytest.skip("network devices can't be made here")
        for place, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            _ip("netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True)
            _ip("link", "set", end, "netns", name, "name", "net0")
            _ip("-n", name, "addr", "add", f"10.77.0.{place}/24", "dev", "net0")
            for device in ("net0", "lo"):
                _ip("-n", name, "link", "set", device, "up")
        yield names


def _ip(*arguments: str) -> None:
    try:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces can't be made here")


def test_two_machines_with_a_slow_and_long_link_learn_what_one_does(alone, namespaces, tmp_path):
    """Each in a network of its own, started by hand rather than by torchrun."""
    folder = tmp_path / "run"
    arguments = command(1, folder)[command(1, folder).index("noise2noise") :]
    runs = [
        subprocess.Popen(
            ["ip", "netns", "exec", name, sys.executable, "-m", *arguments],
            env={
                **ENVIRONMENT,
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "10.77.0.1",
                "MASTER_PORT": "29500",
                "GLOO_SOCKET_IFNAME": "net0",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, name in enumerate(namespaces)
    ]
    for run in runs:
        _, errors = run.communicate(timeout=400)
        assert run.returncode == 0, errors
    assert_close(left_by(folder), alone)


def test_a_disk_that_fails_ends_all_processes_in_a_sentence(tmp_path):
    """That of the first, which writes: the run is refused, and nobody waits for ever."""
    code = (
        "import os, resource, runpy\n"
        "if os.environ['RANK'] == '0':\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "runpy.run_module('noise2noise', run_name='__main__')\n"
    )
    (tmp_path / "run.py").write_text(code)
    folder = tmp_path / "run"
    arguments = command(2, folder)
    place = arguments.index("-m", arguments.index("torch.distributed.run"))
    arguments[place : place + 2] = [str(tmp_path / "run.py")]
    done = subprocess.run(arguments, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert any("can't write" in line for line in told), done.stderr
    assert not list(folder.glob("*.safetensors"))

"""What must be measured in a process of its own: peak memory, and a large photograph.

`alone` starts a Python, which runs this file, and reads what it prints.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from noise2noise import networks
from noise2noise.benchmark import steps
from noise2noise.benchmark.twins import TwinModule
from noise2noise.dead_leaves import dead_leaves
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError

LEAF = 500
"""Side in pixels of the generated picture that a photograph is tiled with."""

LONG_ENOUGH = 5.0
"""A photograph is denoised again until so many seconds have passed, at most five times."""

_ENVIRONMENT = {"training_memory": {"MALLOC_MMAP_THRESHOLD_": str(2**17)}}
"""glibc then gives every freed tensor back at once. By default it keeps some, and how much depends
on what was allocated before, so that the same step may seem to need twice as much."""


def training_memory(contender: str, network: str, batch: int) -> int | None:
    """Bytes that training steps need at most beyond what was there before.

    Before means: libraries loaded, the network and the images made, and one step with two images
    done, so that what is set up once is not counted.
    """
    steps.step_of(contender, network, "training", 2)()
    step = steps.step_of(contender, network, "training", batch)
    return extra_memory(lambda: [step() for _ in range(3)])


def photograph(contender: str, height: int, width: int) -> dict[str, float | int | None]:
    """Denoise a generated photograph with the shipped model `photo`, tile by tile.

    Arguments:
        contender: `steps.OURS`, or anything else for the model's twin in `torch.nn`, channels last
            and in inference mode, on the same tiles.
        height, width: multiples of LEAF.

    Returns:
        The median of "seconds", and "memory": peak bytes beyond the photograph itself.
    """
    noisy = _noisy_photograph(height, width)
    denoiser = Denoiser.load("photo", "cpu")
    if contender != steps.OURS:
        denoiser = with_twin(denoiser)
    denoiser.denoise_unit(noisy[:, :64, :64])
    seconds: list[float] = []

    def denoise_repeatedly() -> None:
        while len(seconds) < 5 and sum(seconds) < LONG_ENOUGH:
            started = time.perf_counter()
            denoiser.denoise_unit(noisy)
            seconds.append(time.perf_counter() - started)

    memory = extra_memory(denoise_repeatedly)
    return {"seconds": statistics.median(seconds), "memory": memory}


def _noisy_photograph(height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(0)
    leaf = dead_leaves(LEAF, random)
    leaf += np.float32(25 / 255) * random.standard_normal(leaf.shape, np.float32)
    return np.tile(leaf, (1, height // LEAF, width // LEAF))


def with_twin(denoiser: Denoiser) -> Denoiser:
    """The same, with the network's twin in `torch.nn` at work."""
    model = networks.build(denoiser.info.architecture, **denoiser.info.sizes)
    model.load_state_dict(denoiser.model.state_dict())
    return Denoiser(TwinModule(model), denoiser.info)


# -- memory ----------------------------------------------------------------------------------------


def extra_memory(work: Callable[[], object]) -> int | None:
    """Bytes by which resident memory rose at most while `work` ran; None where no one counts them.

    On Linux the kernel's high-water mark is set back first, so that an earlier peak hides nothing.
    """
    gc.collect()
    _give_back_freed_memory()
    _forget_peak()
    before = _peak()
    work()
    after = _peak()
    return None if before is None or after is None else after - before


def _give_back_freed_memory() -> None:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library than glibc
        return


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed
        return


def _peak() -> int | None:
    # Not ru_maxrss on Linux: there a new process inherits the peak of the one that started it.
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return _peak_elsewhere()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _peak_elsewhere() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# -- the process -----------------------------------------------------------------------------------


def alone(function: str, **arguments: str | int):
    """The result of a function of this file, called in a new process with as many threads.

    Raises:
        UserError: the process failed, as it does where memory is short.
    """
    request = json.dumps({"threads": torch.get_num_threads(), "arguments": arguments})
    done = subprocess.run(
        [sys.executable, "-m", __name__, function, request],
        env={**os.environ, **_ENVIRONMENT.get(function, {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        what = (done.stderr.strip().splitlines() or ["was the memory enough?"])[-1]
        raise UserError(
            f"measuring {' '.join(map(str, arguments.values()))} in a process of its own ended "
            f"with status {done.returncode}: {what}"
        )
    return json.loads(done.stdout)


def _main(function: str, request: str) -> None:
    asked = json.loads(request)
    torch.set_num_threads(asked["threads"])
    measure = {each.__name__: each for each in (training_memory, photograph)}[function]
    json.dump(measure(**asked["arguments"]), sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])

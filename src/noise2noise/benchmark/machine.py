"""What was measured on: the processor, the libraries, and the most that the processor can do."""

from __future__ import annotations

import datetime
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from chainrule import backend


@dataclass(frozen=True)
class Machine:
    """The facts that a measurement needs beside it.

    Attributes:
        cpu: the processor's name.
        threads: that each contender may use.
        instructions: the widest vector instructions that PyTorch found, such as AVX2.
        pytorch, date: PyTorch's version; the day of the measurement.
        backend: which backend `chainrule` took.
        peak: floating-point operations per second, measured; a multiply-add is two.
        peak_source: how it was measured.
    """

    cpu: str
    threads: int
    instructions: str
    pytorch: str
    date: str
    backend: str
    peak: float
    peak_source: str

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.threads} thread{'' if self.threads == 1 else 's'}, "
            f"{self.instructions}, PyTorch {self.pytorch}, {self.backend} backend, {self.date}; "
            f"peak {self.peak / 1e9:.0f} GFLOP/s ({self.peak_source})"
        )


def this_machine() -> Machine:
    """Measures the peak with the threads that PyTorch is set to; takes about a second."""
    threads = torch.get_num_threads()
    peak, source = _peak(threads)
    return Machine(
        cpu=processor_name(),
        threads=threads,
        instructions=torch.backends.cpu.get_cpu_capability(),
        pytorch=torch.__version__,
        date=datetime.date.today().isoformat(),
        backend=backend(),
        peak=peak,
        peak_source=source,
    )


def _peak(threads: int) -> tuple[float, str]:
    try:
        from chainrule._native import fma_peak  # absent where nothing could be compiled
    except ImportError:
        return max(map(_product_speed, (1024, 1536, 2048))), "PyTorch's best matrix product"
    return fma_peak(threads), "multiply-adds in registers"


def _product_speed(side: int) -> float:
    """Operations per second of a product of two square matrices, the best of five."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        a.mm(b)
        seconds.append(time.perf_counter() - started)
    return 2 * side**3 / min(seconds)


def processor_name() -> str:
    """The processor, as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

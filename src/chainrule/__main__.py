"""`python -m chainrule`: what computes here, and in which versions."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator
from importlib import metadata

import torch

from chainrule import backend, winograd


def report() -> Iterator[tuple[str, str]]:
    """Names and values, a line each."""
    yield "version", f"{metadata.version('noise2noise')} (of noise2noise, which it comes with)"
    rest = "" if backend() == "reference" else " for float32 on the CPU, reference for the rest"
    yield "backend", backend() + rest
    yield "kernels", _kernels()
    yield "Winograd", "on" if winograd() else "off"
    yield "threads", f"{torch.get_num_threads()}"
    yield "PyTorch", torch.__version__
    yield "Python", f"{platform.python_version()} on {platform.system()}, {platform.machine()}"


def _kernels() -> str:
    try:
        native = importlib.import_module("chainrule._native")
    except ImportError as error:
        return f"none: {error}"
    others = [name for name in native.instruction_sets() if name != native.instruction_set()]
    return native.instruction_set() + (f" (also {', '.join(others)})" if others else "")


if __name__ == "__main__":
    for name, value in report():
        print(f"{name:9} {value}")

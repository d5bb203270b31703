"""What a run is computed with: steps repeat to the bit only where all of this is the same."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Mapping

import torch

from chainrule import backend, winograd
from noise2noise.device import CPU, in_words


def conditions(device: torch.device = CPU) -> dict[str, str]:
    """What computes on a device, as words for people: versions, threads, kernels."""
    return {
        "PyTorch": torch.__version__,
        "noise2noise": _version(),
        "threads": str(torch.get_num_threads()),
        "device": in_words(device),
        "backend": backend(device=device),
        "instruction set": _instruction_set(),
        "Winograd": "on" if winograd() else "off",
    }


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs, as "threads from 1 to 2, backend from native to reference"; "" if nothing.

    A condition that was not recorded is not compared: an older version may not have known it.
    """
    return ", ".join(
        f"{name} from {value} to {now[name]}"
        for name, value in before.items()
        if name in now and now[name] != value
    )


def _version() -> str:
    try:
        return importlib.metadata.version("noise2noise")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "uninstalled"


def _instruction_set() -> str:
    if backend() == "native":
        return importlib.import_module("chainrule._native").instruction_set()
    return torch.backends.cpu.get_cpu_capability()

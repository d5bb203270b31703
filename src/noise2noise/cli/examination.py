"""What `noise2noise doctor` looks at."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping

import torch

from chainrule import backend, use_backend
from noise2noise.benchmark.machine import processor_name
from noise2noise.device import gpus
from noise2noise.fit.conditions import conditions

COMPILED = "compiled"
"""What is said of the kernels where nothing is wrong."""

_REQUIREMENT = re.compile(r"([\w.-]+).*;.*\bextra *== *['\"]([\w-]+)['\"]")


def facts() -> dict[str, str]:
    """What there is, in words."""
    here = conditions()
    return {
        "noise2noise": here["noise2noise"],
        "Python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        "backend": f"{here['backend']}, {here['instruction set']}",
        "kernels": _why_no_kernels() or COMPILED,
        "processor": f"{processor_name()}, {os.cpu_count()} CPUs, {here['threads']} threads used",
        "GPU": _gpu(),
        "PyTorch": here["PyTorch"],
        "packages": ", ".join(
            f"{name} {importlib.metadata.version(name)}"
            for name in ("numpy", "pillow", "tifffile", "imagecodecs", "scipy", "typer")
        ),
    }


def extras() -> dict[str, list[str]]:
    """The packages of each extra that aren't installed; of those for developers none is told."""
    lacking: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("noise2noise") or []:
        if (match := _REQUIREMENT.match(requirement)) and match[2] != "dev":
            missing = lacking.setdefault(match[2], [])
            missing += [] if _installed(match[1]) else [match[1]]
    return lacking


def advice(found: Mapping[str, str], lacking: Mapping[str, list[str]]) -> list[str]:
    """What to do about what is missing, a sentence each."""
    sentences = []
    if found["kernels"] != COMPILED:
        sentences.append(f"Everything works, but {found['kernels']}.")
    elif backend() != "native":
        sentences.append(
            "The compiled kernels are there and not used, because CHAINRULE_BACKEND in the "
            f"environment is {os.environ.get('CHAINRULE_BACKEND')!r}; unset it."
        )
    if torch.get_num_threads() < (os.cpu_count() or 1) and "OMP_NUM_THREADS" in os.environ:
        sentences.append(
            f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} in the environment leaves processors "
            "idle; unset it."
        )
    for name, packages in lacking.items():
        if packages:
            sentences.append(f"If you need it: pip install 'noise2noise[{name}]'.")
    return sentences


def _why_no_kernels() -> str:
    try:
        with use_backend("native"):
            return ""
    except ImportError as error:
        return str(error)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _gpu() -> str:
    if not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "for the CPU alone"
        return f"none that PyTorch, built {built}, can use"
    return f"{', '.join(gpus())} (CUDA {torch.version.cuda}), {backend(device='cuda')} backend"

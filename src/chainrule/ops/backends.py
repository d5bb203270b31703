"""Which backend computes: the compiled kernels where they can, the reference everywhere else."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Literal, cast

import torch
from torch import Tensor

from chainrule.ops import reference

Backend = Literal["native", "reference"]

_native: ModuleType | None = None
_selected: Backend | None = None  # None until the first use
_winograd = os.environ.get("CHAINRULE_WINOGRAD") != "0"


def on(x: Tensor) -> ModuleType:
    """The module of ops that computes with x: native for float32 on the CPU, if it runs at all."""
    if (_selected or backend()) == "native" and x.dtype is torch.float32 and x.is_cpu:
        assert _native is not None
        return _native
    return reference


def backend(name: Backend | None = None) -> Backend:
    """Tell which backend runs, and with `name` set it, for the whole process.

    "native" is the compiled kernels, for float32 on the CPU; other dtypes and devices go to the
    reference all the same. "reference" is the textbook version. At first it is the one that the
    environment variable CHAINRULE_BACKEND names, else native where it was compiled.

    Raises:
        ValueError: there is no such backend.
        ImportError: the kernels were not compiled when the package was installed.

    Example:
        >>> chainrule.backend("reference")
        'reference'
    """
    global _selected
    if name is not None:
        if _checked(name) == "native":
            _load()
        _selected = name
    elif _selected is None:
        _selected = _first_choice()
    return _selected


@contextmanager
def use_backend(name: Backend) -> Iterator[None]:
    """`with use_backend("reference"): ...` sets the backend for a while.

    Raises:
        ValueError, ImportError: as `backend`.
    """
    before = backend()
    backend(name)
    try:
        yield
    finally:
        backend(before)


def winograd(enabled: bool | None = None) -> bool:
    """Tell whether the native backend may use Winograd's algorithm, and with `enabled` set it.

    It does with between a quarter and three fifths of the multiplications of a 3x3 convolution, and
    of strided and upsampled ones. Rounding errors stay below 1e-5 of the largest value: typically
    one and a half times, at most three times those of the direct way, as docs/kernels.md#winograd
    measures; NaN or infinity in an input spoils the 4x4 outputs of its tile. To have it otherwise,
    turn it off here or by CHAINRULE_WINOGRAD=0 in the environment.
    """
    global _winograd
    if enabled is not None:
        _winograd = bool(enabled)
    return _winograd


def _first_choice() -> Backend:
    wish = os.environ.get("CHAINRULE_BACKEND")
    if wish:
        return backend(_checked(wish))
    try:
        _load()
    except ImportError as error:
        logging.getLogger("chainrule").warning("%s", error)
        return "reference"
    return "native"


def _checked(name: str) -> Backend:
    if name not in ("native", "reference"):
        raise ValueError(f'there is no backend {name!r}; choose "native" or "reference"')
    return cast(Backend, name)


def _load() -> None:
    global _native
    if _native is None:
        try:
            _native = importlib.import_module("chainrule.ops.native")
        except ImportError as error:
            raise ImportError(
                "chainrule runs without its compiled kernels, several times slower: no C++ "
                "compiler was found when it was installed (install one, then install chainrule "
                f"again; {error})"
            ) from error

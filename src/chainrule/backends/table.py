"""The table of backends: which one computes with a device and a dtype, and who decides.

    (device type, dtype) -> backend

The process has a table, `use_backend` lays another over it for a while. Where nothing else is
entered, the reference computes.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chainrule.backends import reference

Key = tuple[str, torch.dtype]


class Ops:
    """All ops, each an attribute: a backend's own, and the reference's where it has none."""

    def __init__(self, name: str, source: Any) -> None:
        self.name = name
        for op in reference.__all__:
            setattr(self, op, getattr(source, op, None) or getattr(reference, op))

    def __getattr__(self, op: str) -> Any:  # for type checkers: the ops are known at run time
        raise AttributeError(f"there is no op {op!r}")


class Backend(NamedTuple):
    """A backend as it is registered."""

    source: Any
    ops: Ops
    serves: tuple[Key, ...] | None
    """Device types and dtypes; None is all."""


class Table:
    """Device type and dtype to ops, and the ops for the rest."""

    def __init__(self, entries: dict[Key, Ops], rest: Ops) -> None:
        self.entries, self.rest = entries, rest
        # The CPU's by dtype alone: a tensor tells its device type at several times the price.
        self.cpu = {dtype: ops for (device, dtype), ops in entries.items() if device == "cpu"}

    def below(self, upper: Backend) -> Table:
        """This table with `upper` laid over it."""
        if upper.serves is None:
            return Table({}, upper.ops)
        return Table({**self.entries, **dict.fromkeys(upper.serves, upper.ops)}, self.rest)


REFERENCE = Backend(reference, Ops("reference", reference), None)

_backends: dict[str, Backend] = {"reference": REFERENCE}
_standard: Table | None = None  # the process's; None until the first use
_chosen: ContextVar[Table | None] = ContextVar("chainrule_backend", default=None)


def on(x: Tensor) -> Ops:
    """The ops that compute with x: of its device and dtype, as this context and thread chose."""
    table = _chosen.get() or _standard or _table()
    if x.is_cpu:
        return table.cpu.get(x.dtype, table.rest)
    return table.entries.get((x.device.type, x.dtype), table.rest)


def backend(name: str | None = None, *, device: str | torch.device = "cpu") -> str:
    """Tell which backend computes with float32 on a device, and with `name` set it.

    Set for the whole process, but for those who are inside of a `use_backend`. "native" is the
    compiled kernels, for float32 on the CPU; other dtypes and devices go elsewhere all the same.
    "triton" is the kernels for CUDA devices, which compute wherever there are such that Triton
    compiles for. "reference" is the textbook version, for everything. Others are those that
    `register` was told of. At first it is the one that the environment variable CHAINRULE_BACKEND
    names, else native where it was compiled.

    Raises:
        ValueError: there is no such backend.
        ImportError: the kernels were not compiled when the package was installed, or can't be
            loaded.

    Example:
        >>> chainrule.backend("reference")
        'reference'
    """
    global _standard
    if name is not None:
        _standard = _with_registered(_named(name))
    table = _chosen.get() or _table()
    return table.entries.get((torch.device(device).type, torch.float32), table.rest).name


@contextmanager
def use_backend(chosen: Any) -> Iterator[None]:
    """`with use_backend("reference"): ...` chooses a backend for a while, here and nowhere else.

    The choice holds in this thread (and asynchronous task); a thread that is started meanwhile
    begins with the process's own. What the backend doesn't serve stays as it was.

    Args:
        chosen: a name, or a backend itself: whatever has functions named as the ops. It serves all
            devices and dtypes, and the reference lends it the ops that it lacks.

    Raises:
        ValueError, ImportError: as `backend`.
    """
    upper = _named(chosen) if isinstance(chosen, str) else _as_backend(chosen)
    token = _chosen.set((_chosen.get() or _table()).below(upper))
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def around(wrap: Callable[[Ops], Ops]) -> Iterator[None]:
    """For a while and in this thread, what `wrap` makes of each backend computes in its place."""
    table = _chosen.get() or _table()
    wrapped = Table({key: wrap(ops) for key, ops in table.entries.items()}, wrap(table.rest))
    token = _chosen.set(wrapped)
    try:
        yield
    finally:
        _chosen.reset(token)


def register(name: str, source: Any, serves: Iterable[Key] | None = None) -> None:
    """Give a backend a name, by which `backend` and `use_backend` find it.

    Args:
        name: its name; a backend of the same name is replaced.
        source: a module, or whatever has functions named as the ops, with the arguments of
            `chainrule.backends.reference`. The reference lends it the ops that it lacks.
        serves: device types and dtypes, as ("cuda", torch.float32). It computes with them from now
            on, wherever nothing else was chosen. None is all of them, once it is chosen.

    Raises:
        ValueError: the name is "reference".
    """
    global _standard
    if name == "reference":
        raise ValueError('"reference" is what all backends are measured by; take another name')
    added = _as_backend(source, name, None if serves is None else tuple(serves))
    if added.serves is not None:
        _standard = _table().below(added)
    _backends[name] = added


def empty_cache() -> int:
    """Give back the memory that backends keep to use it again; returns how many bytes that was.

    Memory of tensors, and of kernels that run at this moment, stays where it is.
    """
    sources = [known.source for known in _backends.values()]
    return sum(source.empty_cache() for source in sources if hasattr(source, "empty_cache"))


def _table() -> Table:
    """The process's table."""
    global _standard
    if _standard is None:
        _standard = _with_registered(_first_choice())
    return _standard


def _with_registered(chosen: Backend | None) -> Table:
    """What was registered for a device and dtype, and `chosen` over it where there is one."""
    if "triton" not in _backends and _new_gpu() and find_spec("triton"):
        _backends["triton"] = _named("triton")
    table = Table({}, REFERENCE.ops)
    for each in (*_backends.values(), *([chosen] if chosen else ())):
        if each.serves is not None or each is chosen:
            table = table.below(each)
    return table


def _new_gpu() -> bool:
    """Whether there are GPUs, and none is older than what Triton compiles for."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return count > 0 and all(
        torch.cuda.get_device_capability(place) >= _OLDEST for place in range(count)
    )


_OLDEST = (7, 5)  # Turing


def _first_choice() -> Backend | None:
    """What was wished for, or the compiled kernels; None where neither is."""
    wish = os.environ.get("CHAINRULE_BACKEND")
    if wish:
        return _named(wish)
    try:
        return _named("native")
    except ImportError as error:
        logging.getLogger("chainrule").warning("%s", error)
        return None


def _named(name: str) -> Backend:
    if name == "native" and name not in _backends:
        native = _load_native()
        _backends[name] = _as_backend(native, name, native.SERVES)
    if name == "triton" and name not in _backends:
        triton = _load_triton()
        _backends[name] = _as_backend(triton, name, triton.SERVES)
    if name not in _backends:
        names = " or ".join(f'"{known}"' for known in sorted({"native", *_backends}))
        raise ValueError(f"there is no backend {name!r}; choose {names}")
    return _backends[name]


def _as_backend(source: Any, name: str = "", serves: tuple[Key, ...] | None = None) -> Backend:
    name = name or getattr(source, "__name__", type(source).__name__)
    return Backend(source, Ops(name, source), serves)


def _load_native() -> Any:
    try:
        return importlib.import_module("chainrule.backends.native")
    except ImportError as error:
        raise ImportError(
            f"chainrule runs without its compiled kernels, several times slower: {_why(error)}"
        ) from error


def _load_triton() -> Any:
    try:
        return importlib.import_module("chainrule.backends.triton")
    except ImportError as error:
        raise ImportError(
            f"the kernels for GPUs need Triton, which isn't there ({error}); install it with "
            "pip install 'noise2noise[gpu]'"
        ) from error


def _why(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == "chainrule._native":
        return (
            "they were not built when it was installed (install GCC or Clang, then install "
            "noise2noise again)"
        )
    return f"they are there but can't be loaded ({error}); install noise2noise again"

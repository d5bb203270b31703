"""Libraries that not everybody has: each comes with an extra of the package."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator

from noise2noise.files.guard import UnusableError


@contextlib.contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Around the import of what reads one family of formats.

    Arguments:
        extra: of this package, which brings it.
        what: the file is, for people: "a FITS file".

    Raises:
        UnusableError: it isn't installed.
    """
    try:
        yield
    except ImportError as error:
        raise UnusableError(f"is {what}, which needs {error.name}; {_advice(extra)}") from None


def missing(module: str, extra: str, name: str) -> str:
    """Why a format of this name can't be written without `module`: "" if that is installed."""
    try:
        installed = importlib.util.find_spec(module) is not None
    except ValueError:  # it is loaded, but without a place that it came from
        installed = False
    return "" if installed else f"{name} needs {module}; {_advice(extra)}"


def _advice(extra: str) -> str:
    return f"install it with: pip install 'noise2noise[{extra}]'"

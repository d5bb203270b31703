"""Libraries that not everybody has: each comes with an extra of the package."""

from __future__ import annotations

import importlib
from typing import Any

from noise2noise.files.guard import UnusableError


def library(module: str, extra: str, what: str) -> Any:
    """Import a module that reads one family of formats.

    Arguments:
        module: to import.
        extra: of this package, which brings it.
        what: the file is, for people: "a FITS file".

    Raises:
        UnusableError: it isn't installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        reason = f"is {what}, which needs {module}; {advice(extra)}"
        raise UnusableError(reason) from None


def missing(module: str, extra: str, what: str) -> str:
    """Why a file of such a format can't be written: "" if it can.

    Arguments:
        module, extra: as for `library`.
        what: can't be written, for people: "FITS".
    """
    try:
        importlib.import_module(module)
    except ImportError:
        return f"{what} needs {module}; {advice(extra)}"
    return ""


def advice(extra: str) -> str:
    """What to do for an extra."""
    return f"install it with: pip install 'noise2noise[{extra}]'"

"""Names of a package that are imported when they are asked for (PEP 562).

`import noise2noise` and `noise2noise --help` then load neither PyTorch nor NumPy. A package that
does so lists its names for type checkers, too, under `if TYPE_CHECKING`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """The `__getattr__` of a package.

    Arguments:
        package: its `__name__`.
        homes: by the name of a module in it, the names that come from there, with spaces between.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def get(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{home_of[name]}", package), name)
        setattr(sys.modules[package], name, value)  # from now on it is found at once
        return value

    return get

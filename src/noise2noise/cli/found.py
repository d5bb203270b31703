"""What of this package is installed, told without loading any of it."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import os
from pathlib import Path


def version() -> str:
    """`noise2noise 0.1.0 (native backend)`."""
    return f"noise2noise {importlib.metadata.version('noise2noise')} ({_backend()} backend)"


def _backend() -> str:
    """What `chainrule.backend()` would say, as far as files and the environment tell."""
    return os.environ.get("CHAINRULE_BACKEND") or ("native" if _compiled() else "reference")


def _compiled() -> bool:
    package = importlib.util.find_spec("chainrule")
    places = package.submodule_search_locations if package else None
    return any(
        Path(place, f"_native{suffix}").exists()
        for place in places or ()
        for suffix in importlib.machinery.EXTENSION_SUFFIXES
    )

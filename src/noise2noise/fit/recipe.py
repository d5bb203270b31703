"""Recipes: what makes a model, in a TOML file whose keys are the fields of `TrainingConfig`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from noise2noise.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


def read_recipe(path: Path) -> dict[str, Any]:
    """The options in a recipe, for `configure` to check. Paths in it count from the current folder.

    Raises:
        UserError: there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"can't read the recipe {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested without end
        raise UserError(f"the recipe {path} is not TOML: {error}") from error

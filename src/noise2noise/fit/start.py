"""How a run begins or goes on: what is asked for, completed, and where it is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noise2noise.errors import UserError
from noise2noise.files import is_image_folder, list_images, open_stack
from noise2noise.fit.configuration import RECORDED, SOURCES, TrainingConfig, configure, flag
from noise2noise.fit.lock import refuse_locked
from noise2noise.fit.recipe import read_recipe
from noise2noise.fit.trainer import stored_config

GENTLE = 2e-4
"""The learning rate of a model that is begun with, unless another is asked for: large steps would
make it forget."""

_OWN = ("architecture", "sizes", "start_from", "validation", "corruption")
_MULTIPLE = 8  # of crops, for the shipped models


def completed(asked: Mapping[str, Any], recipe: Path | None) -> dict[str, Any]:
    """What was asked for, and a recipe for the rest; another source replaces the recipe's.

    Raises:
        UserError: the recipe can't be read.
    """
    if recipe is None:
        return {**asked}
    read = read_recipe(recipe)
    if any(name in asked for name in SOURCES):
        read = {name: value for name, value in read.items() if name not in SOURCES}
    return {**read, **asked}


def stored(out: Path, asked: Mapping[str, Any], overwrite: bool) -> TrainingConfig:
    """The run's own configuration, and what is given again; the Trainer compares the two. The
    device that it ran on needn't be here.

    Raises:
        UserError: there is no run, it is written to, or it is to be replaced as well.
    """
    if overwrite:
        raise UserError("--resume goes on with the run and --overwrite replaces it; give one only")
    refuse_locked(out)
    kept = stored_config(out)
    for name in SOURCES:
        if name in asked and getattr(kept, name) is None:
            raise UserError(
                f"the run in {out} does not learn from {flag(name)}; leave it out to resume, or "
                "start a new run in another folder"
            )
    return configure(**{**kept.model_dump(exclude={"device"}), **asked})


def new(out: Path, asked: Mapping[str, Any], overwrite: bool) -> TrainingConfig:
    """The configuration of a new run, which begins with a shipped model if nothing else is said.

    Raises:
        UserError: the options can't be, or the folder.
    """
    flags = {name: flag(name) for name in SOURCES}
    sources = [name for name in flags if asked.get(name) is not None]
    if len(sources) != 1:
        raise UserError(
            f"give one of {', '.join(flags.values())} to learn from, "
            f"got {' and '.join(flags[name] for name in sources) or 'none'}"
        )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder for the run")
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise UserError(f"{out} can't be made: {nearest} is no folder that can be written to")
    refuse_locked(out)
    if (out / "last.safetensors").exists() and not overwrite:
        raise UserError(
            f"{out} holds a run already; add --resume to go on with it, --overwrite to replace it, "
            "or choose another folder"
        )
    return configure(**_begun(asked))


def _begun(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, with a model to begin with where images were recorded and nothing is said
    of the network; of one that is begun with, the learning rate."""
    result = {**asked}
    (source,) = (name for name in SOURCES if asked.get(name) is not None)
    own = any(asked.get(name) for name in _OWN) or (asked.get("crop") or 0) % _MULTIPLE
    if source in RECORDED and not own:
        model = _shipped_for(asked[source])
        if model:
            result["start_from"] = model
    if result.get("start_from") is not None:
        result.setdefault("learning_rate", GENTLE)
    return result


def _shipped_for(place: Any) -> str:
    """The shipped model for images with these colours; "" where they can't be looked at: whoever
    reads all of them will say why."""
    first = Path(place[0] if isinstance(place, list | tuple) else place)
    try:
        while first.is_dir() and not is_image_folder(first):
            inner = sorted(each for each in first.iterdir() if each.name[0] != ".")
            folders = [each for each in inner if each.is_dir() and not is_image_folder(each)]
            first = folders[0] if folders else list_images(first)[0]
        with open_stack(first) as stack:
            return "photo" if stack.header.colour == "rgb" else "grey"
    except (OSError, UserError):
        return ""

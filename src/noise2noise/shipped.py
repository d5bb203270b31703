"""The models that come with the package: what and where they are. Nothing is loaded to tell."""

from __future__ import annotations

import difflib
import json
import math
from pathlib import Path

from noise2noise.errors import UserError
from noise2noise.model_info import ModelInfo

WEIGHTS = Path(__file__).parent / "weights"
"""The models that come with the package."""


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def shipped_info(name: str) -> ModelInfo:
    """What the file of a shipped model says in its header: eight bytes that tell the length of a
    JSON object, and this (https://github.com/huggingface/safetensors#format).

    Only for files of our own: `model_file.read_model` doesn't believe what strangers' files say.

    Raises:
        UserError: it is damaged.
    """
    path = WEIGHTS / f"{name}.safetensors"
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        said = header.pop("__metadata__")
        return ModelInfo(
            name=name,
            architecture=said["architecture"],
            sizes=json.loads(said["sizes"]),
            title=said["title"],
            noise=said["noise"],
            parameters=sum(math.prod(entry["shape"]) for entry in header.values()),
        )
    except (OSError, ValueError, LookupError) as error:
        raise UserError(f"{path} is damaged; install the package again") from error


def find_model(model: str | Path) -> Path:
    """The file of a shipped model, a training run's best model, or the file itself.

    Raises:
        UserError: there is no such model.
    """
    # Shipped names first: a folder named photo must not hide the model that is used by default.
    known = shipped_models()
    if str(model) in known:
        return WEIGHTS / f"{model}.safetensors"
    path = Path(model)
    if (path / "best.safetensors").is_file():
        return path / "best.safetensors"
    if path.is_dir():
        raise UserError(
            f"the folder {path} holds no best.safetensors, which training writes at the end of its "
            "first epoch; name a folder of a training run, or a model file"
        )
    if path.is_file():
        return path
    near = difflib.get_close_matches(str(model), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}, or a file"
    raise UserError(f"there is no model {str(model)!r}; {hint}")

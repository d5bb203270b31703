"""Puts the best model of a run among the shipped ones: its weights in half precision, which changes
no result by as much as 8 bits can show, and a manifest of where they come from.

    python recipes/ship.py runs/photo recipes/photo.toml --data "600 of ImageNet, 400 of BSDS500"
"""

import argparse
import csv
import hashlib
import json
import platform
from datetime import date
from pathlib import Path

import torch

from chainrule.serialization import load_tensors, save_tensors
from noise2noise.shipped import WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("recipe", type=Path, help="what it was trained by; its name is the model's")
    parser.add_argument("--data", required=True, help="what it learned from, in words")
    parser.add_argument("--note", default="", help="what was done otherwise than the recipe says")
    options = parser.parse_args()
    tensors, facts = load_tensors(options.run / "best.safetensors")
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    target = WEIGHTS / f"{options.recipe.stem}.safetensors"
    save_tensors(target, halves, facts, overwrite=True)
    manifest = {
        "recipe": options.recipe.as_posix(),
        "note": options.note,
        "data": options.data,
        **_course(options.run / "history.csv"),
        "shipped": date.today().isoformat(),
        "pytorch": torch.__version__,
        "python": platform.python_version(),
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
    }
    text = json.dumps({k: v for k, v in manifest.items() if v != ""}, indent=2)
    target.with_suffix(".json").write_text(text + "\n")
    print(text)


def _course(history: Path) -> dict[str, object]:
    """How long it was trained, and how good its best epoch was on the images held back."""
    with history.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        "steps": int(rows[-1]["step"]),
        "hours": round(sum(float(row["seconds"]) for row in rows) / 3600, 1),
        "validation_psnr": max(float(row["validation_psnr"]) for row in rows),
    }


if __name__ == "__main__":
    main()

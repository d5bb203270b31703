"""`noise2noise models`: what is there to denoise with."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from noise2noise import shipped
from noise2noise.cli.common import JSON_OPTION, examples, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("models", epilog=examples("noise2noise models", "noise2noise models --json"))(
        models
    )


def models(as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """List the models that come with the package."""
    infos = [shipped.shipped_info(name) for name in shipped.shipped_models()]
    if as_json:
        known = (asdict(info).items() for info in infos)
        print_json([{name: value for name, value in each if value is not None} for each in known])
        return
    for info in infos:
        size = (shipped.WEIGHTS / f"{info.name}.safetensors").stat().st_size
        channels = info.sizes["channels"]
        print(f"{info.name:<10} {info.title}")
        print(
            f"{'':<10} learned from {info.noise}; network {info.architecture}, {channels} "
            f"channel{'' if channels == 1 else 's'}, {info.parameters:,} parameters, "
            f"{size / 2**20:.1f} MiB"
        )

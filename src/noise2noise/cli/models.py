"""`noise2noise models`: what is there to denoise with."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from noise2noise.cli.common import JSON_OPTION, examples, print_json, results
from noise2noise.denoiser import Denoiser
from noise2noise.shipped import WEIGHTS, shipped_models


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("models", epilog=examples("noise2noise models", "noise2noise models --json"))(
        models
    )


def models(as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """List the models that come with the package."""
    infos = [Denoiser.load(name).info for name in shipped_models()]
    if as_json:
        print_json([asdict(info) for info in infos])
        return
    table = Table("name", "noise", "network", "parameters", "size", "what it is", box=None)
    for info in infos:
        size = (WEIGHTS / f"{info.name}.safetensors").stat().st_size
        network = f"{info.architecture}, {info.sizes['channels']} ch."
        table.add_row(
            info.name,
            info.noise,
            network,
            f"{info.parameters:,}",
            f"{size / 2**20:.1f} MiB",
            info.title,
        )
    results.print(table)

"""`noise2noise train`: learn to denoise from pairs of noisy images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from noise2noise.cli.common import OUT_FLAGS, OVERWRITE_OPTION, corruptions, examples
from noise2noise.cli.options import given, with_options_of
from noise2noise.fit.configuration import TrainingConfig


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "train",
        epilog=examples(
            "noise2noise train --pairs shots_a/ shots_b/ --out runs/microscope",
            "noise2noise train --stack film.tif --out runs/film",
            "noise2noise train --burst shots/ --register --out runs/camera",
            "noise2noise train --pairs-file train_data.pkl --validation val_data.pkl --crop 32 "
            "--out runs/course",
            "noise2noise train --photos photos/ --corruption gaussian:0-50 --out runs/photos",
            "noise2noise train --generated 500 --corruption poisson:30 --out runs/poisson",
            "noise2noise train --out runs/microscope --resume",
            "torchrun --nproc-per-node 2 -m noise2noise train --photos photos/ --corruption "
            "gaussian:0-50 --out runs/photos",
        )
        + corruptions(),
    )(train)


@with_options_of(TrainingConfig)
def train(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(*OUT_FLAGS, help="The folder to keep the run in.", rich_help_panel="Run"),
    ],
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TOML file of these options, such as recipes/photo.toml, with names like "
            "batch_size; what stands on the command line comes first.",
            rich_help_panel="Run",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the run in --out; its options are kept.",
            rich_help_panel="Run",
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help=OVERWRITE_OPTION.help, rich_help_panel="Run"),
    ] = False,
    **options: Any,
) -> None:
    """Train a denoiser. It needs no clean image, only pairs of noisy ones.

    The run's folder holds config.json, last and best .safetensors, history.csv and curves.png.
    Ctrl-C saves; --resume goes on as if nothing had happened, to the bit. In several processes:
    torchrun --nproc-per-node 2 -m noise2noise train ...
    """
    from noise2noise.cli.training import run

    run(out, given(context, TrainingConfig), recipe, resume, overwrite)

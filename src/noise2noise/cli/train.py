"""`noise2noise train`: learn to denoise from pairs of noisy images."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from chainrule import summary
from noise2noise.cli.common import OVERWRITE_OPTION, corruptions, examples, messages
from noise2noise.errors import UserError
from noise2noise.networks import ARCHITECTURES
from noise2noise.training import Trainer, TrainingConfig, TrainingStopped, configure, stored_config


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "train",
        epilog=examples(
            "noise2noise train --pairs shots_a/ shots_b/ --out runs/microscope",
            "noise2noise train --pairs-file train_data.pkl --validation val_data.pkl --crop 32 "
            "--out runs/course",
            "noise2noise train --photos photos/ --corruption gaussian:0-50 --out runs/photos",
            "noise2noise train --generated 500 --corruption poisson:30 --out runs/poisson",
            "noise2noise train --out runs/microscope --resume",
        )
        + corruptions(),
    )(train)


_DEFAULTS = TrainingConfig.model_construct()


def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The folder to keep the run in.")],
    pairs: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="FOLDER FOLDER",
            help="Two folders of noisy images; files of the same name show the same scene.",
        ),
    ] = None,
    pairs_file: Annotated[
        Path | None, typer.Option(help="A .pkl of two uint8 tensors (N, C, H, W) of noisy images.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(help="A folder of photographs to add noise to; see --corruption.")
    ] = None,
    generated: Annotated[
        int | None, typer.Option(help="How many pictures to generate and add noise to.")
    ] = None,
    corruption: Annotated[
        str | None, typer.Option(help="The noise to add, such as gaussian:25; see below.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="A .pkl of (noisy, clean) tensors. By default one image in twenty is held back."
        ),
    ] = None,
    crop: Annotated[int, typer.Option(help="Side of the crops, in pixels.")] = _DEFAULTS.crop,
    architecture: Annotated[
        str, typer.Option(help=f"{', '.join(ARCHITECTURES)}.")
    ] = _DEFAULTS.architecture,
    size: Annotated[
        list[str] | None,
        typer.Option(help="A size of the architecture, such as width=64; may be repeated."),
    ] = None,
    loss: Annotated[
        str,
        typer.Option(
            help="mse; log-mse where some images are much noisier than others; l1 for noise such "
            "as text and impulses."
        ),
    ] = _DEFAULTS.loss,
    optimizer: Annotated[str, typer.Option(help="adam, adamw or sgd.")] = _DEFAULTS.optimizer,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", "--lr", help="The largest learning rate.")
    ] = _DEFAULTS.learning_rate,
    momentum: Annotated[float, typer.Option(help="Of sgd.")] = _DEFAULTS.momentum,
    schedule: Annotated[
        str, typer.Option(help="cosine, ramp-down or constant.")
    ] = _DEFAULTS.schedule,
    clip_norm: Annotated[
        float | None, typer.Option(help="Scale larger gradients down to this norm.")
    ] = _DEFAULTS.clip_norm,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = _DEFAULTS.epochs,
    batch_size: Annotated[int, typer.Option(help="Crops in a step.")] = _DEFAULTS.batch_size,
    seed: Annotated[int, typer.Option(help="Makes the run repeatable.")] = _DEFAULTS.seed,
    workers: Annotated[
        int, typer.Option(help="Threads that prepare batches; changes nothing but the speed.")
    ] = _DEFAULTS.workers,
    start_from: Annotated[
        str | None,
        typer.Option(
            help="A model to begin with, such as photo: a shipped one, a file, or a run's folder."
        ),
    ] = _DEFAULTS.start_from,
    title: Annotated[
        str | None, typer.Option(help="One line about the model, kept in its file.")
    ] = _DEFAULTS.title,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; its options are kept.")
    ] = False,
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
) -> None:
    """Train a denoiser. It needs no clean image, only pairs of noisy ones.

    The run's folder holds config.json, last and best .safetensors, history.csv and curves.png.
    Ctrl-C saves; --resume goes on as if nothing had happened, to the bit.
    """
    given = _given(context)
    config = (_stored if resume else _new)(out, given, overwrite)
    trainer = Trainer(config, out, messages)
    if resume:
        trainer.resume()
    _describe(trainer)
    try:
        trainer.fit()
    except TrainingStopped as stop:
        messages.print(
            f"{stop}; everything is saved. Go on with:\n"
            f"  noise2noise train --out {shlex.quote(str(out))} --resume"
        )
        raise typer.Exit(130) from None
    messages.print(
        f"best: {trainer.position.best_psnr:.2f} dB, in {trainer.best}\n"
        f"use it with: noise2noise denoise image.png --model {shlex.quote(str(out))}"
    )


def _given(context: typer.Context) -> dict[str, Any]:
    """The options that stand on the command line, by the names of TrainingConfig."""
    given = {name: value for name, value in context.params.items() if _is_given(context, name)}
    for name in ("out", "resume", "overwrite"):
        given.pop(name, None)
    if "size" in given:
        given["sizes"] = dict(_size(text) for text in given.pop("size"))
    return given


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _size(text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not equals or not number.isdecimal():
        raise UserError(f"--size must be like width=64, got {text!r}")
    return name, int(number)


_SOURCES = {
    "pairs": "--pairs",
    "pairs_file": "--pairs-file",
    "photos": "--photos",
    "generated": "--generated",
}


def _stored(out: Path, given: dict[str, Any], overwrite: bool) -> TrainingConfig:
    """The run's own configuration, and what is given again; the Trainer compares the two."""
    if overwrite:
        raise UserError("--resume goes on with the run and --overwrite replaces it; give one only")
    stored = stored_config(out)
    for name, option in _SOURCES.items():
        if name in given and getattr(stored, name) is None:
            raise UserError(
                f"the run in {out} does not learn from {option}; leave it out to resume, "
                "or start a new run in another folder"
            )
    return configure(**{**stored.model_dump(), **given})


def _new(out: Path, given: dict[str, Any], overwrite: bool) -> TrainingConfig:
    sources = [option for name, option in _SOURCES.items() if name in given]
    if len(sources) != 1:
        raise UserError(
            f"give one of {', '.join(_SOURCES.values())} to learn from, "
            f"got {' and '.join(sources) or 'none'}"
        )
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder for the run")
    nearest = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise UserError(f"{out} can't be made: {nearest} is no folder that can be written to")
    if (out / "last.safetensors").exists() and not overwrite:
        raise UserError(
            f"{out} holds a run already; add --resume to go on with it, --overwrite to replace it, "
            "or choose another folder"
        )
    return configure(**given)


def _describe(trainer: Trainer) -> None:
    config = trainer.config
    shape = (config.batch_size, trainer.source.channels, config.crop, config.crop)
    cost = summary(trainer.model, shape)
    reference = "clean images" if trainer.validation.reference_is_clean else "noisy partners"
    images = len(trainer.validation.pairs)
    done = trainer.position
    lines = [
        f"data        {trainer.source.describe()}",
        f"validation  {images} image{'' if images == 1 else 's'}, PSNR against {reference}",
        f"network     {config.architecture}, {cost.parameters:,} parameters",
        f"training    {config.epochs} epochs of {trainer.steps_per_epoch} steps "
        f"of {config.batch_size} crops, kept in {trainer.folder}",
    ]
    if done.epoch >= config.epochs:
        lines.append(f"resumed     all {done.epoch} epochs are done; add --epochs to train longer")
    elif done.epoch or done.step:
        lines.append(f"resumed     in epoch {done.epoch + 1}, after step {done.step}")
    messages.print("\n".join(lines))

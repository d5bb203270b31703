"""What can be asked of a run. Every option stands here once, with its default, its bounds and its
text; `noise2noise train` makes its own from them (`noise2noise.cli.options`).
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from noise2noise.catalogue import NETWORKS
from noise2noise.errors import UserError

SOURCES = ("pairs", "stack", "burst", "pairs_file", "photos", "generated")
"""Where pairs can come from; a run has exactly one of them."""

RECORDED = ("pairs", "stack", "burst")
"""Those that are images as they were taken, in files of any format."""

# What a resumed run may have otherwise than before: where its data lie, how long and how fast.
MAY_CHANGE = {
    *RECORDED,
    *("pairs_file", "photos", "validation", "epochs", "workers", "title"),
    *("accumulate", "shard_optimizer", "device"),
}

_DATA, _NETWORK, _TRAINING, _RUN = "Data", "Network", "Training", "Run"


def _option(
    panel: str, default: Any, text: str, flags: tuple[str, ...] = (), metavar: str = "", **more: Any
) -> Any:
    """A field; `flags` and `metavar` are the command's where its name and type don't tell them."""
    command = {"panel": panel, "flags": flags, "metavar": metavar}
    return Field(default, description=text, json_schema_extra=command, **more)


class TrainingConfig(BaseModel):
    """What to train, on what, and how: `noise2noise train --help` shows all with their meaning.

    Exactly one of `SOURCES` must be given; `configure` checks it. The size channels is taken from
    the images; where it is given, photographs and generated pictures follow it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: tuple[Path, Path] | None = _option(
        _DATA,
        None,
        "Two folders of noisy images; files of the same name, or all in folders of the same name, "
        "show the same scene.",
        metavar="FOLDER FOLDER",
    )
    stack: Path | None = _option(
        _DATA,
        None,
        "A film or stack of noisy frames, or a folder of them: neighbours are pairs.",
        metavar="FILE",
    )
    burst: Path | None = _option(
        _DATA,
        None,
        "A folder that holds a folder of noisy shots for each scene: every two are a pair.",
        metavar="FOLDER",
    )
    registration: bool = _option(
        _DATA,
        False,
        "Move shots into place that are more than half a pixel apart, by whole pixels; otherwise "
        "they are left out.",
        flags=("--register",),
    )
    pairs_file: Path | None = _option(
        _DATA, None, "A .pkl of two uint8 tensors (N, C, H, W) of noisy images.", metavar="FILE"
    )
    photos: Path | None = _option(
        _DATA, None, "A folder of photographs to add noise to; see --corruption.", metavar="FOLDER"
    )
    generated: int | None = _option(
        _DATA, None, "How many pictures to generate and add noise to.", ge=2
    )
    corruption: str | None = _option(
        _DATA, None, "The noise to add, such as gaussian:25; see below.", metavar="NOISE"
    )
    target_shots: int = _option(
        _DATA,
        1,
        "Targets are means of so many noisy versions (drawn noise, architecture guided).",
        ge=1,
    )
    varied: bool = _option(
        _DATA,
        False,
        "Crops at two scales, in any light, a few of them flat (drawn noise, architecture guided).",
    )
    validation: Path | None = _option(
        _DATA,
        None,
        "A .pkl of (noisy, clean) tensors. By default one image in twenty is held back.",
        metavar="FILE",
    )
    crop: int | None = _option(
        _DATA, None, "Side of the crops, in pixels; by default 64, or what fits into pairs.", ge=8
    )
    architecture: str = _option(_NETWORK, "compact", f"{', '.join(NETWORKS)}.", metavar="NAME")
    sizes: dict[str, int] = _option(
        _NETWORK,
        {},
        "A size of the architecture, such as width=64; may be repeated.",
        flags=("--size",),
        metavar="NAME=NUMBER",
    )
    start_from: str | None = _option(
        _NETWORK,
        None,
        "A model to begin with, such as photo: a shipped one, a file, or a run's folder. "
        "Its architecture and sizes are taken, too.",
        metavar="MODEL",
    )
    title: str | None = _option(
        _NETWORK, None, "One line about the model, kept in its file.", metavar="TEXT"
    )
    loss: Literal["mse", "log-mse", "l1"] = _option(
        _TRAINING,
        "mse",
        "mse for noise that averages out; log-mse where some images are much noisier than others; "
        "l1 for noise such as text and impulses.",
    )
    optimizer: Literal["adam", "adamw", "sgd"] = _option(
        _TRAINING, "adam", "What turns gradients into steps."
    )
    learning_rate: float = _option(
        _TRAINING,
        1e-3,
        "The largest learning rate.",
        flags=("--learning-rate", "--lr"),
        gt=0,
        allow_inf_nan=False,
    )
    momentum: float = _option(_TRAINING, 0.9, "Of sgd.", ge=0, lt=1)
    schedule: Literal["cosine", "ramp-down", "constant"] = _option(
        _TRAINING, "cosine", "How the learning rate falls."
    )
    warmup: int = _option(
        _TRAINING, 0, "Steps in which the learning rate rises to where the schedule has it.", ge=0
    )
    clip_norm: float | None = _option(
        _TRAINING, None, "Scale larger gradients down to this norm.", gt=0
    )
    ema: float | None = _option(
        _TRAINING,
        None,
        "Validate and keep the running average of the weights, of this decay: 0.999 is the mean "
        "of about the last 1,000 steps.",
        ge=0,
        lt=1,
    )
    epochs: int | None = _option(
        _TRAINING,
        None,
        "Passes over the data; by default 30, or more of small data, for 6,000 steps (10, or 1,500 "
        "steps, of a model that is begun with).",
        ge=1,
    )
    batch_size: int = _option(_TRAINING, 16, "Crops in a step.", ge=1)
    accumulate: int = _option(
        _TRAINING,
        1,
        "Parts that each batch is computed in, one after another: less memory, the same steps.",
        ge=1,
    )
    shard_optimizer: bool = _option(
        _TRAINING,
        False,
        "Each process of several keeps a part of the optimizer's state: less memory.",
    )
    seed: int = _option(_TRAINING, 0, "Makes the run repeatable.", ge=0)
    workers: int | None = _option(
        _RUN,
        None,
        "Threads that prepare batches, by default 2; processes, one for each core, where they are "
        "for a GPU. Changes nothing but the speed.",
        ge=1,
    )
    device: str = _option(
        _RUN, "auto", "What computes: auto, cpu, cuda, cuda:1; by default a GPU if there is one."
    )


def flag(name: str) -> str:
    """The command's option of a field, such as --batch-size."""
    extra = TrainingConfig.model_fields[name].json_schema_extra
    flags = extra["flags"] if isinstance(extra, dict) else ()
    return str(flags[0]) if isinstance(flags, tuple) and flags else f"--{name.replace('_', '-')}"


def _as_it_starts(model: str, options: dict[str, object]) -> dict[str, object]:
    """The options, with the architecture and sizes of the model to start from; channels follow the
    images."""
    from noise2noise.denoiser import Denoiser  # the command's options need none of it

    info = Denoiser.load(model, "cpu").info
    sizes = {name: size for name, size in info.sizes.items() if name != "channels"}
    given = options.get("sizes", {})
    if not isinstance(given, dict):
        return options
    return {**options, "architecture": info.architecture, "sizes": {**sizes, **given}}


def configure(**options: object) -> TrainingConfig:
    """A TrainingConfig, with what is wrong in one sentence.

    Where a model to start from is named and no architecture, the model's is taken, and its sizes.

    Raises:
        UserError: an option is unknown, of the wrong type, or out of range, or there is no such
            model.
    """
    if isinstance(options.get("start_from"), str) and "architecture" not in options:
        options = _as_it_starts(str(options["start_from"]), options)
    try:
        config = TrainingConfig.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, TrainingConfig.model_fields, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"there is no option {name}{hint}") from None
        raise UserError(f"{name}: {first['msg'].lower()}, got {first['input']!r}") from None
    if sum(getattr(config, source) is not None for source in SOURCES) != 1:
        raise UserError(
            "give exactly one source: two folders of pairs, a stack, a folder of bursts, a file of "
            "pairs, a folder of photographs, or a number of generated pictures"
        )
    if config.registration and all(getattr(config, source) is None for source in RECORDED):
        raise UserError("--register is for pairs, a stack or a burst; leave it out")
    makes_noise = config.photos is not None or config.generated is not None
    if makes_noise != (config.corruption is not None):
        raise UserError(
            "photographs and generated pictures need a corruption, such as gaussian:25"
            if makes_noise
            else f"the pairs are noisy already; leave out the corruption {config.corruption}"
        )
    return config

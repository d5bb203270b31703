"""`noise2noise train` at work: a run is checked, begun or gone on with, and told."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as dist
import typer

from chainrule import distributed, summary
from noise2noise.cli.attended import Terminal
from noise2noise.cli.common import messages
from noise2noise.errors import UserError
from noise2noise.fit import Trainer, TrainingStopped
from noise2noise.fit.rival import beaten_by_shipped
from noise2noise.fit.start import completed, new, stored
from noise2noise.networks import ARCHITECTURES


def run(
    out: Path, asked: dict[str, Any], recipe: Path | None, resume: bool, overwrite: bool
) -> None:
    """Train as `asked`, and as the recipe has it where nothing is asked.

    Raises:
        UserError: the options can't be, or the run's folder or data.
    """
    asked = completed(asked, recipe)
    with together():
        _train(out, asked, resume, overwrite)


def _train(out: Path, asked: dict[str, Any], resume: bool, overwrite: bool) -> None:
    restarted = _was_restarted(out)
    if restarted:
        resume, overwrite = True, False
    config = (stored if resume else new)(out, asked, overwrite)
    distributed.sums(0)  # nobody looks at the folder any more: the first may begin to write
    terminal = Terminal()
    trainer = Trainer(config, out, terminal)
    if resume:
        trainer.resume(restarted)
    _describe(trainer)
    try:
        terminal.fit(trainer)
    except TrainingStopped as stop:
        messages.print(
            f"{stop}; everything is saved. Go on with:\n"
            f"  noise2noise train --out {shlex.quote(str(out))} --resume"
        )
        raise typer.Exit(130) from None
    beaten = beaten_by_shipped(trainer)
    if beaten:
        messages.print(beaten)
    messages.print(
        f"best: {trainer.position.best_psnr:.2f} dB, in {trainer.best}\n"
        f"use it with: noise2noise denoise image.png --model {shlex.quote(str(out))}"
    )


@contextmanager
def together() -> Iterator[None]:
    """With the other processes that torchrun started; only the first of them speaks.

    Raises:
        UserError: another process has gone.
    """
    if not distributed.launched():
        yield
        return
    distributed.join()
    messages.quiet = distributed.rank() > 0
    try:
        yield
    except dist.DistBackendError as error:
        raise _lost(error) from error
    except RuntimeError as error:  # gloo has no error of its own
        if "gloo" not in str(error):
            raise
        raise _lost(error) from error
    finally:
        messages.quiet = False
        distributed.leave()


def _lost(error: Exception) -> UserError:
    return UserError(
        f"another process of this run is gone ({str(error).splitlines()[0]}); what was saved is "
        "still there: start all of them again with --resume"
    )


def _was_restarted(out: Path) -> bool:
    """Whether torchrun has started this process again, with a run to go on with."""
    restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    return restarted and (out / "last.safetensors").exists()


def _describe(trainer: Trainer) -> None:
    config = trainer.config
    inputs = ARCHITECTURES[config.architecture].inputs(trainer.sizes)
    shape = (config.batch_size, inputs, trainer.source.crop, trainer.source.crop)
    cost = summary(trainer.model, shape)
    reference = "clean images" if trainer.validation.reference_is_clean else "noisy partners"
    images = len(trainer.validation.pairs)
    done = trainer.position
    begun = f", begun with {config.start_from}" if config.start_from else ""
    lines = [
        f"data        {trainer.source.describe()}",
        f"validation  {images} image{'' if images == 1 else 's'}, PSNR against {reference}",
        f"network     {config.architecture}, {cost.parameters:,} parameters{begun}",
        f"training    {trainer.epochs} epochs of {trainer.steps_per_epoch} steps "
        f"of {config.batch_size} crops, kept in {trainer.folder}",
    ]
    if done.epoch >= trainer.epochs:
        lines.append(f"resumed     all {done.epoch} epochs are done; add --epochs to train longer")
    elif done.epoch or done.step:
        lines.append(f"resumed     in epoch {done.epoch + 1}, after step {done.step}")
    messages.print("\n".join(lines))

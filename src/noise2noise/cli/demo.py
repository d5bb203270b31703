"""`noise2noise demo`: train on generated noisy pairs, then denoise a photograph never seen."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise2noise.cli.common import OUT_FLAGS, OVERWRITE_OPTION, device_option, examples, print_error
from noise2noise.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from noise2noise.fit import Trainer

NOISE = "gaussian:25"

PICTURES = 320

_WHAT_HAPPENS = f"""\
{PICTURES} pictures of overlapping shapes are made up, and two noisy versions are drawn of each. A
small network learns to predict the one from the other. The noise can't be predicted, so it learns
the picture; it is shown no clean picture, and no photograph. Some minutes; Ctrl-C stops."""

_WHAT_NEXT = """\
Look at the picture: noisy, denoised, and the photograph without noise. Then:
  noise2noise denoise photo.jpg                               with the model that is shipped
  noise2noise denoise photo.jpg --model {out}
                                                              with this one, which knows less
  noise2noise train --pairs first/ second/ --out runs/mine    on two noisy images of each scene"""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("demo", epilog=examples("noise2noise demo", "noise2noise demo --out /tmp/demo"))(
        demo
    )


def demo(
    out: Annotated[Path, typer.Option(*OUT_FLAGS, help="Where the run and the picture go.")] = Path(
        "noise2noise-demo"
    ),
    overwrite: Annotated[bool, OVERWRITE_OPTION] = False,
    device: Annotated[str, device_option()] = "auto",
) -> None:
    """Watch a network learn from noise alone: some minutes, no download, no clean image.

    Generates pictures of overlapping shapes, draws two noisy versions of each, trains a small
    network to predict the one from the other, and cleans up a photograph with it.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; name a folder for the run")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists already; choose another --out or add --overwrite")
    from noise2noise.device import resolved

    device = str(resolved(device))
    print(_WHAT_HAPPENS, file=sys.stderr)
    print(_show(_train(out, device), out / "comparison.png", overwrite))
    print(_WHAT_NEXT.format(out=shlex.quote(str(out))), file=sys.stderr)


def _show(trainer: Trainer, picture: Path, overwrite: bool) -> str:
    """Denoise a photograph and draw what became of it. Returns how good it is."""
    import numpy as np
    import skimage.data

    from noise2noise.denoiser import Denoiser
    from noise2noise.figures import save_comparison
    from noise2noise.files import to_unit
    from noise2noise.noise import parse

    clean = to_unit(skimage.data.chelsea())
    noisy = parse(NOISE).draw(clean, np.random.default_rng(0))
    denoised = np.clip(Denoiser.load(trainer.best, trainer.device).denoise_unit(noisy), 0, 1)
    before, after = _quality(noisy, clean), _quality(denoised, clean)
    save_comparison(
        picture,
        [(f"noisy, {before}", noisy), (f"denoised, {after}", denoised), ("clean", clean)],
        caption="The network has seen neither this photograph nor any image without noise.",
        overwrite=overwrite,
        zoom=(90, 120, 96),
    )
    return f"before  {before}\nafter   {after}\npicture {picture}"


def _train(out: Path, device: str) -> Trainer:
    from noise2noise.cli.attended import Terminal
    from noise2noise.fit import Trainer, TrainingStopped, configure

    config = configure(
        generated=PICTURES,
        corruption=NOISE,
        sizes={"width": 32},
        epochs=7,
        learning_rate=2e-3,
        device=device,
    )
    terminal = Terminal()
    trainer = Trainer(config, out, terminal)
    try:
        terminal.fit(trainer)
    except TrainingStopped:
        print_error("stopped before the network was trained; start again with --overwrite")
        raise typer.Exit(130) from None
    return trainer


def _quality(image: np.ndarray, clean: np.ndarray) -> str:
    from noise2noise.metrics import psnr, ssim

    return f"{psnr(image, clean):.2f} dB, SSIM {ssim(image, clean):.3f}"

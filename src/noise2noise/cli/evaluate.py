"""`noise2noise evaluate`: PSNR and SSIM on images whose clean version is known."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise2noise.catalogue import CLASSICAL
from noise2noise.cli.common import JSON_OPTION, device_option, examples, print_json, track
from noise2noise.errors import UserError

if TYPE_CHECKING:
    from noise2noise.evaluation import TestSet


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "evaluate",
        epilog=examples(
            "noise2noise evaluate photos/ --corruption gaussian:25",
            "noise2noise evaluate photos/ --corruption gaussian:25 --against non-local-means",
            "noise2noise evaluate clean/ --noisy noisy/ --model runs/microscope --json",
        ),
    )(evaluate)


def evaluate(
    clean: Annotated[Path, typer.Argument(help="A folder of clean images.")],
    corruption: Annotated[
        str | None, typer.Option(help="Noise to add to the clean images, such as gaussian:25.")
    ] = None,
    noisy: Annotated[
        Path | None, typer.Option(help="Or a folder of noisy images, matched by file name.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="As for denoise; may be repeated. By default the shipped one."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help=f"A classical method to compare with: {', '.join(CLASSICAL)}."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the added noise.", min=0)] = 0,
    device: Annotated[str, device_option()] = "auto",
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Measure how near denoised images come to clean ones.

    PSNR is the mean over images of each image's PSNR, SSIM likewise, on the scale of the clean
    image's own values. Results for 8-bit images are clipped and rounded before they are compared;
    added noise is not clipped.
    """
    from rich.table import Table

    from noise2noise.cli.common import results
    from noise2noise.device import resolved
    from noise2noise.evaluation import evaluate_all

    where = resolved(device)
    images = _images(clean, corruption, noisy, seed)
    scores = evaluate_all(images, model or [], against or [], track, device=where)
    if as_json:
        print_json([_finite(asdict(score)) for score in scores])
        return
    table = Table("method", "PSNR dB", "SSIM", "s / image", box=None)
    for score in scores:
        cells = (f"{score.psnr:.2f}", f"{score.ssim:.4f}", f"{score.seconds:.2f}")
        table.add_row(score.method, *cells)
    results.print(table)
    count = f"{len(images)} image{'' if len(images) == 1 else 's'}"
    print(f"{count}, {images.describe()}")


def _finite(row: dict[str, object]) -> dict[str, object]:
    """No difference at all has an infinite PSNR, which JSON can't write."""
    return {name: None if value == math.inf else value for name, value in row.items()}


def _images(clean: Path, corruption: str | None, noisy: Path | None, seed: int) -> TestSet:
    from noise2noise.evaluation import corrupted, recorded

    if (corruption is None) == (noisy is None):
        raise UserError("give either --corruption or --noisy: noise to add, or noisy images")
    if corruption is not None:
        return corrupted(clean, corruption, seed)
    assert noisy is not None
    return recorded(clean, noisy)

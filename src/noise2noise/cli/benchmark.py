"""`noise2noise benchmark`: how long it takes here and with `torch.nn`, and how good it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noise2noise.catalogue import CLASSICAL
from noise2noise.cli.common import JSON_OPTION, device_option, examples, print_json, track
from noise2noise.errors import UserError

if TYPE_CHECKING:
    from noise2noise.benchmark import quality as sets
    from noise2noise.benchmark.speed import Result

_EXAMPLES = examples(
    "noise2noise benchmark speed --quick",
    "noise2noise benchmark speed --networks zhao,mery --batch 128",
    "noise2noise benchmark speed --markdown",
)

_QUALITY_EXAMPLES = examples(
    "noise2noise benchmark quality kodak/ --corruption gaussian:25 --against non-local-means",
    "noise2noise benchmark quality clean/ --noisy noisy/ --model grey --strips pictures/",
    "noise2noise benchmark quality bench/ --plan benchmarks/quality.toml --markdown",
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    group = typer.Typer(
        help="Measure this package beside its rivals.", epilog=_EXAMPLES, no_args_is_help=True
    )
    group.callback()(_benchmarks)  # without it a group of one command would be that command
    group.command("speed", epilog=_EXAMPLES)(speed)
    group.command("quality", epilog=_QUALITY_EXAMPLES)(quality)
    app.add_typer(group, name="benchmark")


def _benchmarks() -> None: ...


def speed(
    networks: Annotated[
        str | None,
        typer.Option(
            help="What to measure, such as zhao,mery,photo, which is a large photograph; by "
            "default everything."
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Batch size; by default each report's own, and 128.", min=1),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default as many as PyTorch takes.", min=1)
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(help="Measurements of each, 15 by default, 3 with --quick.", min=1),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few rounds, and a small photograph only.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables as Markdown.")
    ] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Time training steps and inference passes beside PyTorch's.

    The networks of the five reports and the U-Net, as chainrule runs them, with its reference
    backend, and in torch.nn: as it comes, with channels-last memory, and compiled by torch.compile
    (which needs a C++ compiler). All take turns in one process. Then a photograph of up to 24
    megapixels. Some minutes for each network; nothing else should be running.
    """
    if as_markdown and as_json:
        raise UserError("give either --markdown or --json: there is one result to print")
    import torch

    from noise2noise.benchmark.speed import PHOTO, PHOTO_SIZES, measure
    from noise2noise.benchmark.steps import RECIPES
    from noise2noise.benchmark.tables import markdown

    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        result = measure(
            [name.strip() for name in networks.split(",")] if networks else [*RECIPES, PHOTO],
            batch,
            rounds or (3 if quick else 15),
            PHOTO_SIZES[:1] if quick else PHOTO_SIZES,
            track,
        )
    finally:
        torch.set_num_threads(before)
    if as_json:
        print_json(result.as_dict())
    elif as_markdown:
        print(markdown(result))
    else:
        _show(result)


def _show(result: Result) -> None:
    from rich.table import Table

    from noise2noise.benchmark.tables import remarks, tables
    from noise2noise.cli.common import results

    results.print(str(result.machine))
    for title, heads, rows, note in tables(result):
        table = Table(*heads, box=None, padding=(0, 1, 0, 0))
        for column in table.columns[1:]:
            column.justify = "right"
        for cells in rows:
            table.add_row(*cells)
        results.print(f"\n{title}. {note}\n")
        results.print(table)
    for remark in remarks(result):
        results.print(f"\n{remark}")


def quality(
    clean: Annotated[
        Path, typer.Argument(help="A folder of clean images; with --plan the folder of all sets.")
    ],
    corruption: Annotated[
        list[str] | None, typer.Option(help="Noise to add, such as gaussian:25; may be repeated.")
    ] = None,
    noisy: Annotated[
        Path | None, typer.Option(help="Or a folder of noisy images, matched by file name.")
    ] = None,
    noisy_suffix: Annotated[
        str, typer.Option(help="Ends the names of noisy files, as _real in tree_real.jpg.")
    ] = "",
    clean_suffix: Annotated[
        str, typer.Option(help="Ends the names of clean files, as _mean in tree_mean.jpg.")
    ] = "",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="As for denoise; may be repeated. By default the one that suits."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help=f"A classical method to compare with: {', '.join(CLASSICAL)}."),
    ] = None,
    told: Annotated[
        bool, typer.Option("--told", help="Tell every method the noise that is added.")
    ] = False,
    single: Annotated[
        bool,
        typer.Option("--single", help="Fit each model to each image, too: denoise --single each."),
    ] = False,
    scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="And a network that learns from each image alone."),
    ] = False,
    every: Annotated[
        int, typer.Option(help="Measure on the first of so many images only.", min=1)
    ] = 1,
    plan: Annotated[
        Path | None, typer.Option(help="A TOML file of sets, in the place of the options above.")
    ] = None,
    strips: Annotated[
        Path | None, typer.Option(help="A folder for pictures of each set's first image.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the added noise.", min=0)] = 0,
    device: Annotated[str, device_option()] = "auto",
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables as Markdown.")
    ] = False,
    as_json: Annotated[bool, JSON_OPTION] = False,
) -> None:
    """Measure how near results come to clean images, beside classical methods.

    PSNR and SSIM are means over the images, on the scale of their own values; results for 8-bit
    images are clipped and rounded, added noise is not clipped. The scale-invariant PSNR is taken
    after a least-squares fit of each result to its reference: for micrographs. Harmed is the share
    of images that lost more than 0.05 dB.
    """
    if as_markdown and as_json:
        raise UserError("give either --markdown or --json: there is one result to print")
    from noise2noise.benchmark import quality as sets

    if plan is not None:
        found = sets.measure(sets.read_plan(plan), clean, seed, track, strips, device)
    else:
        one = sets.QualitySet(
            name=clean.name,
            clean=Path(),
            corruptions=corruption or [],
            noisy=None if noisy is None else noisy.absolute(),
            noisy_suffix=noisy_suffix,
            clean_suffix=clean_suffix,
            models=model or [],
            against=against or [],
            told=told,
            single=single,
            scratch=scratch,
            every=every,
        )
        found = sets.measure([one], clean, seed, track, strips, device)
    if as_json:
        print_json([result.as_dict() for result in found])
    elif as_markdown:
        print(sets.markdown(found))
    else:
        _show_quality(found)


def _show_quality(found: list[sets.Result]) -> None:
    from rich.table import Table

    from noise2noise.benchmark import quality as sets
    from noise2noise.cli.common import results

    for result in found:
        table = Table(*sets.HEADS, box=None, padding=(0, 1, 0, 0))
        for column in table.columns[1:]:
            column.justify = "right"
        for cells in sets.rows(result):
            table.add_row(*cells)
        results.print(f"\n{sets.title(result)}\n")
        results.print(table)

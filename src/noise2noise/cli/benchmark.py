"""`noise2noise benchmark speed`: how long it takes here, and with `torch.nn`."""

from __future__ import annotations

from typing import Annotated

import torch
import typer
from rich.table import Table

from noise2noise.benchmark.speed import PHOTO, PHOTO_SIZES, Result, measure
from noise2noise.benchmark.steps import RECIPES
from noise2noise.benchmark.tables import markdown, remarks, tables
from noise2noise.cli.common import JSON_OPTION, examples, print_json, results, track
from noise2noise.errors import UserError

EVERYTHING = ",".join((*RECIPES, PHOTO))

_EXAMPLES = examples(
    "noise2noise benchmark speed --quick",
    "noise2noise benchmark speed --networks zhao,mery --batch 128",
    "noise2noise benchmark speed --markdown",
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    group = typer.Typer(
        help="Measure this package beside its rivals.", epilog=_EXAMPLES, no_args_is_help=True
    )
    group.callback()(_benchmarks)  # without it a group of one command would be that command
    group.command("speed", epilog=_EXAMPLES)(speed)
    app.add_typer(group, name="benchmark")


def _benchmarks() -> None: ...


def speed(
    networks: Annotated[
        str,
        typer.Option(help="What to measure, separated by commas; photo is a large photograph."),
    ] = EVERYTHING,
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
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        result = measure(
            [name.strip() for name in networks.split(",")],
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

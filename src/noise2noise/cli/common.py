"""What the commands share: where messages go, progress, and JSON for programs.

Every command imports this file to declare its options, so nothing heavy is imported here but where
it is used.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from noise2noise.catalogue import CORRUPTIONS

if TYPE_CHECKING:
    from rich.console import Console

    messages: Console
    results: Console


def __getattr__(name: str) -> Console:
    """The two consoles, made when they are asked for.

    `messages`: progress and messages go to standard error, so that results on standard output can
    be piped. `results`: tables of results; lines of text are printed by `print`.
    """
    if name not in ("messages", "results"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rich.console import Console

    to_messages = name == "messages"
    console = Console(
        stderr=to_messages, soft_wrap=to_messages, markup=False, emoji=False, highlight=False
    )
    globals()[name] = console
    return console


def track(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    """A progress bar with time left over `items`; nothing where no one is watching.

    Results printed meanwhile appear above the bar, or where standard output was sent to.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.progress import Progress

    from noise2noise.cli.common import messages

    bar = Progress(
        *Progress.get_default_columns(),
        console=messages,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        disable=not messages.is_terminal,
    )
    with bar:
        yield from bar.track(items, total, description=description)


def say(text: str) -> None:
    """A message, as `messages.print` where nothing of rich is needed."""
    typer.echo(text, err=True)


def print_error(error: object) -> None:
    """Say what is wrong, in red where there are colours."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    typer.secho(f"error: {error}", fg=None if plain else "red", err=True)


def print_json(value: object) -> None:
    """Write `value` as JSON to standard output, alone."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def examples(*lines: str) -> str:
    """The examples below a command's help."""
    return "**Examples**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


def corruptions() -> str:
    """The noise models below a command's help."""
    lines = (f"- `{text.example}` - {text.summary}" for text in CORRUPTIONS.values())
    return "\n\n**Corruptions**\n\n" + "\n\n".join(lines)


def device_option(panel: str | None = None) -> Any:
    """What computes is chosen the same way in every command."""
    return typer.Option(
        "--device",
        metavar="NAME",
        help="What computes: auto, cpu, cuda or, of several GPUs, cuda:1. By default a GPU if "
        "there is one that PyTorch can use.",
        rich_help_panel=panel,
    )


OUT_FLAGS = ("--out", "-o", "--output")
"""Where results go is said the same way to every command."""

JSON_OPTION = typer.Option("--json", help="Print the result as JSON.")
OVERWRITE_OPTION = typer.Option("--overwrite", help="Replace what stands there already.")

"""What the commands share: where messages go, progress, and JSON for programs."""

import json
import sys
from collections.abc import Iterable

import typer
from rich.console import Console
from rich.progress import track as rich_track

messages = Console(stderr=True)
"""Progress and messages go to standard error, so that results on standard output can be piped."""

results = Console()


def track(items: Iterable, description: str, total: int) -> Iterable:
    """A progress bar with time left over `items`; nothing where no one is watching."""
    return rich_track(
        items,
        description,
        total,
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


def print_json(value: object) -> None:
    """Write `value` as JSON to standard output, alone."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def examples(*lines: str) -> str:
    """The examples below a command's help."""
    return "**Examples**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


JSON_OPTION = typer.Option("--json", help="Print the result as JSON.")
OVERWRITE_OPTION = typer.Option("--overwrite", help="Replace what stands there already.")

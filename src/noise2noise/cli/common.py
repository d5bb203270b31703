"""What the commands share: where messages go, progress, and JSON for programs."""

import json
import sys
from collections.abc import Iterable
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from noise2noise.noise.corruptions import describe

messages = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
"""Progress and messages go to standard error, so that results on standard output can be piped."""

results = Console(markup=False, emoji=False, highlight=False)
"""Tables of results; lines of text are printed by `print`."""


def track(items: Iterable[Any], description: str, total: int) -> Iterable[Any]:
    """A progress bar with time left over `items`; nothing where no one is watching.

    Results printed meanwhile appear above the bar, or where standard output was sent to.
    """
    bar = Progress(
        *Progress.get_default_columns(),
        console=messages,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        disable=not messages.is_terminal,
    )
    with bar:
        yield from bar.track(items, total, description=description)


def print_error(error: object) -> None:
    """Say what is wrong, in red where there are colours."""
    messages.print(Text(f"error: {error}", style="red"))


def print_json(value: object) -> None:
    """Write `value` as JSON to standard output, alone."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def examples(*lines: str) -> str:
    """The examples below a command's help."""
    return "**Examples**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


def corruptions() -> str:
    """The noise models below a command's help."""
    lines = (line.split(maxsplit=1) for line in describe().splitlines())
    return "\n\n**Corruptions**\n\n" + "\n\n".join(f"- `{name}` - {text}" for name, text in lines)


JSON_OPTION = typer.Option("--json", help="Print the result as JSON.")
OVERWRITE_OPTION = typer.Option("--overwrite", help="Replace what stands there already.")

"""The command line, one file per command. `main` is where every error becomes a sentence."""

import importlib.metadata
import sys
from typing import Annotated

import typer

from noise2noise.cli import (
    benchmark,
    demo,
    denoise,
    evaluate,
    export,
    inspect,
    make_pairs,
    models,
    reproduce,
    train,
)
from noise2noise.cli.common import print_error
from noise2noise.errors import UserError, out_of_memory
from noise2noise.fit import DivergedError

app = typer.Typer(
    help="Remove noise from images, and train what removes it from pairs of noisy images alone.",
    epilog="Start with: noise2noise denoise photo.jpg",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    denoise,
    inspect,
    train,
    evaluate,
    make_pairs,
    models,
    export,
    demo,
    benchmark,
    reproduce,
):
    command.register(app)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"noise2noise {importlib.metadata.version('noise2noise')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command that the arguments name.

    Exit status: 0 done, 1 training diverged, 2 bad input, 130 interrupted.
    """
    try:
        app()
    except UserError as error:
        _fail(error, 2)
    except DivergedError as error:
        _fail(error, 1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _fail("the memory is not enough; choose a smaller tile, batch, crop or network", 2)
    except OSError as error:  # the disk is full, a folder is closed: no fault of the program
        _fail(f"{error.filename}: {error.strerror}" if error.filename else error, 2)


def _fail(error: object, status: int) -> None:
    print_error(error)
    sys.exit(status)

"""The command line, one file per command. `main` is where every error becomes a sentence."""

import sys

import typer

from noise2noise.cli import demo, denoise, evaluate, make_pairs, models, train
from noise2noise.cli.common import messages
from noise2noise.errors import UserError
from noise2noise.training import DivergedError

app = typer.Typer(
    help="Remove noise from images, and train what removes it from pairs of noisy images alone.",
    epilog="Start with: noise2noise denoise photo.jpg",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (denoise, train, evaluate, make_pairs, models, demo):
    command.register(app)


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
    except KeyboardInterrupt:
        _fail("interrupted", 130)


def _fail(error: object, status: int) -> None:
    messages.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(status)

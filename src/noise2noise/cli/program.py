"""The program: its commands, each loaded when it is asked for, and every error as a sentence."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Annotated, Any

import typer

from noise2noise.cli.common import print_error
from noise2noise.cli.help import Command, Group, with_our_help
from noise2noise.cli.hints import say_once
from noise2noise.cli.mistakes import USAGE_ERROR, asks_for_help, in_a_sentence
from noise2noise.errors import DivergedError, UserError, out_of_memory

COMMANDS = {
    "denoise": "Remove noise from images and stacks of any size.",
    "web": "Open a page in the browser: drop images, compare, save.",
    "inspect": "Measure the noise of images, each from itself alone.",
    "train": "Train a denoiser on pairs of noisy images.",
    "evaluate": "Measure how near denoised images come to clean ones.",
    "make-pairs": "Make pairs of noisy images out of clean photographs.",
    "models": "List the models that come with the package.",
    "export": "Write a model for other programs.",
    "demo": "Watch a network learn from noise alone: some minutes.",
    "doctor": "Say what was found on this machine, and what is missing.",
    "benchmark": "Measure this package beside its rivals.",
    "reproduce": "Repeat the experiments of the five published reports and the paper.",
}
"""Every command and what `noise2noise --help` says of it. A command lives in the file of its name,
which is imported when the command is asked for."""


def load(name: str) -> Any:
    """The command, from its file."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    importlib.import_module(f"noise2noise.cli.{name.replace('-', '_')}").register(alone)
    with_our_help(alone)
    command = typer.main.get_command(alone)
    return getattr(command, "commands", {}).get(name, command)  # a group of commands lies in one


class _Door(Command):
    """Stands for a command in lists of them, and loads it once it is gone through."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        return load(self.name or "").make_context(info_name, args, parent, **extra)


class _Commands(Group):
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        return _Door(cmd_name, help=COMMANDS[cmd_name], rich_markup_mode=None)

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        try:
            return super().make_context(*arguments, **more)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted from interrupt

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise _Interrupted from interrupt


class _Interrupted(BaseException):
    """Ctrl-C, past typer, which would end the program without a word."""


app = typer.Typer(
    cls=_Commands,
    help="Remove noise from images, and train what removes it from pairs of noisy images alone.",
    epilog="Start with: noise2noise denoise photo.jpg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if not asked:
        return
    from noise2noise.cli.found import version

    typer.echo(version())
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


def run(interrupted: Callable[[], bool]) -> int:
    """Run the command that the arguments name. Returns the exit status; see `main`.

    Raises:
        KeyboardInterrupt: Ctrl-C, or an error while `interrupted()`: a library written in C made it
            of that.
    """
    say_once()
    status, error = _outcome()
    if error is not None:
        if interrupted():
            raise KeyboardInterrupt
        print_error(error)
    return status


def _outcome() -> tuple[int, object]:
    """The exit status, and what to say of it, or None."""
    try:
        status = typer.main.get_command(app).main(prog_name="noise2noise", standalone_mode=False)
        return (status if isinstance(status, int) else 0), None
    except USAGE_ERROR as error:
        if asks_for_help(error):
            typer.echo(error, err=True)
            return 2, None
        return 2, in_a_sentence(error)
    except UserError as error:
        return 2, error
    except DivergedError as error:
        return 1, error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return 2, "the memory is not enough; choose a smaller tile, batch, crop or network"
    except BrokenPipeError:
        raise
    except OSError as error:  # the disk is full, a folder is closed: no fault of the program
        return 2, f"{error.filename}: {error.strerror}" if error.filename else error
    except _Interrupted:
        raise KeyboardInterrupt from None

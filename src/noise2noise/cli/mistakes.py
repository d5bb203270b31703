"""Arguments that aren't understood, in one sentence each that says what was meant."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises when it doesn't understand; whether it comes from click or from typer depends
on typer's version."""


def unknown_command(arguments: list[str], commands: Iterable[str], group: str) -> str:
    """What to say where the first of the arguments should be a command of `group` and isn't."""
    name = arguments[0]
    if group == "noise2noise" and _is_a_path(name):
        return (
            f"there is no command {name}; to remove its noise: "
            f"{shlex.join(['noise2noise', 'denoise', *arguments])}"
        )
    return f"there is no command {name}{_meant(name, commands)} ({group} -h lists them)"


def asks_for_help(error: Exception) -> bool:
    """Whether nothing is wrong but that no command was named; the error's text is the help."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _is_a_path(text: str) -> bool:
    return bool(Path(text).suffix) or os.sep in text or Path(text).exists()


def in_a_sentence(error: Any) -> str:
    """What is wrong with the arguments."""
    context = error.ctx
    path = "noise2noise" if context is None else context.command_path
    return f"{_wrong(error)} ({path} -h shows what there is)"


def _wrong(error: Any) -> str:
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    if kind == "NoSuchOption":
        return _unknown_option(error.option_name, error.ctx)
    if kind == "MissingParameter" and parameter is not None:
        return _taken_for_a_value(parameter, error.ctx) or f"{_name(parameter)} is missing"
    message = error.message[:1].lower() + error.message[1:].rstrip(".")
    return message if parameter is None else f"{_name(parameter)}: {message}{_met(error)}"


def _taken_for_a_value(missing: Any, context: Any) -> str:
    """What to say where an option of several values has swallowed the one that is missing."""
    for option in context.command.get_params(context):
        words = [flag for flag in option.opts if flag in sys.argv]
        if option.nargs < 2 or not words:
            continue
        place = sys.argv.index(words[0]) + 1
        given = sys.argv[place : place + option.nargs]
        if any(value in missing.opts for value in given):
            return f"{words[0]} takes {option.nargs} values, {option.metavar}; got {given[0]} only"
    return ""


def _met(error: Any) -> str:
    """The value, where pydantic, which some versions of typer ask, leaves it out of its text."""
    errors = getattr(error.__cause__, "errors", None)
    return f", got {errors()[0]['input']!r}" if errors else ""


def _unknown_option(option: str, context: Any) -> str:
    for word in sys.argv[1:]:
        if word.startswith(option) and os.path.exists(word):
            return f"there is no option {option}; a file whose name begins with a dash is ./{word}"
    flags = [flag for each in context.command.get_params(context) for flag in each.opts]
    return f"there is no option {option}{_meant(option, flags)}"


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"the argument {parameter.metavar or parameter.name}"
    return max(parameter.opts, key=len)

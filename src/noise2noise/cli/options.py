"""A command's options, made from the fields of a configuration, where each of them stands once.

Values are checked by the configuration, so that one sentence says what is wrong with them whether
they come from a command line, a file or a program.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from noise2noise.errors import UserError


def with_options_of(config: type[BaseModel]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command that has `context` and some options of its own: it gets all of `config`'s.

    The command takes them as `**options`, and reads from `given` which of them were given.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True)
        parameters = [each for each in own.parameters.values() if each.kind is not each.VAR_KEYWORD]
        parameters += [_parameter(name, field) for name, field in config.model_fields.items()]
        ordered = sorted(parameters, key=lambda each: each.default is not each.empty)
        command.__signature__ = own.replace(parameters=ordered)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return decorate


def given(context: typer.Context, config: type[BaseModel]) -> dict[str, Any]:
    """The options of `config` that stand on the command line, by the names of its fields.

    Raises:
        UserError: a repeated option is not like name=number.
    """
    values = {}
    for name, field in config.model_fields.items():
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            value = context.params[name]
            values[name] = _numbers(flag_of(config, name), value) if _is_table(field) else value
    return values


def flag_of(config: type[BaseModel], name: str) -> str:
    """The option of a field, such as --batch-size."""
    return _flags(name, config.model_fields[name])[0]


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    command = _command(field)
    option = typer.Option(
        *_flags(name, field),
        help=_help(field),
        rich_help_panel=command["panel"],
        metavar=command["metavar"] or ("NAME" if _choices(field) else None),
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if _is_table(field) else field.default,
        annotation=Annotated[_type(field), option],
    )


def _command(field: FieldInfo) -> dict[str, Any]:
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra


def _flags(name: str, field: FieldInfo) -> tuple[str, ...]:
    return tuple(_command(field)["flags"]) or (f"--{name.replace('_', '-')}",)


def _is_table(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is dict


def _type(field: FieldInfo) -> Any:
    if _is_table(field):
        return list[str] | None
    return str if _choices(field) else field.annotation


def _choices(field: FieldInfo) -> tuple[str, ...]:
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _help(field: FieldInfo) -> str:
    choices = ", ".join(_choices(field))
    return f"{field.description} One of {choices}." if choices else field.description or ""


def _numbers(flag: str, texts: list[str]) -> dict[str, int]:
    return dict(_number(flag, text) for text in texts)


def _number(flag: str, text: str) -> tuple[str, int]:
    name, equals, number = text.partition("=")
    if not equals or not number.isdecimal() or not number.isascii():
        raise UserError(f"{flag} must be like width=64, got {text!r}")
    return name, int(number)

"""How the commands show their help: plain text that goes through a pipe, without loading rich."""

from __future__ import annotations

import re
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from noise2noise.cli.mistakes import unknown_command
from noise2noise.errors import UserError

_ROW = re.compile(r"- `(.*?)` - (.*)")
_TYPE = re.compile(r"<(?:list\[)?(\w+)[^>]*>")


class Command(TyperCommand):
    """A command whose help shows its options by their panels, and flags without a type."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_epilog(self.epilog or "", formatter)


class Group(TyperGroup):
    """As `Command`, with commands below it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        commands = self.list_commands(ctx)
        # Completion of a shell asks for commands that aren't written to the end.
        if args[0] not in commands and not ctx.resilient_parsing:
            raise UserError(unknown_command(args, commands, ctx.command_path))
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_parameters(self, ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _write_epilog(self.epilog or "", formatter)


def with_our_help(app: typer.Typer) -> None:
    """Make the commands of `app`, and of the groups in it, commands of ours."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.typer_instance.info.cls = group.cls = Group
            with_our_help(group.typer_instance)


def _write_parameters(command: Any, ctx: Any, formatter: Any) -> None:
    panels: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            name, text = record
            name = _TYPE.sub(lambda match: match[1].upper(), name)
            panels.setdefault(_panel(parameter), []).append((name, text))
    for title in sorted(panels, key=_rank):
        with formatter.section(title):
            formatter.write_dl(panels[title])


def _panel(parameter: Any) -> str:
    usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
    return parameter.rich_help_panel or usual if hasattr(parameter, "rich_help_panel") else usual


def _rank(title: str) -> int:
    """Arguments first, and what all commands have last; the panels between keep their order."""
    return {"Arguments": 0, "Options": 2}.get(title, 1)


def _write_epilog(epilog: str, formatter: Any) -> None:
    """Headings, lines of code, names with their meaning, and text."""
    rows: list[tuple[str, str]] = []
    for paragraph in epilog.split("\n\n"):
        if match := _ROW.fullmatch(paragraph):
            rows.append((match[1], match[2]))
        elif paragraph.startswith("**"):
            formatter.write(f"\n{paragraph.strip('*')}:\n")
        elif paragraph.startswith("`"):
            formatter.write(_broken(paragraph.strip("`"), formatter.width))
        elif paragraph:
            formatter.write_paragraph()
            formatter.write_text(paragraph)
    if rows:
        with formatter.indentation():
            formatter.write_dl(rows)


def _broken(line: str, width: int) -> str:
    """A line of code, broken where a shell goes on reading if it doesn't fit into `width`."""
    parts = re.split(r" (?=-)", line)
    lines = [f"  {parts[0]}"]
    for place, part in enumerate(parts[1:], 2):
        room = width if place == len(parts) else width - len(" \\")
        if len(f"{lines[-1]} {part}") <= room:
            lines[-1] += f" {part}"
        else:
            lines.append(f"      {part}")
    return " \\\n".join(lines) + "\n"

"""`noise2noise doctor`: what this machine has to compute with, and what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from noise2noise.cli.common import JSON_OPTION, examples, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("doctor", epilog=examples("noise2noise doctor", "noise2noise doctor --json"))(
        doctor
    )


def doctor(as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """Say what was found on this machine, and what to do about what is missing.

    Versions, the backend that computes and why, instruction sets, threads, the GPU, and the extras
    of the package. It changes nothing. Put its output into a report of a problem.
    """
    from noise2noise.cli.examination import advice, extras, facts

    found, missing = facts(), extras()
    if as_json:
        print_json({**found, "extras": missing, "advice": advice(found, missing)})
        return
    width = max(map(len, (*found, "extras")))
    for name, text in found.items():
        print(f"{name:<{width}}  {text}")
    for name, packages in missing.items():
        state = f"lacks {', '.join(packages)}" if packages else "complete"
        print(f"{'extra ' + name:<{width}}  {state}")
    for line in advice(found, missing) or ["Nothing is missing."]:
        print(f"\n{line}")

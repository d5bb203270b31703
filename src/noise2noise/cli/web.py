"""`noise2noise web`: a page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from noise2noise.cli.common import device_option, examples, say
from noise2noise.errors import UserError

_PAGE, _SERVER = "What is shown", "Server"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(
        "web",
        epilog=examples(
            "noise2noise web",
            "noise2noise web --model runs/cells --port 0",
            "noise2noise web --runs runs/",
        ),
    )(web)


def web(
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Also list the training runs in this folder, with their curves; they can be "
            "stopped and resumed there.",
            rich_help_panel=_PAGE,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Offer this model too: a model file, or a training run's folder; may be repeated.",
            rich_help_panel=_PAGE,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65535, help="Listen on this port; 0 for any.", rich_help_panel=_SERVER
        ),
    ] = 8765,
    host: Annotated[
        str,
        typer.Option(
            help="Listen on this address. By default only this machine reaches the page; 0.0.0.0 "
            "lets others in that know the printed address, which is not encrypted.",
            rich_help_panel=_SERVER,
        ),
    ] = "127.0.0.1",
    most: Annotated[
        str,
        typer.Option(
            "--max-file",
            metavar="SIZE",
            help="Refuse larger files.",
            rich_help_panel=_SERVER,
        ),
    ] = "2GB",
    threads: Annotated[
        int | None,
        typer.Option(
            help="Compute on so many cores. By default on all.", min=1, rich_help_panel=_SERVER
        ),
    ] = None,
    device: Annotated[str, device_option(_SERVER)] = "auto",
    show: Annotated[
        bool,
        typer.Option(
            "--open/--no-open", help="Open the page in the browser.", rich_help_panel=_SERVER
        ),
    ] = True,
) -> None:
    """Open a page to drop images on: before and after under a divider, and results to save.

    Files go to this program and to nowhere else, and nothing is loaded from the network. Saved
    files are those that noise2noise denoise writes. Ctrl-C ends it, and removes what was dropped.
    """
    from noise2noise.files.extras import missing

    for library in ("starlette", "uvicorn"):
        reason = missing(library, "web", "the page")
        if reason:
            raise UserError(reason)
    if runs is not None and not runs.is_dir():
        raise UserError(f"there is no folder {runs}; name one that holds training runs")
    _serve(host, port, runs, model or [], most, threads, device, show)


def _serve(
    host: str,
    port: int,
    runs: Path | None,
    models: list[str],
    most: str,
    threads: int | None,
    device: str,
    show: bool,
) -> None:
    import os
    from dataclasses import replace

    import torch

    from noise2noise.device import resolved
    from noise2noise.inference import parse_memory
    from noise2noise.shipped import find_model
    from noise2noise.web.guard import is_loopback, new_token
    from noise2noise.web.limits import Limits
    from noise2noise.web.server import Serving, address, listening, serve

    for each in models:
        find_model(each)
    where = str(resolved(device))
    if threads is not None:
        torch.set_num_threads(threads)
    token = os.environ.get("NOISE2NOISE_WEB_TOKEN") or new_token()
    if len(token) < 16:
        raise UserError("NOISE2NOISE_WEB_TOKEN is too short to keep anyone out; take 16 letters")
    limits = replace(Limits(), file_bytes=parse_memory(most))
    listener = listening(host, port)
    place = address(listener, token)
    say(f"the page is at {place}\nCtrl-C ends it")
    if not is_loopback(host):
        say("everyone who knows this address can use it, and nothing on the way is encrypted")
    if show:
        _open(place)
    serve(Serving(token, host, tuple(models), runs, limits, device=where), listener)


def _open(place: str) -> None:
    """In the browser, where there is one with windows; one in the terminal would take it away."""
    import os
    import sys
    import webbrowser

    has_windows = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if has_windows:
        webbrowser.open(place)

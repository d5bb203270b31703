"""The process that answers the page. Requests are answered in threads; the event loop only waits.

What is asked under `/api/` needs the token (`guard.py`); `routes/` says what is answered.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from noise2noise.device import AUTO
from noise2noise.errors import UserError
from noise2noise.web.computing import Models
from noise2noise.web.guard import Guard, is_loopback
from noise2noise.web.hall import Hall
from noise2noise.web.limits import Limits
from noise2noise.web.room import Room
from noise2noise.web.routes import all_routes
from noise2noise.web.runs import Runs


@dataclass(frozen=True)
class Serving:
    """What is to be served.

    Attributes:
        token: that the page must know.
        host: that is listened on.
        models: model files and folders of runs that are offered besides the shipped ones.
        runs: a folder of training runs to show; None for none.
        limits: of pages.
        root: where temporary folders are made; None for the system's place.
        device: what computes.
    """

    token: str
    host: str = "127.0.0.1"
    models: tuple[str, ...] = ()
    runs: Path | None = None
    limits: Limits = field(default_factory=Limits)
    root: Path | None = None
    device: str = AUTO


def application(serving: Serving) -> Starlette:
    """The application; its temporary folder is there as long as it runs."""
    room = Room.of(serving.limits, Models(serving.models, serving.runs, serving.device))
    runs = Runs(serving.runs, serving.device) if serving.runs else None
    hall = Hall(room, runs, serving.root)
    made = Starlette(
        routes=all_routes(hall),
        middleware=[Middleware(Guard, listening=serving.host, token=serving.token)],
        lifespan=hall.lifespan,
    )
    made.state.hall = hall
    return made


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 for any that is free.

    Raises:
        UserError: the port is taken, or the host isn't this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(
            f"can't listen on {host}, port {port}: {error.strerror or error}; choose another by "
            "--port, or 0 for any that is free"
        ) from error


def address(listener: socket.socket, token: str) -> str:
    """Where a browser finds the page."""
    host, port = listener.getsockname()[:2]
    if not is_loopback(host) and host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/#{quote(token)}"


def serve(serving: Serving, listener: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        application(serving),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        ws="none",
        lifespan="on",
    )
    uvicorn.Server(config).run(sockets=[listener])

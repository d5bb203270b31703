"""The addresses of the page, and the process that answers them.

Requests are answered in threads; the event loop only waits. What is asked under `/api/` needs the
token (`guard.py`); a page and a result are named by words that nobody guesses.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from noise2noise.batch import QUALITIES
from noise2noise.errors import UserError, out_of_memory
from noise2noise.files import suffixes
from noise2noise.inference import MOST_STRENGTH
from noise2noise.web.archive import archived
from noise2noise.web.computing import Models
from noise2noise.web.guard import Guard, is_loopback
from noise2noise.web.jobs import Jobs
from noise2noise.web.limits import Limits, RefusedError
from noise2noise.web.pages import Page, Pages
from noise2noise.web.picture import KINDS, Ask, Gone, Picture, Room, Way
from noise2noise.web.runs import Runs

STATIC = Path(__file__).parent / "static"
REAP_SECONDS = 30

_NOBODY_WAITS = 499
_MOST_JSON = 2**20
_PIECE = 2**20

Answer = Callable[[Request], Awaitable[Response]]


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
    """

    token: str
    host: str = "127.0.0.1"
    models: tuple[str, ...] = ()
    runs: Path | None = None
    limits: Limits = field(default_factory=Limits)
    root: Path | None = None


def application(serving: Serving) -> Starlette:
    """The application; its temporary folder is there as long as it runs."""
    room = Room.of(serving.limits, Models(serving.models, serving.runs))
    desk = _Desk(room, Runs(serving.runs) if serving.runs else None, serving.root)
    page, file = "/api/pages/{page}", "/api/pages/{page}/files/{file}"
    routes = [
        Route("/", _static("index.html")),
        Route("/api/about", _answering(desk.about)),
        Route("/api/pages", _answering(desk.open), methods=["POST"]),
        Route(page, _answering(desk.look)),
        Route(page, _answering(desk.close), methods=["DELETE"]),
        Route(f"{page}/files", _answering(desk.upload), methods=["PUT"]),
        Route(file, _answering(desk.remove), methods=["DELETE"]),
        Route(f"{file}/noise", _answering(desk.noise)),
        Route(f"{file}/tile", _answering(desk.tile)),
        Route(f"{page}/jobs", _answering(desk.save), methods=["POST"]),
        Route(f"{page}/jobs/{{job}}", _answering(desk.cancel), methods=["DELETE"]),
        Route(f"{page}/archives", _answering(desk.archive), methods=["POST"]),
        Route("/results/{page}/{job}", _answering(desk.result)),
        Route("/archives/{page}/{archive}", _answering(desk.archived)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    if desk.runs is not None:
        run = "/api/runs/{run:path}"
        routes += [
            Route("/runs", _static("runs.html")),
            Route("/api/runs", _answering(desk.all_runs)),
            Route(f"{run}/pictures/{{picture}}", _answering(desk.run_picture)),
            Route(f"{run}/stop", _answering(desk.stop_run), methods=["POST"]),
            Route(f"{run}/resume", _answering(desk.resume_run), methods=["POST"]),
            Route(run, _answering(desk.one_run)),
        ]
    made = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, listening=serving.host, token=serving.token)],
        lifespan=desk.lifespan,
    )
    made.state.desk = desk
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


def _static(name: str) -> Answer:
    async def answer(request: Request) -> Response:
        del request
        return FileResponse(STATIC / name)

    return answer


def _answering(answer: Answer) -> Answer:
    """With every mistake as one sentence, in JSON."""

    async def answered(request: Request) -> Response:
        try:
            return await answer(request)
        except RefusedError as error:
            return JSONResponse({"error": str(error)}, error.status)
        except UserError as error:
            return JSONResponse({"error": _without_folders(str(error))}, 422)
        except (Gone, ClientDisconnect):
            return Response(status_code=_NOBODY_WAITS)
        except OSError as error:
            return JSONResponse({"error": error.strerror or "the disk refused"}, 507)
        except Exception as error:
            if out_of_memory(error):
                return JSONResponse({"error": "the memory is not enough for this picture"}, 507)
            logging.getLogger(__name__).exception("a mistake of the program")
            told = " ".join(str(error).split())
            sentence = f"a mistake of the program ({type(error).__name__}: {told})"
            return JSONResponse({"error": _without_folders(sentence)}, 500)

    return answered


def _without_folders(sentence: str) -> str:
    """Without the temporary folder that a file lies in, which nobody chose."""
    return " ".join(
        Path(word).name if "noise2noise-web-" in word else word for word in sentence.split(" ")
    )


class _Desk:
    """What is answered to what."""

    def __init__(self, room: Room, runs: Runs | None, root: Path | None) -> None:
        self.room, self.runs, self._root = room, runs, root

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """From the first request to the last."""
        del app
        self._computing = asyncio.Lock()
        self._pages = await run_in_threadpool(lambda: Pages(self.room, root=self._root))
        self._jobs = Jobs(self.room)
        reaping = asyncio.create_task(self._reap())
        try:
            yield
        finally:
            reaping.cancel()
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._shut)

    def _shut(self) -> None:
        for page in self._pages.all():
            for job in page.jobs.values():
                job.stop.set()
        self._jobs.close()
        self._pages.shut()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_SECONDS)
            await run_in_threadpool(self._pages.reap)

    # -- the page ---------------------------------------------------------------------------------

    async def about(self, request: Request) -> Response:
        """What a page should know before anything is dropped."""
        del request
        limits = self.room.limits
        return JSONResponse(
            {
                "version": version("noise2noise"),
                "models": await run_in_threadpool(self.room.models.as_json),
                "qualities": list(QUALITIES),
                "most_strength": MOST_STRENGTH,
                "suffixes": sorted(suffixes()),
                "file_bytes": limits.file_bytes,
                "files": limits.files,
                "runs": self.runs is not None,
            }
        )

    async def open(self, request: Request) -> Response:
        """A new page."""
        del request
        page = await run_in_threadpool(self._pages.open)
        return JSONResponse({"page": page.id}, 201)

    async def look(self, request: Request) -> Response:
        """How a page stands; asked from time to time, it keeps the page open."""
        return JSONResponse(self._page(request).as_json())

    async def close(self, request: Request) -> Response:
        """The page is gone, and so is all that it brought."""
        await run_in_threadpool(self._pages.close, request.path_params["page"])
        return Response(status_code=204)

    # -- files ------------------------------------------------------------------------------------

    async def upload(self, request: Request) -> Response:
        """A file, which is the body of the request."""
        page = self._page(request)
        name, size = request.query_params.get("name", ""), _length(request)
        path = await run_in_threadpool(page.place_for, name, size)
        try:
            await _received(request, path, size)
        except BaseException:
            page.gave_up(path, size)
            raise
        identity, picture = await run_in_threadpool(page.arrived, path, size)
        facts = await run_in_threadpool(picture.facts)
        return JSONResponse({"file": identity, **facts}, 201)

    async def remove(self, request: Request) -> Response:
        """A file that is no longer wanted."""
        page = self._page(request)
        await run_in_threadpool(page.remove, request.path_params["file"])
        return Response(status_code=204)

    async def noise(self, request: Request) -> Response:
        """What `inspect` says."""
        picture, plane = self._picture(request), _whole(request, "plane")
        return JSONResponse(await run_in_threadpool(picture.noise, plane))

    async def tile(self, request: Request) -> Response:
        """A part of a picture, as a PNG."""
        picture, ask = self._picture(request), _ask(request)
        at_hand = ask.kind == "before" or await run_in_threadpool(picture.is_at_hand, ask)
        if at_hand:
            return _png(await run_in_threadpool(picture.tile, ask))
        async with self._computing:
            if await request.is_disconnected():
                raise Gone
            return _png(await self._while_somebody_waits(request, picture, ask))

    async def _while_somebody_waits(self, request: Request, picture: Picture, ask: Ask) -> bytes:
        """A tile that is computed, unless whoever asked has gone."""
        gone = False

        async def watch() -> None:
            nonlocal gone
            while not await request.is_disconnected():
                await asyncio.sleep(0.1)
            gone = True

        watching = asyncio.create_task(watch())
        try:
            return await run_in_threadpool(picture.tile, ask, lambda: gone)
        finally:
            watching.cancel()

    # -- results ----------------------------------------------------------------------------------

    async def save(self, request: Request) -> Response:
        """Files wait to be denoised and saved."""
        page, asked = self._page(request), await _json(request)
        files = asked.get("files")
        if not isinstance(files, list) or not all(isinstance(each, str) for each in files):
            raise RefusedError(400, "files must be a list of the page's files")
        way = _way(lambda name: asked.get(name))
        report = asked.get("report") is True
        jobs = await run_in_threadpool(page.save, self._jobs, files, way, report)
        return JSONResponse({"jobs": [job.as_json() for job in jobs]}, 202)

    async def cancel(self, request: Request) -> Response:
        """A file that needn't be saved."""
        job = self._page(request).jobs.get(request.path_params["job"])
        if job is not None:
            job.stop.set()
        return Response(status_code=204)

    async def result(self, request: Request) -> Response:
        """What was written, to be kept by the browser."""
        (path,) = self._page(request).results([request.path_params["job"]])
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    async def archive(self, request: Request) -> Response:
        """Several results are to be fetched as one file."""
        page, asked = self._page(request), await _json(request)
        jobs = asked.get("jobs")
        if not isinstance(jobs, list) or not all(isinstance(each, str) for each in jobs):
            raise RefusedError(400, "jobs must be a list of the page's jobs")
        page.results(jobs)
        name = str(len(page.archives))
        page.archives[name] = jobs
        return JSONResponse({"archive": name}, 201)

    async def archived(self, request: Request) -> Response:
        """Several results as a zip, and their reports."""
        page = self._page(request)
        jobs = page.archives.get(request.path_params["archive"], [])
        paths = [*page.results(jobs), *page.reports(jobs)]
        headers = {"content-disposition": 'attachment; filename="denoised.zip"'}
        return StreamingResponse(archived(paths), media_type="application/zip", headers=headers)

    # -- training runs ----------------------------------------------------------------------------

    async def all_runs(self, request: Request) -> Response:
        """The runs in short."""
        del request
        return JSONResponse({"runs": await run_in_threadpool(self._runs().as_json)})

    async def one_run(self, request: Request) -> Response:
        """One run with its history."""
        return JSONResponse(await run_in_threadpool(self._runs().one, request.path_params["run"]))

    async def run_picture(self, request: Request) -> Response:
        """A validation picture."""
        asked = request.path_params
        path = await run_in_threadpool(self._runs().picture, asked["run"], asked["picture"])
        return FileResponse(path, media_type="image/jpeg")

    async def stop_run(self, request: Request) -> Response:
        """Somebody trains, and is to stop."""
        await run_in_threadpool(self._runs().stop, request.path_params["run"])
        return Response(status_code=202)

    async def resume_run(self, request: Request) -> Response:
        """A run is to go on."""
        await run_in_threadpool(self._runs().resume, request.path_params["run"])
        return Response(status_code=202)

    def _runs(self) -> Runs:
        if self.runs is None:
            raise RefusedError(404, "no folder of runs is shown here")
        return self.runs

    def page(self, identity: str) -> Page:
        """An open page."""
        return self._pages.get(identity)

    def _page(self, request: Request) -> Page:
        return self.page(request.path_params["page"])

    def _picture(self, request: Request) -> Picture:
        return self._page(request).picture(request.path_params["file"])


# What is asked for.


def _length(request: Request) -> int:
    """How many bytes are announced.

    Raises:
        RefusedError: it isn't said.
    """
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RefusedError(411, "say how long the file is")
    return int(text)


async def _received(request: Request, path: Path, size: int) -> None:
    """Write the body to a file; no more than was announced.

    Raises:
        RefusedError: it is of another length.
    """
    received = 0
    async with await anyio.open_file(path, "xb") as file:
        async for piece in request.stream():
            received += len(piece)
            if received > size:
                break
            await file.write(piece)
    if received != size:
        raise RefusedError(400, f"{path.name} came with another length than was announced")


async def _json(request: Request) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        RefusedError: it is none.
    """
    if _length(request) > _MOST_JSON:
        raise RefusedError(413, "that is too much to ask for at once")
    try:
        asked = await request.json()
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise RefusedError(400, "the request is no JSON object")
    return asked


def _ask(request: Request) -> Ask:
    kind = request.query_params.get("kind")
    for known in KINDS:
        if kind == known:
            level, x, y, plane, sample = (
                _whole(request, name) for name in ("level", "x", "y", "plane", "sample")
            )
            return Ask(known, level, x, y, plane, sample, _way(request.query_params.get))
    raise RefusedError(400, f"kind must be one of {', '.join(KINDS)}")


def _way(asked: Callable[[str], Any]) -> Way:
    """How to denoise.

    Raises:
        RefusedError: it can't be done so.
    """
    model, quality = asked("model") or "", asked("quality") or "balanced"
    if not isinstance(model, str) or quality not in QUALITIES:
        raise RefusedError(400, f"quality must be one of {', '.join(QUALITIES)}")
    if model and quality == "fast":
        raise RefusedError(400, "fast chooses the model; leave the model out")
    given = asked("strength")
    try:
        strength = float(1 if given is None else given)
    except (TypeError, ValueError):
        strength = math.nan
    if not 0 <= strength <= MOST_STRENGTH:
        raise RefusedError(400, f"strength must lie in 0 to {MOST_STRENGTH}")
    return Way(model, quality, strength)


def _whole(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RefusedError(400, f"{name} must be a whole number")
    return int(text)


def _png(data: bytes) -> Response:
    return Response(data, media_type="image/png")

"""Training runs: their lists, curves and pictures; stopping them, and going on."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute

from noise2noise.web.routes.answering import route, static
from noise2noise.web.runs import Runs

RUN = "/api/runs/{run:path}"


def routes(runs: Runs) -> list[BaseRoute]:
    """The addresses. A run's own comes last: its name may hold slashes."""

    async def every(request: Request) -> Response:
        """The runs in short."""
        del request
        return JSONResponse({"runs": await run_in_threadpool(runs.as_json)})

    async def one(request: Request) -> Response:
        """One run with its history."""
        return JSONResponse(await run_in_threadpool(runs.one, request.path_params["run"]))

    async def picture(request: Request) -> Response:
        """A validation picture."""
        asked = request.path_params
        path = await run_in_threadpool(runs.picture, asked["run"], asked["picture"])
        return FileResponse(path, media_type="image/jpeg")

    async def stop(request: Request) -> Response:
        """Somebody trains, and is to stop."""
        await run_in_threadpool(runs.stop, request.path_params["run"])
        return Response(status_code=202)

    async def resume(request: Request) -> Response:
        """A run is to go on."""
        await run_in_threadpool(runs.resume, request.path_params["run"])
        return Response(status_code=202)

    return [
        static("/runs", "runs.html"),
        route("GET", "/api/runs", every),
        route("GET", f"{RUN}/pictures/{{picture}}", picture),
        route("POST", f"{RUN}/stop", stop),
        route("POST", f"{RUN}/resume", resume),
        route("GET", RUN, one),
    ]

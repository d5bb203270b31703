"""Files that are dropped, and what is shown of them."""

from __future__ import annotations

import asyncio
import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from noise2noise.web.hall import Hall
from noise2noise.web.picture import Picture
from noise2noise.web.routes.answering import png, route
from noise2noise.web.routes.asked import ask_of, json_of, length_of, received, way_of, whole
from noise2noise.web.routes.page import PAGE
from noise2noise.web.ways import Ask, Gone

FILE = f"{PAGE}/files/{{file}}"

_LOOKS = 0.05  # seconds between two looks at whether somebody waits still


def routes(hall: Hall) -> list[BaseRoute]:
    """The addresses."""

    async def upload(request: Request) -> Response:
        """A file, which is the body of the request."""
        page = hall.page(request)
        name, size = request.query_params.get("name", ""), length_of(request)
        path = await run_in_threadpool(page.place_for, name, size)
        try:
            await received(request, path, size)
        except BaseException:
            page.gave_up(path, size)
            raise
        identity, picture = await run_in_threadpool(page.arrived, path, size)
        facts = await run_in_threadpool(picture.facts)
        return JSONResponse({"file": identity, **facts}, 201)

    async def remove(request: Request) -> Response:
        """A file that is no longer wanted."""
        page = hall.page(request)
        await run_in_threadpool(page.remove, request.path_params["file"])
        return Response(status_code=204)

    async def noise(request: Request) -> Response:
        """What `inspect` says."""
        picture, plane = hall.picture(request), whole(request, "plane")
        return JSONResponse(await run_in_threadpool(picture.noise, plane))

    async def tile(request: Request) -> Response:
        """A part of a picture, as a PNG; how long it took to compute is in a header."""
        picture, ask = hall.picture(request), ask_of(request)
        if await run_in_threadpool(picture.is_at_hand, ask):
            return png(await run_in_threadpool(picture.tile, ask))
        ahead = request.query_params.get("ahead") == "1"
        async with hall.ahead if ahead else hall.computing:
            if await request.is_disconnected():
                raise Gone
            started = time.perf_counter()
            made = png(await _while_somebody_waits(request, picture, ask, ahead))
            took = 1000 * (time.perf_counter() - started)
            made.headers["server-timing"] = f"tile;dur={took:.1f}"
            return made

    async def fit(request: Request) -> Response:
        """A model is to be fitted to a file."""
        page, asked = hall.page(request), await json_of(request)
        file, way = request.path_params["file"], way_of(asked.get)
        fitting = await run_in_threadpool(page.fit, hall.jobs, file, way)
        return JSONResponse(fitting.as_json(), 202)

    async def give_up(request: Request) -> Response:
        """No model need be fitted."""
        fitting = hall.page(request).fittings.get(request.path_params["fitting"])
        if fitting is not None:
            fitting.stop.set()
        return Response(status_code=204)

    return [
        route("PUT", f"{PAGE}/files", upload),
        route("DELETE", FILE, remove),
        route("GET", f"{FILE}/noise", noise),
        route("GET", f"{FILE}/tile", tile),
        route("POST", f"{FILE}/fittings", fit),
        route("DELETE", f"{PAGE}/fittings/{{fitting}}", give_up),
    ]


async def _while_somebody_waits(request: Request, picture: Picture, ask: Ask, ahead: bool) -> bytes:
    """Tiles that are computed, unless whoever asked has gone."""
    gone = False

    async def watch() -> None:
        nonlocal gone
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOKS)
        gone = True

    watching = asyncio.create_task(watch())
    try:
        return await run_in_threadpool(picture.tile, ask, lambda: gone, ahead)
    finally:
        watching.cancel()

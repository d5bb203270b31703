"""Files that are dropped, and what is shown of them."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from noise2noise.web.hall import Hall
from noise2noise.web.picture import Ask, Gone, Picture
from noise2noise.web.routes.answering import png, route
from noise2noise.web.routes.asked import ask_of, length_of, received, whole
from noise2noise.web.routes.page import PAGE

FILE = f"{PAGE}/files/{{file}}"

_LOOKS = 0.1  # seconds between two looks at whether somebody waits still


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
        """A part of a picture, as a PNG."""
        picture, ask = hall.picture(request), ask_of(request)
        at_hand = ask.kind == "before" or await run_in_threadpool(picture.is_at_hand, ask)
        if at_hand:
            return png(await run_in_threadpool(picture.tile, ask))
        async with hall.computing:
            if await request.is_disconnected():
                raise Gone
            return png(await _while_somebody_waits(request, picture, ask))

    return [
        route("PUT", f"{PAGE}/files", upload),
        route("DELETE", FILE, remove),
        route("GET", f"{FILE}/noise", noise),
        route("GET", f"{FILE}/tile", tile),
    ]


async def _while_somebody_waits(request: Request, picture: Picture, ask: Ask) -> bytes:
    """Tiles that are computed, unless whoever asked has gone."""
    gone = False

    async def watch() -> None:
        nonlocal gone
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOKS)
        gone = True

    watching = asyncio.create_task(watch())
    try:
        return await run_in_threadpool(picture.tile, ask, lambda: gone)
    finally:
        watching.cancel()

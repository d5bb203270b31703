"""The page itself: what it should know, and its coming and going."""

from __future__ import annotations

from importlib.metadata import version

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from noise2noise.batch import QUALITIES
from noise2noise.files import suffixes
from noise2noise.inference import MOST_STRENGTH
from noise2noise.web.hall import Hall
from noise2noise.web.routes.answering import STATIC, route, static

PAGE = "/api/pages/{page}"


def routes(hall: Hall) -> list[BaseRoute]:
    """The addresses."""

    async def about(request: Request) -> Response:
        """What a page should know before anything is dropped."""
        del request
        limits = hall.room.limits
        return JSONResponse(
            {
                "version": version("noise2noise"),
                "models": await run_in_threadpool(hall.room.models.as_json),
                "qualities": list(QUALITIES),
                "most_strength": MOST_STRENGTH,
                "suffixes": sorted(suffixes()),
                "file_bytes": limits.file_bytes,
                "files": limits.files,
                "runs": hall.runs is not None,
            }
        )

    async def opened(request: Request) -> Response:
        """A new page."""
        del request
        page = await run_in_threadpool(hall.pages.open)
        return JSONResponse({"page": page.id}, 201)

    async def look(request: Request) -> Response:
        """How a page stands; asked from time to time, it keeps the page open."""
        return JSONResponse(hall.page(request).as_json())

    async def closed(request: Request) -> Response:
        """The page is gone, and so is all that it brought."""
        await run_in_threadpool(hall.pages.close, request.path_params["page"])
        return Response(status_code=204)

    return [
        static("/", "index.html"),
        route("GET", "/api/about", about),
        route("POST", "/api/pages", opened),
        route("GET", PAGE, look),
        route("DELETE", PAGE, closed),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]

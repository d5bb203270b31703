"""Files that are to be saved, and what was saved. A link brings no token: what it leads to is named
by words that nobody guesses."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from noise2noise.web.archive import archived
from noise2noise.web.hall import Hall
from noise2noise.web.routes.answering import route
from noise2noise.web.routes.asked import json_of, names_of, way_of
from noise2noise.web.routes.page import PAGE


def routes(hall: Hall) -> list[BaseRoute]:
    """The addresses."""

    async def save(request: Request) -> Response:
        """Files wait to be denoised and saved."""
        page, asked = hall.page(request), await json_of(request)
        files, way = names_of(asked, "files"), way_of(asked.get)
        report = asked.get("report") is True
        jobs = await run_in_threadpool(page.save, hall.jobs, files, way, report)
        return JSONResponse({"jobs": [job.as_json() for job in jobs]}, 202)

    async def cancel(request: Request) -> Response:
        """A file that needn't be saved."""
        job = hall.page(request).jobs.get(request.path_params["job"])
        if job is not None:
            job.stop.set()
        return Response(status_code=204)

    async def result(request: Request) -> Response:
        """What was written, to be kept by the browser; a folder as a zip."""
        (path,) = hall.page(request).results([request.path_params["job"]])
        if path.is_dir():
            return _zip([path], f"{path.name}.zip")
        return FileResponse(path, filename=path.name, media_type="application/octet-stream")

    async def archive(request: Request) -> Response:
        """Several results are to be fetched as one file."""
        page = hall.page(request)
        jobs = names_of(await json_of(request), "jobs")
        page.results(jobs)
        name = str(len(page.archives))
        page.archives[name] = jobs
        return JSONResponse({"archive": name}, 201)

    async def fetched(request: Request) -> Response:
        """Several results as a zip, and their reports."""
        page = hall.page(request)
        jobs = page.archives.get(request.path_params["archive"], [])
        paths = [*page.results(jobs), *page.reports(jobs)]
        return _zip(paths, "denoised.zip")

    return [
        route("POST", f"{PAGE}/jobs", save),
        route("DELETE", f"{PAGE}/jobs/{{job}}", cancel),
        route("POST", f"{PAGE}/archives", archive),
        route("GET", "/results/{page}/{job}", result),
        route("GET", "/archives/{page}/{archive}", fetched),
    ]


def _zip(paths: list[Path], name: str) -> Response:
    plain = quote(name) == name
    told = f'filename="{name}"' if plain else f"filename*=utf-8''{quote(name)}"
    headers = {"content-disposition": f"attachment; {told}"}
    return StreamingResponse(archived(paths), media_type="application/zip", headers=headers)

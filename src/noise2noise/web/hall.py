"""What all requests share, from the first one to the last: pages, jobs, training runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from noise2noise.web.jobs import Jobs
from noise2noise.web.pages import Page, Pages
from noise2noise.web.picture import Picture
from noise2noise.web.room import Room
from noise2noise.web.runs import Runs

REAP_SECONDS = 30


class Hall:
    """Where requests find what they ask for.

    Arguments:
        room: what pictures share.
        runs: the training runs that are shown; None for none.
        root: where temporary folders are made; None for the system's place.

    Attributes:
        pages: the open ones, while the server runs.
        jobs: what waits to be saved, the same.
        computing: held by who has tiles computed, so that others can give up before.
        ahead: the same for tiles that nobody waits for yet.
    """

    pages: Pages
    jobs: Jobs
    computing: asyncio.Lock
    ahead: asyncio.Lock

    def __init__(self, room: Room, runs: Runs | None, root: Path | None) -> None:
        self.room, self.runs, self._root = room, runs, root

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """As long as the server runs."""
        del app
        self.computing, self.ahead = asyncio.Lock(), asyncio.Lock()
        self.pages = await run_in_threadpool(lambda: Pages(self.room, root=self._root))
        self.jobs = Jobs(self.room)
        reaping = asyncio.create_task(self._reap())
        try:
            yield
        finally:
            reaping.cancel()
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._shut)

    def page(self, request: Request) -> Page:
        """The page that a request is of.

        Raises:
            RefusedError: it isn't open.
        """
        return self.pages.get(request.path_params["page"])

    def picture(self, request: Request) -> Picture:
        """The file that a request is of.

        Raises:
            RefusedError: there is none.
        """
        return self.page(request).picture(request.path_params["file"])

    def _shut(self) -> None:
        for page in self.pages.all():
            for each in (*page.jobs.values(), *page.fittings.values()):
                each.stop.set()
        self.jobs.close()
        self.pages.shut()

    async def _reap(self) -> None:
        while True:
            await asyncio.sleep(REAP_SECONDS)
            await run_in_threadpool(self.pages.reap)

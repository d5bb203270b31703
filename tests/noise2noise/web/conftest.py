"""A server in this process, and a browser's part played by a client that keeps to its rules."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from noise2noise.web.pages import Page

NEEDED = ("starlette", "uvicorn", "httpx2")
if any(importlib.util.find_spec(each) is None for each in NEEDED):
    collect_ignore_glob = ["test_*.py"]

TOKEN_HEADER = "x-noise2noise-token"
TOKEN = "a token that is long enough"
HOST = "127.0.0.1:8765"


class Browser:
    """A page in a browser."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.page = client.post("/api/pages").json()["page"]

    def open_page(self) -> Page:
        """The page as the server has it."""
        application: Any = self.client.app
        return application.state.hall.pages.get(self.page)

    def at(self, rest: str) -> str:
        return f"/api/pages/{self.page}{rest}"

    def send(self, name: str, data: bytes, **headers: str) -> Any:
        """The answer to a file that is dropped."""
        return self.client.put(
            self.at("/files"), params={"name": name}, content=data, headers=headers
        )

    def drop(self, path: Path) -> dict[str, Any]:
        """What is said of a file that is dropped and taken."""
        answer = self.send(path.name, path.read_bytes())
        assert answer.status_code == 201, answer.text
        return answer.json()

    def tile(self, file: str, kind: str = "after", **asked: Any) -> bytes:
        answer = self.client.get(self.at(f"/files/{file}/tile"), params={"kind": kind, **asked})
        assert answer.status_code == 200, answer.text
        return answer.content

    def save(self, *files: str, **way: Any) -> list[dict[str, Any]]:
        """The jobs of files that are saved, when all are over."""
        answer = self.client.post(self.at("/jobs"), json={"files": [*files], **way})
        assert answer.status_code == 202, answer.text
        asked = [job["id"] for job in answer.json()["jobs"]]
        for _ in range(600):
            jobs = {job["id"]: job for job in self.client.get(self.at("")).json()["jobs"]}
            if all(jobs[each]["state"] not in ("waiting", "working") for each in asked):
                return [jobs[each] for each in asked]
            time.sleep(0.05)
        raise AssertionError("nothing was saved in half a minute")

    def result(self, job: dict[str, Any]) -> bytes:
        """What the browser keeps; it comes without the token, as a link does."""
        address = f"/results/{self.page}/{job['id']}"
        answer = self.client.get(address, headers={TOKEN_HEADER: ""})
        assert answer.status_code == 200, answer.text
        return answer.content


@pytest.fixture
def serve(tmp_path: Path, stand_ins: Path) -> Iterator[Callable[..., TestClient]]:
    """serve(limits={"files": 2}, runs=folder): a server that was just started."""
    started: list[TestClient] = []
    root = tmp_path / "temporary"
    root.mkdir()

    from starlette.testclient import TestClient

    from noise2noise.web.limits import Limits
    from noise2noise.web.server import Serving, application

    def start(limits: dict[str, Any] | None = None, **serving: Any) -> TestClient:
        asked = Serving(TOKEN, limits=Limits(**(limits or {})), root=root, **serving)
        headers = {TOKEN_HEADER: TOKEN}
        client = TestClient(application(asked), base_url=f"http://{HOST}", headers=headers)
        started.append(client.__enter__())
        return client

    yield start
    for client in started:
        client.__exit__(None, None, None)
    assert not list(root.glob("*")), "a server left something behind"


@pytest.fixture
def browser(serve: Callable[..., TestClient]) -> Browser:
    """A page of a server of its own."""
    return Browser(serve())

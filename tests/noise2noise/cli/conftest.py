"""The command line run in this process, as `noise2noise ...` runs it."""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from noise2noise.cli import main


class Outcome(NamedTuple):
    """What a command leaves behind: its exit status and what it wrote to the two streams."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run("denoise", path): the command with these arguments."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["noise2noise", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        written = capsys.readouterr()
        return Outcome(status, written.out, written.err)

    return run


@pytest.fixture
def done(run: Run) -> Callable[..., str]:
    """done("denoise", path): as `run`, must succeed; returns what was printed."""

    def done(*arguments: object) -> str:
        outcome = run(*arguments)
        assert outcome.status == 0, outcome.err
        return outcome.out

    return done


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """refused("denoise", path): must end with one sentence, which is returned, and status 2."""

    def refused(*arguments: object) -> str:
        outcome = run(*arguments)
        assert outcome.status == 2, outcome
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert outcome.err.count("\n") == 1
        assert outcome.err.endswith("\n")
        return outcome.err.removeprefix("error: ").rstrip()

    return refused

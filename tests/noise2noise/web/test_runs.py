"""The page of training runs: what it lists, and whom it stops."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from noise2noise.fit import Trainer, TrainingStopped, configure
from noise2noise.fit.lock import locked
from noise2noise.web.limits import RefusedError
from noise2noise.web.runs import Runs

TINY = {"generated": 3, "corruption": "gaussian:25", "crop": 16, "batch_size": 4}


@pytest.fixture
def runs(tmp_path) -> Path:
    """A folder of one run of two epochs, one without any, and other things."""
    folder = tmp_path / "runs"
    sizes = {"width": 4, "depth": 0, "channels": 1}
    Trainer(configure(**TINY, sizes=sizes, epochs=2), folder / "deep" / "first").fit()
    (folder / "begun").mkdir()
    (folder / "begun" / "config.json").write_text('{"epochs": 5}')
    (folder / "notes").mkdir()
    (folder / "notes" / "text.txt").write_text("nothing")
    return folder


def test_runs_are_listed_with_history_and_pictures(serve, runs):
    client = serve(runs=runs)
    listed = client.get("/api/runs").json()["runs"]
    assert [(each["name"], each["done"], each["epochs"], each["running"]) for each in listed] == [
        ("begun", 0, 5, False),
        ("deep/first", 2, 2, False),
    ]
    run = client.get("/api/runs/deep/first").json()
    assert [row["epoch"] for row in run["history"]] == [1, 2]
    assert run["best"] == max(row["validation_psnr"] for row in run["history"])
    assert run["config"]["corruption"] == "gaussian:25"
    file = run["pictures"]["epochs"][-1]["file"]
    picture = client.get(f"/api/runs/deep/first/pictures/{file}")
    assert picture.content == (runs / "deep" / "first" / "validation" / file).read_bytes()
    assert client.get("/runs").status_code == 200


def test_a_model_of_a_run_is_offered_to_denoise_with(serve, runs):
    (runs / "deep" / "first").rename(runs / "first")
    models = serve(runs=runs).get("/api/about").json()["models"]
    assert [each["name"] for each in models][-1] == "first"


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "notes",
        "deep",
        "first/../../x",
        "%2e%2e/%2e%2e/etc",
        "deep/first/pictures/config.json",
    ],
)
def test_what_is_no_run_is_not_shown(serve, runs, path):
    assert serve(runs=runs).get(f"/api/runs/{path}").status_code == 404


def test_without_the_option_nothing_is_known_of_runs(serve):
    client = serve()
    assert client.get("/runs").status_code == 404
    assert client.get("/api/runs").status_code == 404
    assert not client.get("/api/about").json()["runs"]


def test_damaged_files_of_a_run_are_passed_over(serve, runs):
    folder = runs / "begun"
    (folder / "config.json").write_text("[" * 10**5)
    (folder / "history.csv").write_bytes(b"epoch,validation_psnr\n1,nan\n2,\xff\n3,7.5\n")
    run = serve(runs=runs).get("/api/runs/begun").json()
    assert run["config"] == {}
    assert [row["validation_psnr"] for row in run["history"]] == [None, None, 7.5]
    assert json.dumps(run, allow_nan=False)


def test_a_run_that_trains_is_stopped_and_saved(serve, runs, monkeypatch):
    monkeypatch.setattr("noise2noise.fit.folder._LOOK_SECONDS", 0)
    client = serve(runs=runs)
    sizes = {"width": 4, "depth": 0, "channels": 1}
    trainer = Trainer(configure(**TINY, sizes=sizes, epochs=10**5), runs / "long")
    ended: list[BaseException] = []

    def train() -> None:
        try:
            trainer.fit()
        except TrainingStopped as stop:
            ended.append(stop)

    thread = threading.Thread(target=train)
    thread.start()
    for _ in range(500):
        known = {each["name"]: each["running"] for each in client.get("/api/runs").json()["runs"]}
        if known.get("long"):
            break
        time.sleep(0.02)
    assert client.post("/api/runs/long/resume").status_code == 409
    assert client.post("/api/runs/long/stop").status_code == 202
    thread.join(30)
    assert len(ended) == 1
    assert not client.get("/api/runs/long").json()["running"]
    assert client.post("/api/runs/long/stop").status_code == 409


def test_a_run_goes_on_in_a_process_of_its_own(runs, monkeypatch):
    started = []
    monkeypatch.setattr(
        "noise2noise.web.runs.subprocess.Popen", lambda command, **more: started.append(command)
    )
    Runs(runs).resume("deep/first")
    folder = str(runs / "deep" / "first")
    command = ["-m", "noise2noise", "train", "--resume", "--device", "auto", "--out", folder]
    assert started == [[sys.executable, *command]]
    with pytest.raises(RefusedError, match=r"no last\.safetensors"):
        Runs(runs).resume("begun")
    with locked(runs / "deep" / "first"), pytest.raises(RefusedError, match="already"):
        Runs(runs).resume("deep/first")
    assert len(started) == 1


def test_a_folder_that_is_a_run_itself_is_shown(runs):
    assert Runs(runs / "deep" / "first").names() == ["."]
    assert Runs(runs / "deep" / "first").one(".")["done"] == 2

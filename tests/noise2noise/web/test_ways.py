"""What can be said of the noise, and models that are fitted to a picture first."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from noise2noise.denoiser import Denoiser
from noise2noise.files import Image, write_image
from noise2noise.noise import NoiseProfile
from noise2noise.single import Fitted
from noise2noise.web.computing import Models
from noise2noise.web.fitting import Fitting
from noise2noise.web.jobs import Jobs
from noise2noise.web.limits import Limits, RefusedError
from noise2noise.web.picture import Picture
from noise2noise.web.room import Fits, Room
from noise2noise.web.ways import Ask, Way
from tests.noise2noise.web.conftest import Browser


@pytest.fixture(autouse=True)
def told(stand_ins, make_model) -> None:
    """Stand-ins that are told the noise, as the shipped models are."""
    for name, channels in (("photo", 3), ("grey", 1)):
        (stand_ins / f"{name}.safetensors").unlink()
        sizes = {"channels": channels, "width": 8, "depth": 1, "blocks": 1, "most": 16}
        make_model(stand_ins / f"{name}.safetensors", "guided", **sizes)


@pytest.fixture
def photo(tmp_path, picture) -> Path:
    path = tmp_path / "photo.png"
    write_image(path, Image(picture(96, 110)))
    return path


def command(path: Path, *options: object) -> bytes:
    """What `noise2noise denoise` makes of a file."""
    from noise2noise.cli import main

    out = path.with_name(f"clean{path.suffix}")
    out.unlink(missing_ok=True)
    arguments = ["noise2noise", "denoise", path, "--out", out, "--quiet", *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [str(each) for each in arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return out.read_bytes()


def fitted(browser: Browser, file: str, **way: Any) -> dict[str, Any]:
    """A fit that is asked for, when it is over."""
    answer = browser.client.post(
        browser.at(f"/files/{file}/fittings"), json={"single": True, **way}
    )
    assert answer.status_code == 202, answer.text
    for _ in range(1200):
        (found,) = browser.client.get(browser.at("")).json()["fittings"]
        assert found["id"] == answer.json()["id"]
        if found["state"] not in ("waiting", "working"):
            return found
        time.sleep(0.05)
    raise AssertionError("nothing was fitted in a minute")


def test_noise_that_is_said_is_told_as_the_command_tells_it(browser, photo, tmp_path):
    file = browser.drop(photo)["file"]
    measured = browser.tile(file)
    told = browser.tile(file, noise="30")
    assert told != measured
    assert browser.tile(file, noise="") == measured
    (job,) = browser.save(file, noise="30")
    assert browser.result(job) == command(photo, "--noise", "30")
    profile = NoiseProfile((0.5, 0.2, 0.1), (3.0, 4.0, 5.0), black=2.0)
    profile.save(tmp_path / "camera.json")
    (job,) = browser.save(file, noise=profile.to_json())
    assert browser.result(job) == command(photo, "--noise", tmp_path / "camera.json")


@pytest.mark.parametrize(
    "noise", ["-1", "nan", "many", "{}", "[" * 9999, "/etc/passwd", "9" * 20000]
)
def test_noise_that_is_none_is_refused_in_a_sentence(browser, photo, noise):
    file = browser.drop(photo)["file"]
    asked = {"kind": "after", "noise": noise}
    answer = browser.client.get(browser.at(f"/files/{file}/tile"), params=asked)
    assert answer.status_code in (400, 413)
    assert "noise" in answer.json()["error"]


def test_a_profile_of_other_channels_is_refused_in_a_sentence(browser, photo):
    file = browser.drop(photo)["file"]
    asked = {"kind": "after", "noise": NoiseProfile((0.5, 0.2), (3.0, 4.0)).to_json()}
    answer = browser.client.get(browser.at(f"/files/{file}/tile"), params=asked)
    assert answer.status_code == 422, answer.text
    assert "channels" in answer.json()["error"]


def test_a_model_is_fitted_and_what_is_saved_is_what_the_command_saves(browser, photo, monkeypatch):
    monkeypatch.setattr("noise2noise.single.adaptation._STEPS", 8)
    file = browser.drop(photo)["file"]
    asked = {"kind": "after", "single": "1"}
    answer = browser.client.get(browser.at(f"/files/{file}/tile"), params=asked)
    assert answer.status_code == 409
    assert "fit it again" in answer.json()["error"]
    found = fitted(browser, file)
    assert (found["state"], found["share"], found["error"]) == ("done", 1, "")
    assert found["said"].startswith("photo")
    assert browser.tile(file, single="1")
    again = browser.client.post(browser.at(f"/files/{file}/fittings"), json={"model": "photo"})
    assert again.json()["id"] == found["id"]  # the model that suits, by its name
    (job,) = browser.save(file, single=True)
    assert job["facts"]["single"]["said"] == found["said"]
    assert browser.result(job) == command(photo, "--single")


def test_who_looks_is_let_by_while_a_model_is_fitted(photo, monkeypatch):
    room, order = Room.of(Limits(), Models()), list[str]()
    picture, turns = Picture(photo, room), room.turns

    def look() -> None:
        with turns.first:
            order.append("seen")

    def slow(model: Denoiser, _: Any, __: Any, ___: Any, progress: Any) -> Fitted:
        thread = threading.Thread(target=look)
        thread.start()
        while not turns._waiting[0]:
            pass
        progress(0.5)
        order.append("fitted")
        thread.join(10)
        return Fitted(model, "photo")

    monkeypatch.setattr("noise2noise.web.picture.fit", slow)
    with turns.after:
        picture.fit(Way(), lambda share: None, turns.after)
    assert order == ["seen", "fitted"]
    picture.close()


def test_a_fit_that_is_stopped_or_whose_file_goes_ends(browser, photo, monkeypatch):
    def slow(*_: Any, progress: Any = None, **__: Any) -> None:
        for step in range(2000):
            progress(step / 2000)
            time.sleep(0.01)

    monkeypatch.setattr("noise2noise.web.picture.fit", lambda *given: slow(progress=given[-1]))
    file = browser.drop(photo)["file"]
    address = browser.at(f"/files/{file}/fittings")
    first = browser.client.post(address, json={}).json()["id"]
    assert browser.client.delete(browser.at(f"/fittings/{first}")).status_code == 204
    page = browser.open_page()
    states = [page.fittings[first]]
    second = page.fittings[browser.client.post(address, json={"noise": "3"}).json()["id"]]
    browser.client.delete(browser.at(f"/files/{file}"))
    for _ in range(500):
        if states[0].state == second.state == "cancelled":
            break
        time.sleep(0.02)
    assert [states[0].state, second.state] == ["cancelled", "cancelled"]
    assert browser.client.get(browser.at("")).json()["fittings"] == []


def test_a_fit_whose_picture_goes_in_the_middle_of_a_look_is_no_failure(photo, monkeypatch):
    room = Room.of(Limits(), Models())
    fitting = Fitting("", Picture(photo, room), Way())

    def gone(*_: Any) -> None:
        fitting.stop.set()
        raise ValueError("read of closed file")

    monkeypatch.setattr("noise2noise.web.picture.fit", gone)
    jobs = Jobs(room)
    jobs.fit(fitting)
    jobs.close()
    assert (fitting.state, fitting.error) == ("cancelled", "")
    fitting.picture.close()


def test_so_many_fits_are_kept_and_no_more():
    fits, some = Fits(2), [object() for _ in range(3)]
    for key, each in enumerate(some):
        fits.put(key, each)  # type: ignore[arg-type]
    assert [fits.get(key) is not None for key in range(3)] == [False, True, True]


def test_tiles_of_a_picture_are_no_others(tmp_path, picture, stand_ins):
    """Whatever place in memory a picture has that another had before."""
    room, found = Room.of(Limits(), Models()), set[bytes]()
    for seed in range(3):
        path = tmp_path / f"{seed}.png"
        write_image(path, Image(picture(40, 50, seed=seed)))
        each = Picture(path, room)
        found.add(each.tile(Ask("after", 0, 0, 0)))
        each.close()
        del each
    assert len(found) == 3


def test_a_picture_is_asked_in_ways_that_can_be(photo, stand_ins):
    picture = Picture(photo, Room.of(Limits(), Models()))
    with pytest.raises(RefusedError, match="isn't fitted"):
        picture.tile(Ask("after", 0, 0, 0, way=Way(single=True)))
    picture.close()

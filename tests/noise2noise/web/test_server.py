"""Files on a page: taken or refused, shown, saved as by the command, and gone with the page."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from noise2noise.cli import main
from noise2noise.denoiser import Denoiser
from noise2noise.files import Image, open_stack, write_image
from noise2noise.web.archive import archived, free_name
from noise2noise.web.computing import Cache, Models, Turns
from noise2noise.web.display import Turned
from noise2noise.web.limits import Limits, RefusedError
from noise2noise.web.names import safe_name
from noise2noise.web.pages import Pages
from noise2noise.web.picture import NEAR, Picture
from noise2noise.web.room import Room
from noise2noise.web.ways import Ask, Gone, Way
from tests.noise2noise.web.conftest import Browser

Command = Callable[..., bytes]
ORIENTATION = 274


def pixels_of(png: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(png)))


@pytest.fixture
def photo(tmp_path, picture) -> Path:
    path = tmp_path / "photo.png"
    write_image(path, Image(picture(300, 420)))
    return path


@pytest.fixture
def jpeg(tmp_path, picture) -> Path:
    """A JPEG whose EXIF says who made it, and that it lies on its side."""
    exif = PIL.Image.Exif()
    exif[ORIENTATION], exif[271] = 6, "a camera"
    path = tmp_path / "snap shot.jpg"
    PIL.Image.fromarray(picture(90, 130)).save(path, quality=95, exif=exif)
    return path


@pytest.fixture
def stack(tmp_path, picture) -> Path:
    """16 bits, of which 12 are used, with a description."""
    planes = [picture(70, 80, 1, "uint16", seed) // 16 for seed in range(3)]
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, np.stack(planes), imagej=True, metadata={"axes": "ZYX", "spacing": 2.0})
    return path


# What is saved.


@pytest.fixture
def command(tmp_path, monkeypatch) -> Command:
    """command(path, "--strength", 0.5): what `noise2noise denoise` makes of a file."""

    def command(path: Path, *options: object) -> bytes:
        out = tmp_path / "clean" / path.name
        arguments = ["noise2noise", "denoise", path, "--out", out, "--quiet", *options]
        monkeypatch.setattr("sys.argv", [str(each) for each in arguments])
        out.parent.mkdir(exist_ok=True)
        out.unlink(missing_ok=True)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return out.read_bytes()

    return command


@pytest.mark.parametrize("kind", ["photo", "jpeg", "stack"])
@pytest.mark.parametrize("strength", [1.0, 0.35])
def test_saved_files_are_those_of_the_command(kind, strength, browser, command, request):
    path = request.getfixturevalue(kind)
    facts = browser.drop(path)
    (job,) = browser.save(facts["file"], strength=strength)
    assert (job["state"], job["error"]) == ("done", "")
    assert job["result"] == f"{path.stem}_denoised{path.suffix}"
    expected = command(path, "--strength", strength)
    assert browser.result(job) == expected
    assert expected != path.read_bytes()


def test_the_best_quality_and_a_model_of_ones_own_are_the_commands_too(
    serve, photo, command, make_model
):
    model = make_model("mine/best.safetensors", channels=3).parent
    browser = Browser(serve(models=(str(model),)))
    names = [each["name"] for each in browser.client.get("/api/about").json()["models"]]
    assert names == ["camera", "grey", "photo", "mine"]
    file = browser.drop(photo)["file"]
    (job,) = browser.save(file, model="mine", quality="best")
    assert browser.result(job) == command(photo, "--model", model, "--quality", "best")


def test_several_are_saved_as_one_zip_whatever_their_names(browser, photo, stack):
    files = [browser.drop(path)["file"] for path in (photo, stack, photo)]
    jobs = browser.save(*files)
    asked = {"jobs": [job["id"] for job in jobs]}
    archive = browser.client.post(browser.at("/archives"), json=asked).json()["archive"]
    answer = browser.client.get(f"/archives/{browser.page}/{archive}")
    assert answer.headers["content-disposition"] == 'attachment; filename="denoised.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        assert zipped.testzip() is None
        held = {name: zipped.read(name) for name in zipped.namelist()}
    names = ["photo_denoised.png", "cells_denoised.tif", "photo_denoised (2).png"]
    assert held == {name: browser.result(job) for name, job in zip(names, jobs, strict=True)}


def test_a_report_comes_in_the_zip_and_changes_no_bit(browser, photo):
    file = browser.drop(photo)["file"]
    plain = browser.result(browser.save(file)[0])
    (job,) = browser.save(file, report=True)
    assert job["facts"]["report"]
    archive = browser.client.post(browser.at("/archives"), json={"jobs": [job["id"]]}).json()
    answer = browser.client.get(f"/archives/{browser.page}/{archive['archive']}")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        assert zipped.namelist() == ["photo_denoised.png", "photo_report.html"]
        assert zipped.read("photo_denoised.png") == plain
        report = zipped.read("photo_report.html").decode()
    assert "photo.png" in report
    assert "noise2noise-web-" not in report


def test_what_is_saved_already_isnt_computed_again(browser, photo):
    file = browser.drop(photo)["file"]
    first, again = browser.save(file)[0], browser.save(file)[0]
    other = browser.save(file, strength=0.5)[0]
    assert first["id"] == again["id"] != other["id"]
    assert browser.client.get(f"/results/{browser.page}/{first['id']}").status_code == 404


def test_a_file_that_is_damaged_further_on_is_told_and_the_others_are_saved(browser, photo, stack):
    files = [browser.drop(path)["file"] for path in (photo, stack)]
    spoilt = browser.open_page().pictures[files[0]].path
    spoilt.write_bytes(photo.read_bytes()[:300])
    bad, good = browser.save(*files)
    assert (bad["state"], good["state"]) == ("failed", "done")
    assert bad["error"].startswith("photo.png is damaged")


def test_a_file_that_waits_can_be_stopped_and_leaves_nothing(browser, photo, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments, **more):
        begun.set()
        go_on.wait(10)
        return denoise_stack(*arguments, **more)

    denoise_stack = Denoiser.denoise_stack
    monkeypatch.setattr(Denoiser, "denoise_stack", slow)
    files = [browser.drop(photo)["file"] for _ in range(2)]
    browser.client.post(browser.at("/jobs"), json={"files": files})
    assert begun.wait(10)
    for job in browser.client.get(browser.at("")).json()["jobs"]:
        assert browser.client.delete(browser.at(f"/jobs/{job['id']}")).status_code == 204
    go_on.set()
    states: set[str] = set()
    for _ in range(200):
        states = {job["state"] for job in browser.client.get(browser.at("")).json()["jobs"]}
        if states == {"cancelled"}:
            break
        threading.Event().wait(0.02)
    assert states == {"cancelled"}
    page = browser.open_page()
    assert not (page.folder / "out").exists() or not list((page.folder / "out").iterdir())


def test_no_more_wait_than_may(serve, photo, monkeypatch):
    browser = Browser(serve(limits={"waiting": 1}))
    files = [browser.drop(photo)["file"] for _ in range(2)]
    answer = browser.client.post(browser.at("/jobs"), json={"files": files})
    assert answer.status_code == 429
    assert browser.client.get(browser.at("")).json()["jobs"] == []
    assert browser.save(files[0])[0]["state"] == "done"


# What is shown.


def test_tiles_before_are_the_picture_and_tiles_after_what_denoise_makes(browser, photo):
    facts = browser.drop(photo)
    assert (facts["width"], facts["height"], facts["levels"]) == (420, 300, 3)
    file, stored = facts["file"], np.asarray(PIL.Image.open(photo))
    clean = Denoiser.load("photo").denoise(stored)
    for kind, expected in (("before", stored), ("after", clean)):
        corner = pixels_of(browser.tile(file, kind, level=0, x=2, y=1, columns=5, rows=2))
        assert corner.shape == (172, 164, 3)
        assert np.abs(corner.astype(int) - expected[128:, 256:]).max() <= (kind == "after")
    assert browser.tile(file, "after", strength=0) == browser.tile(file, "before")
    removed = pixels_of(browser.tile(file, "residual")).astype(int) - 127.5
    expected = 4.0 * (stored.astype(int) - clean)[:128, :128]
    assert np.abs(removed - expected.clip(-127.5, 127.5)).max() <= 5


def test_upper_levels_are_means_of_the_lower(browser, photo):
    file = browser.drop(photo)["file"]
    upper = pixels_of(browser.tile(file, "after", level=1, columns=2, rows=2)).astype(int)
    assert upper.shape == (150, 210, 3)
    lower = pixels_of(browser.tile(file, "after", level=0, columns=4, rows=3)).astype(float)
    means = lower.reshape(150, 2, 210, 2, 3).mean((1, 3))
    assert np.abs(upper - means).max() <= 1


def test_tiles_are_the_same_together_and_alone(photo, stand_ins):
    """Within a step of 8 bits; those that are kept already aren't computed again."""
    picture = Picture(photo, Room.of(Limits(), Models()))
    alone = pixels_of(picture.tile(Ask("after", 0, 1, 1)))
    together = pixels_of(picture.tile(Ask("after", 0, 0, 0, columns=4, rows=3)))
    assert together.shape == (300, 420, 3)
    np.testing.assert_array_equal(together[128:256, 128:256], alone)
    other = Picture(photo, Room.of(Limits(), Models()))
    anew = pixels_of(other.tile(Ask("after", 0, 0, 0, columns=4, rows=3))).astype(int)
    assert np.abs(together - anew).max() <= 1
    for each in (picture, other):
        each.close()


def test_more_tiles_than_are_computed_at_once_are_put_together_rightly(
    tmp_path, picture, stand_ins
):
    noisy = picture(830, 70, 1)
    write_image(tmp_path / "tall.png", Image(noisy))
    tall = Picture(tmp_path / "tall.png", Room.of(Limits(), Models()))
    shown = pixels_of(tall.tile(Ask("after", 0, 0, 0, columns=9, rows=9))).astype(int)
    assert np.abs(shown - Denoiser.load("grey").denoise(noisy)).max() <= 1
    tall.close()


def test_files_are_read_while_others_compute(photo, stand_ins):
    """Who looks at the picture before doesn't wait for the network."""
    room = Room.of(Limits(), Models())
    picture = Picture(photo, room)
    room.turns.take(0)  # somebody computes
    found: list[bytes] = []
    waiting = threading.Thread(target=lambda: found.append(picture.tile(Ask("after", 0, 0, 0))))
    waiting.start()
    while not room.turns._waiting[0]:
        pass
    assert picture.tile(Ask("before", 0, 0, 0))
    assert not picture.let_go()  # it is read
    assert not found
    room.turns.give()
    waiting.join(30)
    assert found
    picture.close()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_as_their_exif_has_it(orientation):
    stored = np.arange(3 * 5 * 1).reshape(3, 5, 1)
    image = PIL.Image.fromarray(stored[..., 0].astype(np.uint8))
    image.getexif()[ORIENTATION] = orientation
    upright = np.asarray(PIL.ImageOps.exif_transpose(image))
    turned = Turned(3, 5, orientation)
    assert turned.shape == upright.shape
    rows, columns = slice(1, 3), slice(0, 2)
    window = turned.seen(stored[turned.stored(rows, columns)])
    np.testing.assert_array_equal(window[..., 0], upright[rows, columns])


def test_a_jpeg_on_its_side_is_shown_upright(browser, jpeg):
    facts = browser.drop(jpeg)
    assert (facts["width"], facts["height"]) == (90, 130)
    with PIL.Image.open(jpeg) as image:
        upright = np.asarray(PIL.ImageOps.exif_transpose(image)).astype(int)
    shown = pixels_of(browser.tile(facts["file"], "before", rows=2))
    assert np.abs(shown - upright).max() <= 2  # decoders round differently


def test_a_stack_is_shown_plane_by_plane_in_its_own_light(browser, stack):
    facts = browser.drop(stack)
    assert facts["axes"] == [["Z", 3]]
    planes = [pixels_of(browser.tile(facts["file"], "before", plane=each)) for each in range(3)]
    assert [plane.max() > 240 for plane in planes].count(True) >= 2  # 12 of 16 bits fill the screen
    assert not np.array_equal(planes[0], planes[1])
    stored = tifffile.imread(stack)[2].astype(float)
    assert np.corrcoef(planes[2].ravel(), stored.ravel())[0, 1] > 0.99
    missing = browser.client.get(
        browser.at(f"/files/{facts['file']}/tile"), params={"kind": "after", "plane": 3}
    )
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"kind": "inside"}, 400),
        ({"kind": "after", "x": -1}, 400),
        ({"kind": "after", "x": "9" * 40}, 400),
        ({"kind": "after", "x": 4}, 404),
        ({"kind": "before", "level": 99}, 404),
        ({"kind": "before", "sample": 1}, 404),
        ({"kind": "before", "columns": 0}, 400),
        ({"kind": "after", "rows": 10**6}, 400),
        ({"kind": "after", "strength": "nan"}, 400),
        ({"kind": "after", "strength": 3}, 400),
        ({"kind": "after", "quality": "worst"}, 400),
        ({"kind": "after", "model": "photo", "quality": "fast"}, 400),
        ({"kind": "after", "model": "/etc/passwd"}, 422),
        ({"kind": "after", "model": "../photo"}, 422),
    ],
    ids=str,
)
def test_what_cant_be_shown_is_refused_in_a_sentence(browser, photo, asked, status):
    file = browser.drop(photo)["file"]
    answer = browser.client.get(browser.at(f"/files/{file}/tile"), params=asked)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_noise_is_told_as_inspect_does(browser, photo, stack):
    noise = browser.client.get(browser.at(f"/files/{browser.drop(photo)['file']}/noise")).json()
    assert noise["kind"] in ("even", "growing")
    assert noise["deviation"] == pytest.approx(0.05 * 255, rel=0.1)
    assert (noise["model"], noise["why"]) == ("photo", "since its colours have noise of their own")
    file = browser.drop(stack)["file"]
    noise = browser.client.get(browser.at(f"/files/{file}/noise"), params={"plane": 2}).json()
    assert noise["deviation"] == pytest.approx(0.05 * 4095, rel=0.15)


def test_the_shipped_models_show_what_they_save_to_a_step_of_8_bits(tmp_path):
    import skimage.data

    rng = np.random.default_rng(0)
    clean = skimage.data.astronaut()[:400, 100:460].astype(float)
    noisy = np.rint(clean + rng.normal(0, 30, clean.shape)).clip(0, 255).astype(np.uint8)
    stored = tmp_path / "noisy.png"
    write_image(stored, Image(noisy))
    picture = Picture(stored, Room.of(Limits(), Models()))
    shown = pixels_of(picture.tile(Ask("after", 0, 0, 0))).astype(int)
    saved = Denoiser.load("photo").denoise(noisy)[:128, :128]
    assert np.abs(shown - saved).max() <= 1
    assert Denoiser.load("photo")._network.overlap > NEAR
    picture.close()


def test_a_tile_that_nobody_waits_for_isnt_computed(photo, stand_ins):
    picture = Picture(photo, Room.of(Limits(), Models()))
    with pytest.raises(Gone):
        picture.tile(Ask("after", 0, 0, 0), gone=lambda: True)
    picture.tile(Ask("after", 0, 0, 0))
    picture.tile(Ask("after", 0, 0, 0), gone=lambda: True)  # it is there by now
    assert picture.is_at_hand(Ask("after", 0, 0, 0))
    assert not picture.is_at_hand(Ask("after", 0, 0, 0, columns=2))
    picture.close()


def test_files_that_arent_looked_at_are_closed_and_opened_again(tmp_path, picture, stand_ins):
    room = Room.of(Limits(open_files=1), Models())
    pictures = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        write_image(path, Image(picture(40, 50, seed=number)))
        pictures.append(Picture(path, room))
    assert [each._stack is not None for each in pictures] == [False, False, True]
    first = pictures[0].tile(Ask("after", 0, 0, 0))
    assert [each._stack is not None for each in pictures] == [True, False, False]
    room.cache._kept.clear()
    pictures[1].tile(Ask("after", 0, 0, 0))
    assert pictures[0].tile(Ask("after", 0, 0, 0)) == first
    for each in pictures:
        each.close()


# What is refused.


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(serve, photo):
    size = photo.stat().st_size
    browser = Browser(serve(limits={"file_bytes": size - 1}))
    answer = browser.send("photo.png", photo.read_bytes())
    assert answer.status_code == 413
    assert "noise2noise denoise" in answer.json()["error"]
    assert browser.client.get(browser.at("")).json()["files"] == []


@pytest.mark.parametrize("announced", [10, 10**6])
def test_a_file_of_another_length_than_was_announced_is_refused(browser, photo, announced):
    answer = browser.send("photo.png", photo.read_bytes(), **{"content-length": str(announced)})
    assert answer.status_code == 400
    page = browser.open_page()
    assert (page.coming, page.arriving, list(page.folder.glob("in/*"))) == (0, 0, [])


@pytest.mark.parametrize("length", ["-5", "many", "9" * 30])
def test_a_length_that_is_none_is_refused(browser, length):
    answer = browser.send("photo.png", b"x", **{"content-length": length})
    assert answer.status_code == 411


def test_a_page_takes_so_many_files_and_bytes_and_no_more(serve, photo):
    size = photo.stat().st_size
    few = Browser(serve(limits={"files": 1}))
    kept = few.drop(photo)["file"]
    assert few.send("photo.png", photo.read_bytes()).status_code == 413
    assert few.client.delete(few.at(f"/files/{kept}")).status_code == 204
    few.drop(photo)
    small = Browser(serve(limits={"page_bytes": size + 10}))
    small.drop(photo)
    assert small.send("photo.png", photo.read_bytes()).status_code == 413
    full = Browser(serve(limits={"free_bytes": 2**60}))
    assert full.send("photo.png", photo.read_bytes()).status_code == 507


def bomb() -> bytes:
    """A PNG of a few bytes that claims more than a thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(2**20)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def large_but_honest(tmp_path: Path) -> bytes:
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, np.zeros((2000, 2000), np.uint8), compression="zlib")
    return path.read_bytes()


def test_what_unpacks_to_more_than_may_be_is_refused_and_gone(serve, tmp_path):
    browser = Browser(serve(limits={"plane_bytes": 2**20}))
    page = browser.open_page()
    for name, data, status in (
        ("bomb.png", bomb(), 422),
        ("large.tif", large_but_honest(tmp_path), 413),
        ("words.png", b"no image at all", 422),
        ("empty.png", b"", 422),
    ):
        answer = browser.send(name, data)
        assert answer.status_code == status, name
        sentence = answer.json()["error"]
        assert sentence.startswith(name), sentence
        assert str(page.folder) not in sentence
        assert list(page.folder.glob("in/*")) == []
    assert browser.client.get(browser.at("")).json() == {
        "files": [],
        "jobs": [],
        "fittings": [],
    }


NAMES = {
    "../../etc/passwd": "passwd",
    "..\\..\\windows\\system.png": "system.png",
    "/absolute.png": "absolute.png",
    "..": "image",
    "": "image",
    ".hidden.png": "hidden.png",
    "con.png": "image_con.png",
    "a\0b\n\x1b[31m.png": "a_b__[31m.png",
    "\u202egnp.exe": "_gnp.exe",
    "a{stem}b.png": "a_stem_b.png",
    "x" * 300 + ".tif": "x" * 146 + ".tif",
    "ü" * 200 + ".png": "ü" * 73 + ".png",
    "e\u0301tude.png": "étude.png",
    " . ": "image",
    "<img src=x>.png": "_img src=x_.png",
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_are_made_harmless(name):
    assert safe_name(name) == NAMES[name]


@pytest.mark.parametrize("name", ["../../photo.png", "a\r\nset-cookie: x.png", "ф{model}.png", "/"])
def test_a_file_of_a_hostile_name_stays_in_its_folder_and_is_saved(browser, photo, name):
    answer = browser.send(name, photo.read_bytes())
    assert answer.status_code == 201
    page = browser.open_page()
    path = page.pictures[answer.json()["file"]].path
    assert path.resolve().is_relative_to(page.folder.resolve())
    assert path.name in (safe_name(name), f"{safe_name(name)}.png")
    (job,) = browser.save(answer.json()["file"])
    answer = browser.client.get(f"/results/{browser.page}/{job['id']}")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[" * 10**5, b'{"files": 3}', b'{"files": [3]}']
)
def test_a_request_that_makes_no_sense_is_refused(browser, body):
    answer = browser.client.post(browser.at("/jobs"), content=body)
    assert answer.status_code == 400


def test_a_mistake_of_the_program_is_a_sentence_too(browser, photo, monkeypatch, caplog):
    file = browser.drop(photo)["file"]
    monkeypatch.setattr(Picture, "noise", lambda self, plane: 1 // plane)
    answer = browser.client.get(browser.at(f"/files/{file}/noise"))
    assert answer.status_code == 500
    assert answer.json()["error"].startswith("a mistake of the program (ZeroDivisionError: ")
    assert "Traceback" in caplog.text


# Pages.


def test_two_users_at_once_see_nothing_of_each_other(serve, photo, stack, command):
    client = serve()
    one, other = Browser(client), Browser(client)
    files = one.drop(photo)["file"], other.drop(stack)["file"]
    for rest in ("/tile?kind=before", "/noise"):
        assert client.get(one.at(f"/files/{files[1]}{rest}")).status_code == 404
    answer = client.post(one.at("/jobs"), json={"files": [files[1]]})
    assert answer.status_code == 404
    found: dict[str, bytes] = {}

    def work(browser: Browser, file: str) -> None:
        browser.tile(file)
        found[file] = browser.result(browser.save(file)[0])

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip((one, other), files, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[files[0]] == command(photo)
    assert found[files[1]] == command(stack)
    job = client.get(one.at("")).json()["jobs"][0]["id"]
    assert client.get(f"/results/{other.page}/{job}").status_code == 404


def test_when_a_page_closes_its_files_are_gone(browser, photo):
    file = browser.drop(photo)["file"]
    browser.save(file)
    folder = browser.open_page().folder
    assert len(list(folder.rglob("*.png"))) == 2
    assert browser.client.delete(browser.at("")).status_code == 204
    assert not folder.exists()
    assert browser.client.get(browser.at("")).status_code == 410
    assert browser.client.delete(browser.at("")).status_code == 204


def test_a_page_that_is_silent_for_long_is_closed_and_so_many_are_open(tmp_path, stand_ins):
    now = [0.0]
    room = Room.of(Limits(pages=2, idle_seconds=10), Models())
    pages = Pages(room, clock=lambda: now[0], root=tmp_path)
    silent, alive = pages.open(), pages.open()
    with pytest.raises(RefusedError, match="2 pages are open already"):
        pages.open()
    now[0] = 11
    pages.get(alive.id)
    pages.open()
    assert not silent.folder.exists()
    assert alive.folder.exists()
    pages.shut()
    assert not pages.folder.exists()


def test_what_a_killed_server_left_is_removed_and_what_a_living_one_has_stays(tmp_path, stand_ins):
    code = (
        "import os, sys; from pathlib import Path\n"
        "from noise2noise.web.computing import Models\n"
        "from noise2noise.web.limits import Limits\n"
        "from noise2noise.web.pages import Pages\n"
        "from noise2noise.web.room import Room\n"
        "pages = Pages(Room.of(Limits(), Models()), root=Path(sys.argv[1]))\n"
        "pages.open(); print(pages.folder, flush=True); os._exit(9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    left = Path(killed.stdout.strip())
    assert left.is_dir(), killed.stderr
    room = Room.of(Limits(), Models())
    living = Pages(room, root=tmp_path)
    assert not left.exists()
    other = Pages(room, root=tmp_path)
    assert living.folder.is_dir()
    living.shut()
    other.shut()


# Parts.


def test_what_is_looked_at_comes_before_what_is_saved():
    turns, order = Turns(), []
    turns.take(0)
    threads = []
    doors = {"ahead": turns.last, "saved": turns.after, "seen": turns.first}
    for name, door in doors.items():

        def work(name=name, door=door):
            with door:
                order.append(name)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        while not turns._waiting[door.rank]:
            pass
    turns.give()
    for thread in threads:
        thread.join(10)
    assert order == ["seen", "saved", "ahead"]


def test_a_long_turn_lets_those_by_who_come_first():
    turns, order = Turns(), []

    def look():
        with turns.first:
            order.append("seen")

    with turns.after:
        thread = threading.Thread(target=look)
        thread.start()
        while not turns._waiting[0]:
            pass
        turns.after.let_by()
        order.append("saved")
    thread.join(10)
    assert order == ["seen", "saved"]


def test_who_has_gone_gets_no_turn_and_holds_nobody_up():
    turns, gone = Turns(), [False]
    with turns.last.unless(lambda: gone[0]):
        gone[0] = True
    with pytest.raises(Gone), turns.last.unless(lambda: gone[0]):
        raise AssertionError("it was let in")
    with turns.last:
        pass


def test_a_cache_keeps_to_its_size_and_lets_go_of_the_oldest():
    cache = Cache(250)
    for key in "abc":
        cache.put(key, np.zeros(100, np.uint8))
    assert [cache.get(key) is not None for key in "abc"] == [False, True, True]
    cache.get("b")
    cache.put("d", np.zeros(100, np.uint8))
    assert [cache.get(key) is not None for key in "bcd"] == [True, False, True]


def test_a_zip_is_made_as_it_is_sent(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(3 * 2**20))
    pieces = list(archived([path, path]))
    assert len(pieces) >= 6
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as zipped:
        assert zipped.namelist() == ["a.bin", "a (2).bin"]
    taken: set[str] = set()
    assert [free_name(name, taken) for name in ("x.png", "X.png")] == ["x.png", "X (2).png"]


def test_way_is_what_the_command_makes_of_its_options():
    from noise2noise.cli.denoising import _settings

    class Asked:
        strength, tile, memory, noise, quality, keep_impulses = 0.5, None, None, None, "best", False
        dtype = bit_depth = None

    assert Way("", "best", 0.5).settings() == _settings(Asked())  # type: ignore[arg-type]


def test_open_stack_sees_what_the_page_sees(browser, stack):
    facts = browser.drop(stack)
    with open_stack(stack) as opened:
        assert facts["dtype"] == str(opened.header.dtype)
        assert facts["height"] == opened.header.height

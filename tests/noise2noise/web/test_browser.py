"""The page in a real browser: images are dropped, compared, saved; the program dies and returns."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

pytest.importorskip("starlette", reason="the extra web is not installed")
pytest.importorskip("playwright", reason="Playwright is not installed")

from playwright.sync_api import Browser, Page, expect, sync_playwright

from noise2noise.files import Header, open_stack, write_stack
from noise2noise.noise import NoiseProfile

TOKEN = "a-token-for-the-tests-of-the-page"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "2", "NOISE2NOISE_WEB_TOKEN": TOKEN}
PATIENCE = 60_000  # milliseconds

DROP = """async files => {
    const data = new DataTransfer();
    for (const [name, text] of files) {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        data.items.add(new File([bytes], name));
    }
    const options = {dataTransfer: data, bubbles: true, cancelable: true};
    document.dispatchEvent(new DragEvent("drop", options));
}"""
PIXELS = """([left, right]) => {
    const canvas = document.querySelector("#stage canvas");
    const {width, height} = canvas;
    const from = Math.round(left * width), to = Math.round(right * width);
    const {data} = canvas.getContext("2d").getImageData(from, 0, to - from, height);
    return Array.from(data.filter((_, index) => index % 4 === 0 && index % 1237 < 4));
}"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser without a window; skips where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        place = found or playwright.chromium.executable_path
        if not Path(place).exists():
            pytest.skip("there is no Chromium")
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def program(port: int = 0, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`noise2noise web` as people start it, and the address that it prints."""
    command = [sys.executable, "-m", "noise2noise", "web", "--no-open", "--port", str(port)]
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        found = re.search(r"http://\S+", said)
        assert found, said + process.stderr.read()
        yield found[0], process
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with program() as (place, _):
        yield place


@contextmanager
def opened(chromium: Browser, address: str, **context: Any) -> Iterator[Page]:
    """The page, of which no script fails and nothing is asked for elsewhere."""
    place = address.partition("#")[0]
    wrong: list[str] = []
    page = chromium.new_context(
        **{"viewport": {"width": 1000, "height": 700}, **context}
    ).new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((place, "blob:")) else wrong.append(f"asked {asked.url}")
        ),
    )
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    assert "#" not in page.url
    yield page
    page.context.close()
    assert wrong == []


def drop(page: Page, *paths: Path) -> None:
    coded = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths]
    page.evaluate(DROP, coded)


def settled(page: Page) -> None:
    """All that is seen is computed."""
    page.wait_for_timeout(150)
    page.wait_for_selector("#stage[data-exact=true]")


def seen(page: Page, left: float, right: float) -> np.ndarray:
    """Pixels of a part of the canvas."""
    return np.array(page.evaluate(PIXELS, [left, right]))


def saved(page: Page, button: str = "#save") -> tuple[str, bytes]:
    """The name and the bytes of what the browser is given."""
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stack of 16 bits and a JPEG with EXIF, and what `noise2noise denoise` makes of them, at all
    of the strength and at half of it."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:120, :150] / 9
    smooth = 0.5 + 0.3 * np.stack([np.sin(x + number * y) for number in range(3)])
    noisy = (smooth + rng.normal(0, 0.05, smooth.shape)).clip(0, 1)
    planes = np.rint(4095 * noisy).astype(np.uint16)
    tifffile.imwrite(folder / "cells.tif", planes, imagej=True, metadata={"axes": "ZYX"})
    exif = PIL.Image.Exif()
    exif[271] = "a camera"
    photo = PIL.Image.fromarray(np.rint(255 * noisy).astype(np.uint8).transpose(1, 2, 0))
    photo.save(folder / "a photo.jpg", quality=95, exif=exif)
    program = [sys.executable, "-m", "noise2noise", "denoise", "--quiet"]
    for strength in ("1", "0.5"):
        options = ["--strength", strength, "--out", strength, "cells.tif", "a photo.jpg"]
        subprocess.run([*program, *options], check=True, env=ENVIRONMENT, cwd=folder)
    return folder


@pytest.fixture
def tiff(folder) -> Path:
    return folder / "cells.tif"


@pytest.fixture
def jpeg(folder) -> Path:
    return folder / "a photo.jpg"


def command(path: Path, strength: str = "1") -> bytes:
    """What `noise2noise denoise` made of a file."""
    return (path.parent / strength / path.name).read_bytes()


def test_files_are_dropped_compared_and_saved_as_the_command_saves_them(
    chromium, address, tiff, jpeg
):
    with opened(chromium, address) as page:
        drop(page, jpeg, tiff)
        settled(page)
        expect(page.locator("#noise")).to_contain_text("standard deviation")

        before = seen(page, 0.55, 0.65)  # to the right of the divider: after
        box = page.locator(".divider").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 18, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + 200, middle, steps=4)
        page.mouse.up()
        assert int(page.get_attribute(".divider", "aria-valuenow") or 0) > 60
        moved = seen(page, 0.55, 0.65)  # now to its left
        assert np.abs(before - moved).mean() > 1
        page.focus(".divider")
        page.keyboard.press("Home")
        settled(page)
        assert page.get_attribute(".divider", "aria-valuenow") == "0"

        whole = seen(page, 0.4, 0.6)
        page.focus("#strength")
        for _ in range(10):
            page.keyboard.press("ArrowLeft")
        settled(page)
        assert page.text_content("#strength-value") == "50 %"
        half = seen(page, 0.4, 0.6)
        assert whole.shape == half.shape
        assert np.abs(whole - half).mean() > 0.5
        name, data = saved(page)
        assert name == "a photo_denoised.jpg"
        assert data == command(jpeg, "0.5")

        page.click("text=cells.tif")
        settled(page)
        first = seen(page, 0.4, 0.6)
        page.locator("#axes input").focus()
        page.keyboard.press("End")
        settled(page)
        assert page.locator("#axes output").text_content() == "3 / 3"
        assert np.abs(first - seen(page, 0.4, 0.6)).mean() > 1
        name, data = saved(page, "#save-all")
        assert name == "denoised.zip"
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.namelist() == ["a photo_denoised.jpg", "cells_denoised.tif"]
            assert archive.read("cells_denoised.tif") == command(tiff, "0.5")

        page.click("text=Removed")
        settled(page)
        assert 100 < seen(page, 0.4, 0.6).mean() < 155


def test_two_browsers_at_once_have_their_own_files(chromium, address, tiff, jpeg):
    with opened(chromium, address) as one, opened(chromium, address, locale="de-DE") as other:
        drop(one, tiff)
        drop(other, jpeg)
        settled(one)
        settled(other)
        assert one.locator("#list li").count() == other.locator("#list li").count() == 1
        expect(other.locator("#save")).to_have_text("Speichern")
        assert saved(one)[1] == command(tiff)
        assert saved(other)[1] == command(jpeg)


def test_a_program_that_is_killed_and_started_again_goes_on_with_the_page(chromium, jpeg, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with program(port) as (place, process):
        context = opened(chromium, place)
        page = context.__enter__()
        drop(page, jpeg)
        settled(page)
        process.kill()
        process.wait()
        page.click("text=Removed")
        expect(page.locator("#banner")).to_contain_text("doesn't answer")
    with program(port):
        expect(page.locator("#banner")).to_be_hidden(timeout=PATIENCE)
        settled(page)
        name, data = saved(page)
        assert (name, data) == ("a photo_denoised.jpg", command(jpeg))
        context.__exit__(None, None, None)


def test_what_is_no_image_is_told_and_another_address_isnt_believed(chromium, address, tmp_path):
    text = tmp_path / "letter.png"
    text.write_text("Dear all")
    with opened(chromium, address) as page:
        drop(page, text)
        expect(page.locator("#list .state")).to_contain_text("letter.png")
        assert page.is_disabled("#save-all")
    page = chromium.new_context().new_page()
    page.goto(address.partition("#")[0])
    expect(page.locator("#banner")).to_contain_text("whole address")
    page.context.close()


def test_a_folder_is_dropped_and_saved_as_a_zip(chromium, address, tmp_path):
    """An OME-Zarr among other things; what is no image is left where it is."""
    pytest.importorskip("zarr", reason="the extra zarr is not installed")
    folder = tmp_path / "plate"
    store = folder / "deep" / "cells.ome.zarr"
    store.parent.mkdir(parents=True)
    planes = np.random.default_rng(0).normal(500, 60, (2, 60, 70)).astype(np.uint16)
    write_stack(store, Header("ZYX", planes.shape, planes.dtype), iter(planes[..., None]))
    (folder / "notes.txt").write_text("no image")
    PIL.Image.fromarray(planes[0].astype(np.uint8)).save(folder / "flat.png")
    with opened(chromium, address) as page:
        page.set_input_files("#empty .picker[webkitdirectory]", folder)
        expect(page.locator("#list .name")).to_have_text(["flat.png", "cells.ome.zarr"])
        page.click("text=cells.ome.zarr")
        settled(page)
        assert page.locator("#axes output").text_content() == "1 / 2"
        name, data = saved(page)
        assert name == "cells_denoised.ome.zarr.zip"
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(tmp_path / "saved")
    with open_stack(tmp_path / "saved" / "cells_denoised.ome.zarr") as result:
        assert result.header.shape == (2, 60, 70)
        assert np.asarray(result).std() < planes.std() / 2


def test_the_noise_can_be_said(chromium, address, tiff, tmp_path):
    NoiseProfile.gaussian(300).save(tmp_path / "camera.json")
    with opened(chromium, address) as page:
        drop(page, tiff)
        settled(page)
        measured = seen(page, 0.55, 0.65)
        page.click("summary")
        page.fill("#deviation", "600")
        page.keyboard.press("Enter")
        settled(page)
        assert np.abs(seen(page, 0.55, 0.65) - measured).mean() > 1
        page.set_input_files("#profile", tmp_path / "camera.json")
        expect(page.locator("#told-about")).to_contain_text("camera.json")
        settled(page)
        program = [sys.executable, "-m", "noise2noise", "denoise", "--quiet", "cells.tif"]
        options = ["--noise", str(tmp_path / "camera.json"), "--out", str(tmp_path / "told.tif")]
        subprocess.run([*program, *options], check=True, env=ENVIRONMENT, cwd=tiff.parent)
        assert saved(page)[1] == (tmp_path / "told.tif").read_bytes()
        page.set_input_files("#profile", tiff)
        expect(page.locator("#told-about")).to_contain_text("no noise profile")
        page.click("[data-name=fast]")
        expect(page.locator("#deviation")).to_be_disabled()


def test_other_ways_are_computed_while_nobody_asks(chromium, address, tiff):
    with opened(chromium, address) as page:
        asked, there = list[str](), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.on("requestfinished", lambda request: there.append(request.url))
        drop(page, tiff)
        settled(page)
        for _ in range(600):
            if any("quality=fast" in each for each in there):
                break
            page.wait_for_timeout(100)
        page.wait_for_timeout(500)  # for the page to take it in
        page.click("[data-name=fast]")
        settled(page)
        fast = [each for each in asked if "quality=fast" in each]
        assert fast
        assert all("ahead=1" in each for each in fast)


def test_what_is_refused_is_said_in_the_pages_language(chromium, address, tmp_path):
    with opened(chromium, address, locale="de-DE") as page:
        empty = tmp_path / "empty"
        empty.mkdir()
        (empty / "notes.txt").write_text("no image")
        page.set_input_files("#empty .picker[webkitdirectory]", empty)
        expect(page.locator("#banner")).to_have_text("In diesem Ordner ist kein Bild.")


def test_runs_are_shown_and_gone_on_with(chromium, tmp_path):
    from noise2noise.fit import Trainer, configure

    config = configure(
        generated=3, corruption="gaussian:25", crop=16, batch_size=4, epochs=3,
        sizes={"width": 4, "depth": 0, "channels": 1},
    )  # fmt: skip
    Trainer(config, tmp_path / "cells").fit()
    with program(0, "--runs", str(tmp_path)) as (place, _):
        page = chromium.new_context(viewport={"width": 1000, "height": 900}).new_page()
        page.goto(place.replace("/#", "/runs#"))
        page.wait_for_selector("body[data-ready]", timeout=PATIENCE)
        expect(page.locator("#name")).to_have_text("cells")
        assert page.locator("#table tr").count() == 3
        assert page.is_disabled("#stop")
        assert page.is_disabled("#resume")
        page.wait_for_selector("#stage[data-exact=true]", timeout=PATIENCE)
        label = page.get_attribute("#psnr", "aria-label") or ""
        assert re.search(r"\d", label)
        page.focus("#epoch")
        page.keyboard.press("Home")
        expect(page.locator("#epoch-value")).to_have_text("1")
        page.context.close()


@pytest.mark.parametrize("locale", ["en-US", "de-DE", "fr-FR", "zh-CN"])
def test_nothing_sticks_out_of_a_narrow_screen(chromium, tmp_path, locale):
    with program(0, "--runs", str(tmp_path)) as (place, _):
        narrow = chromium.new_context(viewport={"width": 400, "height": 860}, locale=locale)
        page = narrow.new_page()
        page.goto(place)
        page.wait_for_selector("body[data-ready]", timeout=PATIENCE)
        page.wait_for_selector("#to-runs:visible", timeout=PATIENCE)
        for each in ("h1", "#to-runs", "#language", "#theme"):
            box = page.locator(each).bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 400, each
        narrow.close()

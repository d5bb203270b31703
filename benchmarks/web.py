"""How long the page of `noise2noise web` takes to show a change: python -m benchmarks.web

A photograph of 24 megapixels is dropped in headless Chromium, in a window of 1280 x 800. Then each
setting is changed, and it is measured after how long something else is seen, and after how long all
that is seen is computed: at once, at a part of the picture that was just moved to, and after a
rest, in which the page computes what may be asked for next.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data
from playwright.sync_api import Page, sync_playwright

CHANGE = """([change, value]) => new Promise((done) => {
    const stage = document.querySelector("#stage"), canvas = stage.querySelector("canvas");
    const print = () => {
        const {width, height} = canvas;
        const {data} = canvas.getContext("2d").getImageData(width * 0.55, height * 0.45, 60, 60);
        return data.reduce((sum, each, index) => (sum * 31 + each + index) % 1000003, 7);
    };
    const before = print(), began = performance.now(), found = {};
    const look = () => {
        const now = (performance.now() - began) / 1000;
        if (!found.seen && print() !== before) found.seen = now;
        if (found.seen && stage.dataset.exact === "true") return done({...found, all: now});
        if (now > 25) return done({seen: NaN, all: NaN});
        requestAnimationFrame(look);
    };
    const input = document.querySelector(change);
    if (value === null) input.click();
    else {
        input.value = value;
        input.dispatchEvent(new Event(input.type === "range" ? "input" : "change"));
    }
    requestAnimationFrame(look);
})"""
QUALITY, MODEL = "#quality [data-name={}]", "#model"
CHANGES = (
    ("strength 60 %", ("#strength", "0.6"), ("#strength", "1")),
    ("quality fast", (QUALITY.format("fast"), None), (QUALITY.format("balanced"), None)),
    ("quality best", (QUALITY.format("best"), None), (QUALITY.format("balanced"), None)),
    ("model grey", (MODEL, "grey"), (MODEL, "")),
)
"""A name, the change, and what takes it back: an element, and the value that it gets."""

QUIET = 1.5  # seconds without an answer: nothing more is computed ahead


def make_photo(path: Path) -> None:
    """The photograph of scikit-image, enlarged, with noise."""
    photo = PIL.Image.fromarray(skimage.data.coffee()).resize((6000, 4000))
    noise = np.random.default_rng(0).normal(0, 20, (4000, 6000, 3))
    pixels = np.rint(np.asarray(photo) + noise).clip(0, 255).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(path, quality=95, subsampling=0)


class Traffic:
    """How long no tile has come."""

    def __init__(self, page: Page) -> None:
        self._last = time.monotonic()
        page.on("requestfinished", self._note)

    def _note(self, _: object) -> None:
        self._last = time.monotonic()

    def wait(self, page: Page) -> None:
        """Until nothing comes any more."""
        while time.monotonic() - self._last < QUIET:
            page.wait_for_timeout(100)


def measure(page: Page, traffic: Traffic) -> None:
    """Change each setting, and print how long that took."""
    print(f"{'':<16}{'at once':>17}{'after a rest':>17}   seconds")
    print(f"{'':<16}{'something':>10}{'all':>7}{'something':>10}{'all':>7}")
    for name, change, back in CHANGES:
        print(f"{name:<16}", end="")
        for rests in (False, True):
            move_on(page)
            if rests:
                traffic.wait(page)
            found = page.evaluate(CHANGE, [*change])
            print(f"{found['seen']:>10.2f}{found['all']:>7.2f}", end="", flush=True)
            page.evaluate(CHANGE, [*back])
        print()


def move_on(page: Page) -> None:
    """To a part of the picture that wasn't seen yet."""
    page.focus("#stage canvas")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(100)
    page.wait_for_selector("#stage[data-exact=true]", timeout=300_000)


def main() -> None:
    command = [sys.executable, "-m", "noise2noise", "web", "--no-open", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    found = re.search(r"http\S+", server.stderr.readline())
    assert found
    try:
        with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
            photo = Path(folder) / "photo.jpg"
            make_photo(photo)
            place = shutil.which("chromium") or shutil.which("google-chrome")
            browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            traffic = Traffic(page)
            page.goto(found[0])
            page.wait_for_selector("body[data-ready]")
            page.set_input_files("#empty .picker", photo)
            page.wait_for_selector("#stage[data-exact=true]", timeout=300_000)
            measure(page, traffic)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()

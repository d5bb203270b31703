"""How long the page of `noise2noise web` takes to show a change: python -m benchmarks.web

A photograph of 24 megapixels is dropped in headless Chromium, in a window of 1280 x 800. Then each
setting is changed once, and it is measured after how long something else is seen, and after how
long all that is seen is computed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
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
        if (now > 0.15 && stage.dataset.exact === "true") return done({...found, all: now});
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
CHANGES = (
    ("strength 60 %", "#strength", "0.6"),
    ("strength 80 %", "#strength", "0.8"),
    ("strength 140 %", "#strength", "1.4"),
    ("quality fast", "#quality [data-name=fast]", None),
    ("quality balanced", "#quality [data-name=balanced]", None),
    ("model grey", "#model", "grey"),
)


def make_photo(path: Path) -> None:
    """The photograph of scikit-image, enlarged, with noise."""
    photo = PIL.Image.fromarray(skimage.data.coffee()).resize((6000, 4000))
    noise = np.random.default_rng(0).normal(0, 20, (4000, 6000, 3))
    pixels = np.rint(np.asarray(photo) + noise).clip(0, 255).astype(np.uint8)
    PIL.Image.fromarray(pixels).save(path, quality=95, subsampling=0)


def measure(page: Page) -> None:
    """Change each setting, and print how long that took."""
    print(f"{'':<18}{'something':>10}{'all':>8}   seconds")
    for name, place, value in CHANGES:
        found = page.evaluate(CHANGE, [place, value])
        print(f"{name:<18}{found.get('seen', 0):>10.2f}{found['all']:>8.2f}", flush=True)


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
            page.goto(found[0])
            page.wait_for_selector("body[data-ready]")
            page.set_input_files("#empty .picker", photo)
            page.wait_for_selector("#stage[data-exact=true]", timeout=300_000)
            measure(page)
            browser.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()

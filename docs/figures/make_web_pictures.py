"""Takes docs/images/web-*.png: the page of `noise2noise web`, wide and narrow, light and dark.

Run from the repository, where Chromium and Playwright are: .venv/bin/python
docs/figures/make_web_pictures.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import skimage.data
import tifffile
from playwright.sync_api import Page, expect, sync_playwright

from noise2noise.noise.corruptions import parse

IMAGES = Path(__file__).parents[1] / "images"
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 400, "height": 860}


def make_files(folder: Path) -> None:
    """A photograph, another, and a stack of twelve bits, with noise."""
    rng = np.random.default_rng(0)
    for name, photo, sigma in (("coffee.jpg", "coffee", 22), ("astronaut.png", "astronaut", 30)):
        clean = getattr(skimage.data, photo)().transpose(2, 0, 1).astype(np.float32) / 255
        noisy = parse(f"gaussian:{sigma}").draw(clean, rng).clip(0, 1)
        pixels = np.rint(255 * noisy.transpose(1, 2, 0)).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / name, quality=95, subsampling=0)
    cell = skimage.data.cell().astype(float) * 12
    planes = [cell + rng.normal(0, 150, cell.shape) for _ in range(8)]
    pixels = np.stack(planes).clip(0, 4095).astype(np.uint16)
    tifffile.imwrite(folder / "cell.tif", pixels, imagej=True, metadata={"axes": "ZYX"})


def make_runs(folder: Path) -> None:
    """Two short runs."""
    for name, epochs in (("compact", 8), ("unet", 2)):
        learn = ["--generated", "24", "--corruption", "gaussian:25", "--crop", "32"]
        shape = ["--architecture", name, "--epochs", str(epochs), "--out", str(folder / name)]
        subprocess.run(
            [sys.executable, "-m", "noise2noise", "train", *learn, *shape, "--size", "width=16"],
            check=True,
        )


def settle(page: Page) -> None:
    page.wait_for_timeout(300)
    page.wait_for_selector("#stage[data-exact=true]", timeout=120_000)


def take(page: Page, name: str) -> None:
    page.screenshot(path=IMAGES / f"{name}.png")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        files, runs = Path(place) / "files", Path(place) / "runs"
        files.mkdir()
        make_files(files)
        make_runs(runs)
        command = [sys.executable, "-m", "noise2noise", "web", "--no-open", "--port", "0"]
        server = subprocess.Popen(
            [*command, "--runs", str(runs)], stderr=subprocess.PIPE, text=True, env={**os.environ}
        )
        assert server.stderr is not None
        found = re.search(r"http\S+", server.stderr.readline())
        assert found
        try:
            with sync_playwright() as playwright:
                chromium = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox"]
                )
                for size, scheme, tag in ((WIDE, "light", ""), (NARROW, "dark", "-narrow")):
                    page = browser.new_page(viewport=size, color_scheme=scheme)
                    page.goto(found[0])
                    page.wait_for_selector("body[data-ready]")
                    names = ("coffee.jpg", "astronaut.png", "cell.tif")
                    page.set_input_files("#empty .picker", [files / name for name in names])
                    expect(page.locator(".file img[src]")).to_have_count(3, timeout=60_000)
                    noise = page.locator("#noise")
                    expect(noise).to_have_attribute("title", re.compile(r"\w"), timeout=60_000)
                    settle(page)
                    take(page, f"web{tag}")
                    if not tag:
                        page.click("text=cell.tif")
                        page.click("text=Removed")
                        settle(page)
                        take(page, "web-stack")
                    page.goto(found[0].replace("/#", "/runs?run=compact#"))
                    page.wait_for_selector("body[data-ready]")
                    settle(page)
                    take(page, f"web-runs{tag}")
                    page.close()
                browser.close()
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

"""`noise2noise demo`, with far fewer pictures and steps than people get to see."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data

from noise2noise.cli import demo
from noise2noise.denoiser import Denoiser
from noise2noise.files import to_unit
from noise2noise.fit import Trainer, TrainingConfig, TrainingStopped, configure, stored_config
from noise2noise.metrics import psnr
from noise2noise.noise.corruptions import parse


@pytest.fixture(autouse=True)
def hurried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's own configuration, with smaller numbers."""
    less = {"generated": 4, "epochs": 1, "crop": 16, "sizes": {"width": 4}}

    def configured(**options: Any) -> TrainingConfig:
        assert {*less} - {"crop"} <= {*options}
        return configure(**{**options, **less})

    monkeypatch.setattr("noise2noise.fit.configure", configured)
    monkeypatch.chdir(tmp_path)


def test_the_demo_trains_on_noise_alone_and_shows_what_became_of_a_photograph(done):
    said = done("demo")
    before, after = map(float, re.findall(r"([\d.]+) dB, SSIM", said))
    clean = to_unit(skimage.data.chelsea())
    noisy = parse(demo.NOISE).draw(clean, np.random.default_rng(0))
    denoised = Denoiser.load("noise2noise-demo").denoise_unit(noisy).clip(0, 1)
    assert before == pytest.approx(psnr(noisy, clean), abs=0.006)
    assert after == pytest.approx(psnr(denoised, clean), abs=0.006)

    config = stored_config("noise2noise-demo")
    assert (config.corruption, config.photos, config.pairs) == (demo.NOISE, None, None)
    picture = Path(said.splitlines()[-1].removeprefix("picture "))
    assert picture == Path("noise2noise-demo/comparison.png")
    with PIL.Image.open(picture) as shown:
        assert shown.width >= 3 * 451  # three times chelsea, pixel for pixel


def test_a_file_is_no_place_for_the_demo(refused):
    Path("there").write_bytes(b"precious")
    for more in ([], ["--overwrite"]):
        sentence = refused("demo", "--out", "there", *more)
        assert sentence == "there is a file; name a folder for the run"
    assert Path("there").read_bytes() == b"precious"


def test_an_earlier_demo_is_kept_without_overwrite(refused, run):
    Path("there").mkdir()
    Path("there/comparison.png").write_bytes(b"precious")
    assert refused("demo", "--out", "there") == (
        "there exists already; choose another --out or add --overwrite"
    )
    assert Path("there/comparison.png").read_bytes() == b"precious"
    assert run("demo", "--out", "there", "--overwrite").status == 0
    PIL.Image.open("there/comparison.png").close()


def test_a_demo_that_is_stopped_says_how_to_start_again(run, monkeypatch):
    def stopped(trainer: object) -> None:
        raise TrainingStopped("stopped in epoch 1")

    monkeypatch.setattr(Trainer, "fit", stopped)
    status, out, err = run("demo")
    assert (status, out) == (130, "")
    assert err.endswith(
        "error: stopped before the network was trained; start again with --overwrite\n"
    )


def test_the_demo_explains_what_it_does_and_names_the_next_step(run):
    status, out, err = run("demo", "--out", "my demo")
    assert status == 0
    begins, _, ends = err.partition("epoch 1/1")
    assert "no clean picture" in " ".join(begins.split())
    assert "noise2noise denoise photo.jpg --model 'my demo'" in ends
    assert "noise2noise train --pairs first/ second/ --out runs/mine" in ends
    assert out.startswith("before")

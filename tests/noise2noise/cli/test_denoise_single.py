"""`noise2noise denoise --single`: one fit for all images, or one for each."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noise2noise.files import Image, read_image, write_image


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_model: Callable[..., Path]) -> Path:
    """A folder with two grey images, and stand-ins in the place of the shipped models."""
    monkeypatch.setattr("noise2noise.single.adaptation._STEPS", 6)
    sizes = {"width": 4, "depth": 1, "blocks": 1}
    weights = [
        make_model(f"weights/{name}.safetensors", "guided", channels=channels, **sizes)
        for name, channels in {"photo": 3, "grey": 1, "camera": 3}.items()
    ]
    for module in ("shipped", "denoiser"):
        monkeypatch.setattr(f"noise2noise.{module}.WEIGHTS", weights[0].parent)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for seed, name in enumerate(["a.png", "b.png"]):
        rng = np.random.default_rng(seed)
        ramp = np.linspace(40, 200, 80)[None] + 12 * rng.standard_normal((64, 80))
        write_image(name, Image(np.rint(ramp.clip(0, 255)).astype(np.uint8)))
    return folder


def test_a_fit_is_told_and_its_model_kept(done):
    said = done("denoise", "a.png", "--single", "--save-model", "m.safetensors")
    assert said.startswith("a.png -> a_denoised.png")
    assert "; grey " in said
    done("denoise", "a.png", "--model", "m.safetensors", "-o", "again.png")
    np.testing.assert_array_equal(
        read_image("a_denoised.png").pixels, read_image("again.png").pixels
    )


def test_one_fit_serves_all_images_and_each_has_its_own(done):
    together = json.loads(done("denoise", "a.png", "b.png", "--single", "--json", "-o", "all"))
    apart = json.loads(done("denoise", "a.png", "b.png", "--single", "each", "--json", "-o", "own"))
    first, second = (result["single"] for result in together)
    assert first == second
    first, second = (result["single"] for result in apart)
    assert first["base"] == "grey"
    assert first["stages"][-1]["name"] == "splines"
    assert first["stages"][0]["before"] != second["stages"][0]["before"]


def test_a_batch_does_again_what_another_seed_changes(done):
    batch = ["denoise", "a.png", "b.png", "-o", "out", "--json"]
    statuses = lambda *more: [each["status"] for each in json.loads(done(*batch, *more))]  # noqa: E731
    assert statuses("--single") == ["done", "done"]
    assert statuses("--single") == ["skipped", "skipped"]
    assert statuses("--single", "--seed", "1") == ["done", "done"]


def test_a_file_named_each_is_an_image(done):
    Path("a.png").rename("each")
    said = done("denoise", "--single", "each", "-o", "out.png")
    assert said.startswith("each -> out.png")


def test_options_of_a_fit_need_one(refused):
    assert "add --single" in refused("denoise", "a.png", "--seed", 3)
    assert "--save-model m.safetensors" in refused(
        "denoise", "a.png", "b.png", "--single", "each", "--save-model", "m.safetensors"
    )
    Path("m.safetensors").touch()
    assert "exists already" in refused(
        "denoise", "a.png", "--single", "--save-model", "m.safetensors"
    )
    assert "must be above 0" in refused("denoise", "a.png", "--single", "--minutes", 0)


def test_a_report_and_what_was_removed(done, refused):
    said = json.loads(
        done("denoise", "a.png", "--report", "r.html", "--residual", "removed.png", "--json")
    )
    report = said[0]["report"]
    assert set(report) == {"psnr", "level", "correlation", "structure", "trusted", "said"}
    page = Path("r.html").read_text("utf-8")
    assert "a.png" in page
    assert report["said"].split(";")[0].rstrip(".") in page
    picture = read_image("removed.png").pixels
    assert picture.shape == (64, 80)
    assert 120 < picture.mean() < 135
    assert "exists already" in refused("denoise", "b.png", "--report", "r.html")
    assert "takes one image" in refused("denoise", "a.png", "b.png", "--residual", "x.png")


def test_a_report_of_a_batch_has_each_image(done):
    done("denoise", "a.png", "b.png", "-o", "out", "--report", "r.html")
    page = Path("r.html").read_text("utf-8")
    assert page.index("a.png") < page.index("b.png")


def test_learning_from_scratch_is_a_fit_of_its_own(done, monkeypatch):
    monkeypatch.setattr("noise2noise.single.adaptation.SCRATCH_STEPS", 3)
    said = json.loads(done("denoise", "a.png", "--from-scratch", "--json"))
    assert [stage["name"] for stage in said[0]["single"]["stages"]] == ["a network from scratch"]

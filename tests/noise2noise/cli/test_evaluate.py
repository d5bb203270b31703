"""`noise2noise evaluate`: the table, its JSON, and what can't be compared."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noise2noise.denoiser import Denoiser
from noise2noise.evaluation import corrupted, evaluate_all
from noise2noise.files import Image, read_image, write_image

NO_TIME = {"seconds": 0, "seconds_per_megapixel": 0}

NAMES = {"a.png": (40, 30, 3), "b.png": (24, 36, 1)}


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_ins: Path, folder_of) -> Path:
    """clean/ with two pictures, in the folder to stand in."""
    monkeypatch.chdir(tmp_path)
    folder_of("clean", NAMES)
    return Path("clean")


def measured(
    folder: Path, seed: int, *models: str, against: list[str] | None = None
) -> list[dict[str, Any]]:
    images = corrupted(folder, "gaussian:25", seed)
    rows = evaluate_all(images, list(models), against or [], lambda items, *_: items)
    return [{**asdict(row), **NO_TIME} for row in rows]


def without_seconds(text: str) -> list[dict[str, object]]:
    rows = json.loads(text)
    assert all(row[name] >= 0 for row in rows for name in NO_TIME)
    return [{**row, **NO_TIME} for row in rows]


def test_json_has_the_numbers(done, clean, make_model):
    model = str(make_model("other.safetensors", width=4))
    command = ("evaluate", clean, "--corruption", "gaussian:25", "--seed", 3, "--json")
    assert without_seconds(done(*command)) == measured(clean, 3)
    methods = ["non-local-means", "total-variation"]
    against = [option for name in methods for option in ("--against", name)]
    several = done(*command, "-m", model, "-m", "photo", *against)
    assert without_seconds(several) == measured(clean, 3, model, "photo", against=methods)


def test_a_seed_repeats_and_another_does_not(done, clean):
    one, again, other = (
        without_seconds(
            done("evaluate", clean, "--corruption", "gaussian:25", "--json", "--seed", seed)
        )
        for seed in (0, 0, 1)
    )
    assert one == again
    assert [row["psnr"] for row in one] != [row["psnr"] for row in other]


def test_the_table_is_for_people(done, clean):
    table = done("evaluate", clean, "--corruption", "gaussian:25").splitlines()
    rows = measured(clean, 0)
    assert table[0].split("  ")[0].strip() == "method"
    for line, row in zip(table[1:], rows, strict=False):
        assert f"{row['method']}" in line
        assert f"{row['psnr']:.2f}" in line
        assert f"{row['ssim']:.4f}" in line
    assert table[-1] == "2 images, noise gaussian:25 added with seed 0"


def test_recorded_noise_is_measured_pair_by_pair(done, clean, folder_of):
    folder_of("noisy", {"b.tif": (24, 36, 1), "a.tif": (40, 30, 3)}, seed=5)
    rows = json.loads(done("evaluate", clean, "--noisy", "noisy", "--json"))
    errors = []
    for name in "ab":
        images = (read_image(f"clean/{name}.png"), read_image(f"noisy/{name}.tif"))
        a, b = (image.pixels.astype(float) / 255 for image in images)
        errors.append(10 * np.log10(1 / np.mean((a - b) ** 2)))
    assert rows[0]["method"] == "noisy"
    assert rows[0]["psnr"] == pytest.approx(np.mean(errors), rel=1e-6)
    assert "2 images, recorded noise in noisy" in done("evaluate", clean, "--noisy", "noisy")


def test_json_of_images_without_noise_is_still_json(done, clean, folder_of):
    folder_of("copy", NAMES)

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    text = done("evaluate", clean, "--noisy", "copy", "--json")
    assert json.loads(text, parse_constant=no_constant)[0]["psnr"] is None
    assert "inf" in done("evaluate", clean, "--noisy", "copy")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "give either --corruption or --noisy"),
        (("--corruption", "gaussian:25", "--noisy", "clean"), "give either --corruption or"),
        (("--corruption", "salt:3"), "there is no corruption 'salt:3'"),
        (("--corruption", "gaussian:many"), "sigma must be a number, got 'many'"),
        (("--corruption", "gaussian:25", "--against", "magic"), "there is no method 'magic'"),
        (("--corruption", "gaussian:25", "--model", "phoot"), "did you mean photo?"),
        (("--corruption", "subpixel:6"), "clean/a.png is 30 x 40; at least 42 x 42 pixels"),
        (("--noisy", "nowhere"), "there is no folder nowhere"),
        (("--noisy", "clean"), "both folders are clean"),
    ],
)
def test_what_can_not_be_measured_is_refused(refused, clean, options, reason):
    assert reason in refused("evaluate", clean, *options)


def test_bad_files_are_refused_by_name(refused, clean, folder_of, make_model):
    folder_of("noisy", {"a.png": (40, 31, 3), "b.png": (24, 36, 1)})
    sentence = refused("evaluate", clean, "--noisy", "noisy")
    assert "noisy/a.png is 31 x 40" in sentence
    assert "clean/a.png 30 x 40" in sentence
    Path("noisy/c.png").write_bytes(b"")
    assert "noisy/c.png" in refused("evaluate", clean, "--noisy", "noisy")
    Path("clean/a.png").write_bytes(b"no image")
    assert "clean/a.png is not" in refused("evaluate", clean, "--corruption", "gaussian:25")
    Path("folder").mkdir()
    assert "no image in folder" in refused("evaluate", "folder", "--corruption", "gaussian:25")


def test_a_run_that_was_given_is_measured(done, clean, make_model):
    make_model("run/best.safetensors", width=4)
    model = Denoiser.load("run")
    noisy = [noisy for noisy, _ in corrupted(clean, "gaussian:25", 0)]
    assert not np.array_equal(
        model.denoise_unit(noisy[0]), Denoiser.load("photo").denoise_unit(noisy[0])
    )
    command = ("evaluate", clean, "--corruption", "gaussian:25", "--json", "--model", "run")
    assert without_seconds(done(*command)) == measured(clean, 0, "run")


def test_one_image_is_one_image(done, folder_of):
    write_image("one.png", Image(np.zeros((9, 9), np.uint8)))
    folder = folder_of("one", {"a.png": (20, 20, 3)})
    assert "1 image, noise" in done("evaluate", folder, "--corruption", "poisson:30")

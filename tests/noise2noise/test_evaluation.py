"""Measuring: the numbers are those that anyone would compute from the same images."""

import importlib.util
import math
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from noise2noise.classical import METHODS, noise_level
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.evaluation import (
    Pair,
    TestSet,
    corrupted,
    evaluate_all,
    recorded,
)
from noise2noise.files import Image, from_unit, read_image, to_unit, write_image
from noise2noise.noise import NoiseProfile
from noise2noise.noise.corruptions import parse

THREE = {"a.png": (40, 56, 3), "b.png": (33, 47, 3), "c.png": (40, 40, 1)}


def silently(items, description, total):
    return items


def scores(
    images: TestSet, models: list[str], against: list[str] | None = None
) -> dict[object, dict[str, Any]]:
    rows = evaluate_all(images, models, against or [], silently)
    return {row.method: asdict(row) for row in rows}


def quality(image: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM of float (C, H, W) by scikit-image."""
    a, b = image.astype(np.float64), clean.astype(np.float64)
    similarity: Any = structural_similarity(a, b, data_range=1, channel_axis=0)
    return peak_signal_noise_ratio(b, a, data_range=1), similarity


def mean_quality(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    values = [quality(image, clean) for image, clean in pairs]
    return float(np.mean([v for v, _ in values])), float(np.mean([v for _, v in values]))


def as_8_bits(image: np.ndarray) -> np.ndarray:
    return np.rint(image.clip(0, 1) * 255) / 255


def test_the_numbers_are_those_of_the_added_noise_and_of_the_written_results(folder_of, make_model):
    folder, model = folder_of("clean", THREE), str(make_model())
    noise, denoiser = parse("gaussian:25"), Denoiser.load(model)
    clean = [to_unit(read_image(folder / name)) for name in THREE]
    noisy = [noise.draw(image, np.random.default_rng((7, i))) for i, image in enumerate(clean)]
    rows = scores(corrupted(folder, "gaussian:25", seed=7), [model])
    assert list(rows) == ["noisy", model]

    before = mean_quality(list(zip(noisy, clean, strict=True)))
    assert (rows["noisy"]["psnr"], rows["noisy"]["ssim"]) == pytest.approx(before, rel=1e-9)
    results = [as_8_bits(denoiser.denoise_unit(image)) for image in noisy]
    after = mean_quality(list(zip(results, clean, strict=True)))
    assert (rows[model]["psnr"], rows[model]["ssim"]) == pytest.approx(after, rel=1e-9)
    assert rows[model]["seconds"] > 0


def test_recorded_pairs_are_matched_by_name_whatever_their_format(folder_of, make_model):
    clean = folder_of("clean", {"a.png": (30, 30, 3), "b.png": (20, 40, 3)}, seed=1)
    noisy = folder_of("noisy", {"b.tif": (20, 40, 3), "a.tif": (30, 30, 3)}, seed=2)
    pairs = [
        (to_unit(read_image(noisy / f"{name}.tif")), to_unit(read_image(clean / f"{name}.png")))
        for name in "ab"
    ]
    rows = scores(recorded(clean, noisy), [str(make_model())])
    expected = mean_quality(pairs)
    assert (rows["noisy"]["psnr"], rows["noisy"]["ssim"]) == pytest.approx(expected, rel=1e-9)


def test_a_seed_repeats_the_noise_and_another_changes_it(folder_of):
    folder = folder_of("clean", THREE)
    draws = [[noisy for noisy, _ in corrupted(folder, "gaussian:25", seed)] for seed in (1, 1, 2)]
    for first, again, other in zip(*draws, strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_each_image_gets_noise_of_its_own(folder_of):
    folder = folder_of("clean", {"a.png": (30, 30, 3), "b.png": (30, 30, 3)})
    first, second = (noisy - clean for noisy, clean in corrupted(folder, "gaussian:25", 0))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1


def test_subpixels_are_measured_against_their_averages(folder_of):
    ((noisy, clean),) = corrupted(folder_of("clean", {"a.png": (50, 58, 3)}), "subpixel:6", 0)
    assert noisy.shape == clean.shape == (3, 8, 9)


def test_without_a_model_each_image_gets_the_shipped_one_that_suits_it(folder_of, stand_ins):
    images = corrupted(folder_of("clean", THREE), "gaussian:25", 0)
    shipped = scores(images, [])["shipped model"]
    colour, grey = Denoiser.load("photo"), Denoiser.load("grey")
    expected = mean_quality(
        [
            (as_8_bits((colour if len(noisy) == 3 else grey).denoise_unit(noisy)), clean)
            for noisy, clean in images
        ]
    )
    assert (shipped["psnr"], shipped["ssim"]) == pytest.approx(expected, rel=1e-9)


def test_images_without_noise_are_infinitely_good(folder_of, make_model):
    names = {"a.png": (20, 20, 3)}
    images = recorded(folder_of("clean", names), folder_of("copy", names))
    assert scores(images, [str(make_model())])["noisy"]["psnr"] == math.inf


# Classical methods.


NEEDED = {"wavelets": "pywt", "bm3d": "bm3d"}
HERE = [name for name in METHODS if name not in NEEDED or find_spec(NEEDED[name])]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("photograph", ["astronaut", "camera"])
def test_classical_methods_take_noise_away(name, photograph):
    clean = to_unit(getattr(skimage.data, photograph)())[:, 100:228, 150:290]
    noisy = parse("gaussian:25").draw(clean, np.random.default_rng(0))
    for told in (None, NoiseProfile.gaussian(25 / 255)):
        result = METHODS[name](noisy, told)
        assert result.shape == clean.shape
        assert quality(result, clean)[0] > quality(noisy, clean)[0] + 5


@pytest.mark.parametrize("name", HERE)
def test_classical_methods_leave_a_flat_image_alone(name):
    flat = np.full((3, 16, 16), 0.5, np.float32)
    np.testing.assert_array_equal(METHODS[name](flat, None), flat)


@pytest.mark.parametrize("name", NEEDED)
def test_methods_that_are_not_installed_say_how_to(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=f"{name} needs a package .* pip install"):
        METHODS[name](np.zeros((1, 16, 16), np.float32), None)


def test_being_told_the_noise_helps_where_it_depends_on_the_brightness():
    clean = to_unit(skimage.data.camera())[:, 100:228, 150:290]
    rng = np.random.default_rng(0)
    noisy = (clean + np.sqrt(0.02 * clean) * rng.standard_normal(clean.shape)).astype(np.float32)
    told = NoiseProfile(shot=(0.02,), read=(0.0,))
    better = METHODS["non-local-means"](noisy, told)
    assert quality(better, clean)[0] > quality(METHODS["non-local-means"](noisy, None), clean)[0]


@pytest.mark.parametrize("sigma", [5, 25, 50])
def test_the_noise_level_is_found(sigma):
    clean = to_unit(skimage.data.camera())
    noisy = parse(f"gaussian:{sigma}").draw(clean, np.random.default_rng(0))
    assert noise_level(noisy) == pytest.approx(sigma / 255, rel=0.3 if sigma == 5 else 0.06)


def test_areas_without_any_noise_do_not_hide_the_noise_elsewhere():
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 100, 100))
    noise[:, :60] = 0
    assert noise_level(noise) == pytest.approx(0.1, rel=0.1)


def test_several_models_and_methods_are_measured_side_by_side(folder_of, make_model):
    images = corrupted(folder_of("clean", {"a.png": (30, 30, 3)}), "gaussian:25", 0)
    one, two = str(make_model("noisy.safetensors")), str(make_model("two.safetensors", width=4))
    rows = evaluate_all(images, [one, two], HERE, silently)
    assert [row.method for row in rows] == ["noisy", one, two, *HERE]
    assert len({row.psnr for row in rows}) == len(rows)


# What is refused.


def refused(message: str, images: TestSet, model: Path, *against: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate_all(images, [str(model)], list(against), silently)


def test_unknown_methods_and_models_are_refused_before_anything_is_read(make_model, tmp_path):
    def never() -> Pair:
        raise AssertionError("read before the names were checked")

    images = TestSet([never], "")
    refused("no method 'magic'; choose one of non-local", images, make_model(), "magic")
    refused("there is no model", images, tmp_path / "nothing.safetensors")


def test_pairs_that_do_not_fit_are_refused_by_name(folder_of):
    clean = folder_of("clean", {"a.png": (30, 30, 3)})
    with pytest.raises(UserError, match=r"without a partner .*b\.png"):
        recorded(clean, folder_of("more", {"a.png": (30, 30, 3), "b.png": (30, 30, 3)}))
    for name, size in {"wide": (30, 31, 3), "grey": (30, 30, 1)}.items():
        with pytest.raises(UserError, match=rf"{name}.a\.png is .*clean.a\.png .*one size"):
            list(recorded(clean, folder_of(name, {"a.png": size})))


def test_images_too_small_to_be_compared_are_refused_by_name(folder_of, tmp_path):
    folder = folder_of("clean", {"tiny.png": (6, 40, 3)})
    with pytest.raises(UserError, match=r"tiny\.png is 40 x 6; at least 7 x 7 pixels"):
        list(corrupted(folder, "gaussian:25", 0))
    with pytest.raises(UserError, match=r"tiny\.png is 40 x 6; at least 28 x 28 pixels"):
        list(corrupted(folder, "subpixel:4", 0))


@pytest.mark.parametrize(
    ("factor", "offset", "dtype"),
    [(1, 0, np.uint16), (250, 0, np.uint16), (1, 900, np.uint16), (1, 0, np.float32)],
)
def test_values_of_any_range_are_ranked_alike(
    tmp_path, make_model, monkeypatch, factor, offset, dtype
):
    """What uses a hundredth of 16 bits isn't rounded to nothing."""
    rng = np.random.default_rng(0)
    stripes = 140 + 40 * np.sin(np.arange(96) / 5)[:, None] * np.ones((96, 96))
    noisy = stripes + rng.normal(0, 10, stripes.shape)
    for name, values in (("clean", stripes), ("noisy", noisy)):
        (tmp_path / name).mkdir()
        stored = np.rint(factor * values + offset).astype(dtype)
        write_image(tmp_path / name / "a.tif", Image(stored))
    monkeypatch.setitem(METHODS, "smooth", lambda noisy, noise: gaussian_filter(noisy, (0, 0, 3)))
    images = recorded(tmp_path / "clean", tmp_path / "noisy")
    rows = scores(images, [str(make_model(channels=1))], ["smooth"])
    gained = rows["smooth"]["psnr"] - rows["noisy"]["psnr"]
    assert gained == pytest.approx(10.3, abs=0.7)  # the filter's 2 sqrt(pi) 3, in dB


def test_floats_are_compared_as_they_are(folder_of, tmp_path):
    """Noise that leaves [0, 1] counts in full."""
    clean = folder_of("clean", {"a.tif": (30, 30, 3)})
    noisy = parse("gaussian:90").draw(
        to_unit(read_image(clean / "a.tif")), np.random.default_rng(0)
    )
    assert noisy.min() < 0
    (tmp_path / "noisy").mkdir()
    write_image(tmp_path / "noisy" / "a.tif", Image(from_unit(noisy, np.float32)))
    ((read, _),) = recorded(clean, tmp_path / "noisy")
    np.testing.assert_array_equal(read, noisy)


# What a table says beside PSNR and SSIM.


def test_harmed_is_the_share_of_images_that_came_out_worse(folder_of, make_model, monkeypatch):
    images = corrupted(folder_of("clean", THREE), "gaussian:25", seed=0)
    monkeypatch.setitem(METHODS, "bad", lambda noisy, noise: noisy + 0.2)
    monkeypatch.setitem(METHODS, "same", lambda noisy, noise: noisy)
    rows = scores(images, [str(make_model())], ["bad", "same"])
    assert (rows["bad"]["harmed"], rows["same"]["harmed"], rows["noisy"]["harmed"]) == (1, 0, 0)


def test_the_scale_invariant_psnr_forgives_another_brightness(folder_of, make_model, monkeypatch):
    images = corrupted(folder_of("clean", THREE), "gaussian:5", seed=0)
    monkeypatch.setitem(METHODS, "darker", lambda noisy, noise: 0.5 * noisy)
    rows = scores(images, [str(make_model())], ["darker"])
    assert rows["darker"]["psnr"] < rows["noisy"]["psnr"] - 5
    expected = rows["noisy"]["scale_invariant_psnr"]
    assert rows["darker"]["scale_invariant_psnr"] == pytest.approx(expected, rel=1e-6)


def test_noisy_and_clean_files_may_lie_in_one_folder(folder_of, make_model):
    names = {"a_real.png": (20, 24, 3), "a_mean.png": (20, 24, 3)}
    folder = folder_of("both", names)
    pairs = list(recorded(folder, folder, "_mean", "_real"))
    assert len(pairs) == 1
    np.testing.assert_array_equal(pairs[0].noisy, to_unit(read_image(folder / "a_real.png")))
    np.testing.assert_array_equal(pairs[0].clean, to_unit(read_image(folder / "a_mean.png")))
    (folder / "a_mean.png").rename(folder / "b_mean.png")
    with pytest.raises(UserError, match="a has no partner: 2 of the names"):
        recorded(folder, folder, "_mean", "_real")
    with pytest.raises(UserError, match=r"no image in .* has a name that ends in '_clean'"):
        recorded(folder, folder, "_clean", "_real")


def test_where_no_model_is_named_it_is_the_one_that_denoise_takes(tmp_path, monkeypatch):
    clean = to_unit(skimage.data.astronaut())[:, :256, :256]
    noisy = parse("camera:0.004,92").draw(clean, np.random.default_rng(0))
    for name, image in (("clean", clean), ("noisy", noisy)):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", Image(from_unit(image, np.dtype("uint8"))))
    taken = []
    load = Denoiser.load
    monkeypatch.setattr(
        "noise2noise.evaluation.Denoiser.load",
        lambda name, device: (taken.append(name), load("fast", device))[1],
    )
    scores(recorded(tmp_path / "clean", tmp_path / "noisy"), [])
    assert taken == ["camera"]
    scores(corrupted(tmp_path / "clean", "gaussian:25", 0), [])
    assert taken == ["camera", "photo"]

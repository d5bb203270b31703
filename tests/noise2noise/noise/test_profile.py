"""The noise profile: its map, its units, and files that may come from anywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
from skimage.filters.rank import mean as local_mean

from noise2noise.errors import UserError
from noise2noise.noise import Correlation, NoiseProfile
from noise2noise.noise.profile import MARGIN, blurred

PROFILE = NoiseProfile(
    shot=(0.01, 0.02),
    read=(0.05, 0.0),
    black=0.1,
    spectrum=(0.05, 0.06, 0.07),
    pixel=0.06,
    correlation=Correlation((0.5, 0.1), (0.4, 0.2), 0.3),
    impulses=0.001,
    confidence=0.8,
)


def image(channels: int = 2, height: int = 24, width: int = 31) -> np.ndarray:
    return np.random.default_rng(0).random((channels, height, width), dtype=np.float32)


def test_the_blur_is_the_mean_of_the_nine_pixels_around():
    plane = np.random.default_rng(0).integers(0, 255, (20, 30)).astype(np.uint8)
    inside = local_mean(plane, np.ones((3, 3), np.uint8))[1:-1, 1:-1]
    assert np.array_equal(np.floor(blurred(plane.astype("f4"))[1:-1, 1:-1] + 1e-3), inside)


def test_the_blur_reflects_the_border():
    plane = image(1)[0]
    outside = np.pad(plane, 1, "reflect")
    assert np.allclose(blurred(plane), blurred(outside)[1:-1, 1:-1], atol=1e-6)


def test_the_map_follows_the_brightness_along_the_line():
    for level in (0.05, 0.1, 0.6):
        sigma = PROFILE.sigma(np.full((2, 8, 8), level, np.float32))
        above = max(level - 0.1, 0)
        assert sigma.dtype == np.float32
        assert np.allclose(sigma[0], np.sqrt(0.01 * above + 0.05**2), atol=1e-4)
        assert np.allclose(sigma[1], np.sqrt(0.02 * above), atol=1e-4)
        assert np.allclose(sigma[0] ** 2, PROFILE.variance(level, 0), rtol=1e-3)


def test_a_window_with_its_margin_has_the_same_map():
    whole = PROFILE.sigma(image())
    window = PROFILE.sigma(image()[:, 5 : 20 + MARGIN, 7 : 20 + MARGIN])
    assert np.array_equal(window[:, MARGIN:-MARGIN, MARGIN:-MARGIN], whole[:, 7:20, 9:20])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2)])
def test_the_map_of_an_image_of_few_pixels(shape):
    sigma = PROFILE.sigma(np.full((2, *shape), 0.6, np.float32))
    assert sigma.shape == (2, *shape)
    assert np.allclose(sigma[1], np.sqrt(0.02 * 0.5))


def test_one_channel_stands_for_all():
    profile = NoiseProfile(shot=(0.01,), read=(0.02,))
    sigma = profile.sigma(image(3))
    assert np.array_equal(sigma[1:2], profile.sigma(image(3)[1:2]))
    with pytest.raises(ValueError, match="2 channels, got 3"):
        PROFILE.sigma(image(3))


def test_a_scaled_profile_maps_the_scaled_image():
    scaled = PROFILE.scaled(1000, -50)
    assert np.allclose(scaled.sigma(1000 * image() - 50), 1000 * PROFILE.sigma(image()), rtol=1e-4)
    assert scaled.spectrum == pytest.approx((50, 60, 70))
    assert scaled.correlation == PROFILE.correlation


def test_a_profile_comes_back_from_its_file(tmp_path: Path):
    PROFILE.save(tmp_path / "p.json")
    assert NoiseProfile.load(tmp_path / "p.json") == PROFILE
    with pytest.raises(UserError, match="exists already"):
        PROFILE.save(tmp_path / "p.json")
    assert NoiseProfile.parse(str(tmp_path / "p.json")) == PROFILE


@pytest.mark.parametrize("text", ["12", "12.5", "0", "1e-3"])
def test_a_standard_deviation_stands_for_the_same_noise_everywhere(text):
    assert np.allclose(NoiseProfile.parse(text).sigma(image(3)), float(text), rtol=1e-6)


@pytest.mark.parametrize("text", ["-1", "nan", "inf"])
def test_standard_deviations_that_are_refused(text):
    with pytest.raises(UserError, match=f"at least 0, got {text}"):
        NoiseProfile.parse(text)


def altered(**changes: object) -> bytes:
    content: dict[str, object] = {
        "format": "noise2noise noise profile",
        "version": 1,
        "shot": [0.1],
        "read": [0.1],
    }
    content.update(changes)
    return json.dumps({name: value for name, value in content.items() if value != "gone"}).encode()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not text|not JSON"),
        (b"[" * 100_000, "is no noise profile"),
        (b" " * 1_000_001, "larger than"),
        (b"[]", '"format"'),
        (b"{}", '"format"'),
        (altered(format="other"), '"format"'),
        (altered(version=2), "version is 2"),
        (altered(shot="gone"), "lacks the entry 'shot'"),
        (altered(extra=1), "entry 'extra'"),
        (altered(shot=0.1), "shot is no list"),
        (altered(shot=[]), "same channels, got 0 and 1"),
        (altered(shot=[0.1] * 2000, read=[0.1] * 2000), "got 2000 and 2000"),
        (altered(shot=[-0.1]), "at least 0"),
        (altered(shot=["x"]), "in the place of a number"),
        (altered(shot=[True]), "in the place of a number"),
        (altered(read=[float("nan")]), "read must be finite"),
        (altered(read=[10**400]), "read must be finite"),
        (altered(black=float("inf")), "black must be finite"),
        (altered(spectrum=[1, 2]), "list of 3 numbers"),
        (altered(confidence=2), "between 0 and 1"),
        (altered(correlation=3), "correlation is no group"),
        (altered(correlation={"horizontal": [1]}), "list of 2 numbers"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content, sentence):
    path = tmp_path / "profile.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as caught:
        NoiseProfile.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(UserError, match="there is no file"):
        NoiseProfile.load(tmp_path / "none.json")

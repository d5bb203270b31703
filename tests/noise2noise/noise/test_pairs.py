"""The noise of recorded pairs: that texture doesn't disturb it."""

import numpy as np
import pytest
from skimage import data

from noise2noise.noise import parse, profile_of_pairs


def recordings(spec: str, count: int = 6, side: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Pairs `(N, C, side, side)` of the same crops of a textured picture."""
    picture = data.astronaut().transpose(2, 0, 1).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 512 - side, (count, 2))
    crops = [picture[:, y : y + side, x : x + side] for y, x in corners]
    first, second = zip(*(parse(spec).pair(crop, rng) for crop in crops), strict=True)
    return np.stack(first), np.stack(second)


@pytest.mark.parametrize("peak", [10, 300])
@pytest.mark.parametrize("sigma", [2, 20])
def test_shot_and_read_noise(peak, sigma):
    profile = profile_of_pairs(*recordings(f"poisson-gaussian:{peak},{sigma}"))
    for level in (0.2, 0.8):
        expected = level / peak + (sigma / 255) ** 2
        assert profile.variance(level, 1) == pytest.approx(expected, rel=0.06)
    assert profile.confidence > 0.9


def test_small_images_are_enough_when_there_are_many():
    profile = profile_of_pairs(*recordings("gaussian:25", count=200, side=32))
    assert np.sqrt(profile.variance(0.5, 0)) * 255 == pytest.approx(25, rel=0.03)


def test_units_carry_over():
    first, second = recordings("poisson:30")
    scaled = profile_of_pairs(1000 * first + 500, 1000 * second + 500)
    expected = profile_of_pairs(first, second).scaled(1000, 500)
    assert scaled.shot == pytest.approx(expected.shot, rel=1e-3)
    assert scaled.black == pytest.approx(expected.black, rel=1e-3)


def test_white_noise_is_white_in_spite_of_texture():
    profile = profile_of_pairs(*recordings("gaussian:10"))
    assert profile.spectrum == pytest.approx([10 / 255] * 3, rel=0.12)
    assert profile.pixel == pytest.approx(10 / 255, rel=0.06)
    assert abs(profile.correlation.nearest) < 0.03


def test_another_exposure_is_no_noise():
    first, second = recordings("gaussian:10")
    profile = profile_of_pairs(first, second + 0.3)
    assert np.sqrt(profile.variance(0.5, 0)) * 255 == pytest.approx(10, rel=0.05)


def test_pairs_of_tiny_images_tell_nothing():
    profile = profile_of_pairs(np.zeros((3, 1, 5, 5)), np.ones((3, 1, 5, 5)))
    assert profile.confidence == 0


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ([], [], "got 0, 0"),
        (np.zeros((2, 1, 9, 9)), np.zeros((1, 1, 9, 9)), "got 2, 1"),
        (np.zeros((1, 1, 9, 9)), np.zeros((1, 1, 9, 8)), r"\(1, 9, 9\) and \(1, 9, 8\)"),
        (np.zeros((1, 9, 9)), np.zeros((1, 9, 9)), r"\(9, 9\)"),
    ],
)
def test_what_makes_no_pairs(first, second, sentence):
    with pytest.raises(ValueError, match=sentence):
        profile_of_pairs(first, second)

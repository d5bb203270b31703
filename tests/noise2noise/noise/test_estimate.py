"""Measuring noise: that what was added is what is found, whatever picture it was added to."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from skimage import data

from noise2noise.noise import NoiseProfile, estimate, estimate_together


def photograph(name: str = "astronaut") -> np.ndarray:
    """A picture of scikit-image, `(C, H, W)` in [0, 1], halved: without its own noise."""
    pixels = np.atleast_3d(getattr(data, name)()).transpose(2, 0, 1).astype(np.float32) / 255
    channels, height, width = (size // 2 * 2 if size > 3 else size for size in pixels.shape)
    even = pixels[:, :height, :width].reshape(channels, height // 2, 2, width // 2, 2)
    return even.mean(axis=(2, 4))


def gaussian(clean: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return clean + np.float32(sigma) * rng.standard_normal(clean.shape, dtype=np.float32)


def sensor(clean: np.ndarray, shot: float, read: float) -> np.ndarray:
    photons = np.random.default_rng(1).poisson(np.maximum(clean, 0) / shot) * shot
    return gaussian(photons.astype(np.float32), read)


def deviation(profile: NoiseProfile, clean: np.ndarray) -> float:
    """What the profile takes the noise's standard deviation for, over the whole picture."""
    variances = [profile.variance(plane, index).mean() for index, plane in enumerate(clean)]
    return float(np.sqrt(np.mean(variances)))


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
@pytest.mark.parametrize("sigma", [5, 15, 50])
def test_the_deviation_of_gaussian_noise(name, sigma):
    clean = photograph(name)
    profile = estimate(gaussian(clean, sigma / 255))
    assert deviation(profile, clean) * 255 == pytest.approx(sigma, rel=0.1)
    assert profile.confidence > 0.5


@pytest.mark.parametrize("sigma", [25, 75])
def test_clipping_is_undone(sigma):
    clean = photograph("coffee")
    stored = np.rint(gaussian(clean, sigma / 255).clip(0, 1) * 255).astype(np.float32)
    assert deviation(estimate(stored / 255), clean) * 255 == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize(("shot", "read"), [(0.01, 5 / 255), (1 / 30, 0), (0.1, 10 / 255)])
def test_shot_and_read_noise(shot, read):
    clean = photograph("astronaut")
    profile = estimate(sensor(clean, shot, read))
    assert profile.shot == pytest.approx([shot] * 3, rel=0.15)
    for level in (0.1, 0.5, 0.9):
        assert profile.variance(level, 1) == pytest.approx(shot * level + read**2, rel=0.2)


def test_channels_may_differ():
    clean = photograph("astronaut")
    noisy = np.concatenate([gaussian(clean[c : c + 1], (5, 20, 40)[c] / 255, c) for c in range(3)])
    profile = estimate(noisy)
    found = [np.sqrt(profile.variance(clean[c], c).mean()) * 255 for c in range(3)]
    assert found == pytest.approx([5, 20, 40], rel=0.1)
    assert abs(profile.correlation.channels) < 0.1


@pytest.mark.parametrize(("factor", "offset"), [(255, 0), (1e-3, 0), (4000, -700), (100, 1000)])
def test_units_carry_over(factor, offset):
    noisy = sensor(photograph("coffee"), 0.02, 0.02)
    expected = estimate(noisy).scaled(factor, offset)
    found = estimate((noisy.astype(np.float64) * factor + offset).astype(np.float32))
    assert found.shot == pytest.approx(expected.shot, rel=0.01)
    assert found.read == pytest.approx(expected.read, rel=0.01, abs=1e-3 * factor)
    assert found.black == pytest.approx(expected.black, abs=1e-3 * factor)
    assert found.spectrum == pytest.approx(expected.spectrum, rel=0.01)


def test_an_empty_channel_leaves_the_others_theirs():
    """Fluorescence that is stored in colour has nothing in two channels."""
    clean = photograph("camera")
    noisy = np.concatenate([gaussian(clean, 20 / 255), np.zeros((2, *clean.shape[1:]), "f4")])
    profile = estimate(noisy)
    assert deviation(profile, clean) * 255 == pytest.approx(20, rel=0.1)
    assert profile.shot[1:] == profile.read[1:] == (0, 0)
    assert profile.spectrum[0] * 255 == pytest.approx(20, rel=0.1)


def test_white_noise_has_a_flat_spectrum_and_no_correlation():
    profile = estimate(gaussian(photograph("coffee"), 25 / 255))
    assert profile.spectrum == pytest.approx([25 / 255] * 3, rel=0.2)
    assert profile.pixel == pytest.approx(25 / 255, rel=0.1)
    assert np.abs([*profile.correlation.horizontal, *profile.correlation.vertical]).max() < 0.1


def test_smoothed_noise_is_found_at_the_coarser_scales():
    rng = np.random.default_rng(0)
    white = 0.1 * rng.standard_normal((1, 402, 402), dtype=np.float32)
    rows = white[:, 1:-1] / 2 + (white[:, :-2] + white[:, 2:]) / 4
    smooth = rows[..., 1:-1] / 2 + (rows[..., :-2] + rows[..., 2:]) / 4
    profile = estimate(0.5 + smooth)
    assert profile.spectrum[0] < 0.2 * profile.spectrum[1] < 0.2 * profile.spectrum[2]
    assert profile.pixel == pytest.approx(smooth.std(), rel=0.15)
    lags = [np.corrcoef(smooth[0, :, n:].ravel(), smooth[0, :, :-n].ravel())[0, 1] for n in (1, 2)]
    assert profile.correlation.horizontal == pytest.approx(lags, abs=0.1)
    assert profile.correlation.vertical == pytest.approx(lags, abs=0.1)


def test_noise_that_is_the_same_in_all_channels_is_told():
    grain = gaussian(np.zeros((1, 256, 256), np.float32), 0.1)
    profile = estimate(photograph("astronaut") + grain)
    assert profile.correlation.channels > 0.9


def test_impulses_are_counted_and_do_not_count_as_noise():
    clean = 0.3 + 0.4 * photograph("coffee")  # away from the impulses
    noisy, rng = gaussian(clean, 5 / 255), np.random.default_rng(2)
    hit = rng.random(noisy.shape) < 0.02
    noisy[hit] = rng.integers(0, 2, np.count_nonzero(hit))
    profile = estimate(noisy)
    assert profile.impulses == pytest.approx(0.02, rel=0.3)
    assert deviation(profile, clean) * 255 == pytest.approx(5, rel=0.15)
    assert estimate(gaussian(clean, 5 / 255)).impulses < 2e-4


@pytest.mark.parametrize("level", [0, 0.3, 1])
def test_a_constant_image_has_no_noise(level):
    profile = estimate(np.full((3, 64, 64), level, np.float32))
    assert profile.shot == profile.read == (0, 0, 0)
    assert not profile.sigma(np.full((3, 64, 64), level, np.float32)).any()


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 5, 400), (1, 8, 8), (2, 9, 15), (1, 17, 31)])
def test_images_of_few_pixels(shape):
    profile = estimate(gaussian(np.full(shape, 0.5, np.float32), 0.1))
    assert profile.channels == shape[0]
    assert profile.confidence < 0.9


def test_a_large_image_is_read_in_crops():
    class Stored(np.ndarray):
        """An array that tells how much of it was read."""

        seen = 0

        def __getitem__(self, index):
            part = np.asarray(self)[index]
            Stored.seen += part.size
            return part

    stored = gaussian(np.full((1, 2500, 3000), 0.5, np.float32), 0.1).view(Stored)
    assert deviation(estimate(stored), np.full((1, 1, 1), 0.5)) == pytest.approx(0.1, rel=0.02)
    assert 0.1 < Stored.seen / stored.size < 0.25


def test_several_images_of_one_camera():
    pictures = [photograph(name)[:1] for name in ("astronaut", "coffee", "camera")]
    profile = estimate_together([sensor(clean, 0.02, 0.02) for clean in pictures])
    assert profile.shot == pytest.approx([0.02], rel=0.1)
    with pytest.raises(ValueError, match="same channels"):
        estimate_together([pictures[0], photograph("coffee")])


def test_images_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"\(C, H, W\), got \(8, 8\)"):
        estimate(np.zeros((8, 8), np.float32))


def benchmark_images(shared: Path) -> list[np.ndarray]:
    paths = sorted((shared / "data/bench/cbsd68").glob("*.png"))
    return [np.asarray(Pillow.open(path), np.float32).transpose(2, 0, 1) / 255 for path in paths]


@pytest.mark.parametrize("sigma", [5, 25, 75])
def test_gaussian_noise_of_the_benchmark_images(shared, sigma):
    images = benchmark_images(shared)
    errors = [
        deviation(estimate(gaussian(clean, sigma / 255, seed)), clean) * 255 / sigma - 1
        for seed, clean in enumerate(images)
    ]
    assert abs(np.median(errors)) < 0.05
    assert np.abs(errors).max() < 0.3


def test_the_gain_of_the_benchmark_images(shared):
    errors = [
        np.mean(estimate(sensor(x, 0.01, 0.02)).shot) / 0.01 - 1 for x in benchmark_images(shared)
    ]
    assert abs(np.median(errors)) < 0.05
    assert np.quantile(np.abs(errors), 0.9) < 0.15


@pytest.mark.filterwarnings("error")
def test_what_was_drawn_has_no_noise():
    """A screenshot: flat but for thin lines, so that most squares have no texture at all."""
    image = np.full((1, 300, 400), 240, np.float32)
    image[:, 20:120, 30:200] = 255
    for step in range(12):
        image[:, 130 + 13 * step, 20:380] = 200 - 3 * step
        rows = np.arange(140, 290)
        image[:, rows, 30 + 20 * step + (rows - 140) // 3] = 90
    found = estimate(image)
    assert (found.shot, found.read) == ((0.0,), (0.0,))

"""Impulses: hot pixels are found, and neither stars nor texture are taken for them."""

import numpy as np
import pytest
from skimage import data

from noise2noise.noise import impulses, without_impulses

SIGMA = 0.01


def sky(seed: int = 0) -> np.ndarray:
    return SIGMA * np.random.default_rng(seed).standard_normal((300, 300), dtype=np.float32)


def star(width: float, y: float, x: float) -> np.ndarray:
    """A star (9, 9) of that full width at half maximum, its brightest point 1."""
    rows, columns = np.mgrid[:9, :9]
    return np.exp(-4 * np.log(2) * ((rows - y) ** 2 + (columns - x) ** 2) / width**2)


def with_hot_pixels(plane: np.ndarray, height: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.zeros(plane.size, bool)
    places[np.random.default_rng(1).choice(plane.size, count, replace=False)] = True
    hot = places.reshape(plane.shape)
    return plane + np.float32(height) * hot, hot


@pytest.mark.parametrize("height", [0.2, -0.2, 1])
@pytest.mark.parametrize("share", [0.0005, 0.03])
def test_hot_and_dead_pixels_are_found(height, share):
    plane, hot = with_hot_pixels(sky(), height, int(share * 300 * 300))
    found = impulses(plane, SIGMA)
    assert (found & hot).sum() > 0.97 * hot.sum()
    assert (found & ~hot).sum() <= 1


def test_each_is_replaced_by_what_is_around_it():
    clean = sky() + 0.5
    plane, hot = with_hot_pixels(clean, 0.4, 100)
    repaired, count = without_impulses(plane, SIGMA)
    assert count == 100
    assert np.abs(repaired[hot] - 0.5).max() < 3 * SIGMA
    assert np.array_equal(repaired[~hot], plane[~hot])


def test_noise_alone_has_none():
    plane = sky()
    assert not impulses(plane, SIGMA).any()
    assert without_impulses(plane, SIGMA)[0] is plane


@pytest.mark.parametrize("signal", [10, 50])
@pytest.mark.parametrize("width", [1.2, 1.5, 2, 4])
def test_a_star_stays(width, signal):
    """Stars at any place between pixels, their peak `signal` times the noise."""
    rng, plane, places = np.random.default_rng(3), sky(), []
    for top in range(5, 280, 20):
        for left in range(5, 280, 20):
            y, x = 4 + rng.uniform(-0.5, 0.5, 2)
            plane[top : top + 9, left : left + 9] += signal * SIGMA * star(width, y, x)
            places.append((top, left))
    found = impulses(plane, SIGMA)
    lost = sum(found[top : top + 9, left : left + 9].any() for top, left in places)
    assert lost <= 0.04 * len(places)


def test_a_picture_has_hardly_any():
    picture = data.camera().astype(np.float32) / 255
    assert impulses(picture, 0.01).mean() < 2e-4


def test_the_noise_may_differ_from_pixel_to_pixel():
    sigma = np.full((300, 300), SIGMA, np.float32)
    sigma[:, 150:] *= 20
    noise = sky() * sigma / SIGMA
    plane, hot = with_hot_pixels(noise, 0.5, 100)
    found = impulses(plane, sigma)
    assert found[:, :150].sum() > 0.95 * hot[:, :150].sum()
    assert not found[:, 150:].any()


@pytest.mark.parametrize("shape", [(1, 1), (2, 50), (3, 3)])
def test_small_planes(shape):
    assert impulses(np.zeros(shape, np.float32), SIGMA).shape == shape

"""Generated pictures: repeatable, in range, and with the statistics that make them worth having."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noise2noise.dead_leaves import dead_leaves


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([dead_leaves(96, np.random.default_rng((5, i))) for i in range(24)])


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 70), st.sampled_from([1, 3]), st.integers(0, 1000))
def test_a_picture_has_the_size_asked_for_and_values_in_range(size, channels, seed):
    picture = dead_leaves(size, np.random.default_rng(seed), channels)
    assert picture.shape == (channels, size, size)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() <= picture.max() <= 1


def test_the_same_generator_state_draws_the_same_picture():
    first, again, other = (dead_leaves(40, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_power_falls_with_frequency_as_in_photographs(pictures):
    # Photographs: 1 / f^2 on average; white noise would have slope 0, one flat edge about 3.
    grey = pictures.mean(1)
    window = np.hanning(96)[:, None] * np.hanning(96)
    grey = (grey - grey.mean((1, 2), keepdims=True)) * window
    power = (np.abs(np.fft.fft2(grey)) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(96), np.fft.fftfreq(96)))
    rings = np.geomspace(0.03, 0.4, 9)
    level = [
        np.log(power[(frequency >= a) & (frequency < b)].mean())
        for a, b in itertools.pairwise(rings)
    ]
    slope = np.polyfit(np.log(rings[:-1]), level, 1)[0]
    assert -3.2 < slope < -1.6


def test_neighbours_are_mostly_alike_and_sometimes_far_apart(pictures):
    # Flat leaves and sharp edges: differences have heavy tails (a normal distribution has 3).
    steps = np.diff(pictures.mean(1)).reshape(len(pictures), -1)
    kurtosis = ((steps - steps.mean(1, keepdims=True)) ** 4).mean(1) / steps.var(1) ** 2
    assert np.median(kurtosis) > 6


def test_pictures_differ_in_brightness_contrast_and_colour(pictures):
    assert pictures.mean((1, 2, 3)).std() > 0.05
    assert pictures.std((1, 2, 3)).std() > 0.03
    assert (pictures - pictures.mean(1, keepdims=True)).std() > 0.03


def test_edges_are_softened():
    # Drawn without averaging, a leaf ends between two pixels and both have pure colours; here, some
    # pixel lies between its neighbours on almost every edge.
    grey = dead_leaves(96, np.random.default_rng(3), channels=1)[0]
    left, middle, right = grey[:, :-2], grey[:, 1:-1], grey[:, 2:]
    edge = np.abs(right - left) > 0.3
    between = (np.minimum(left, right) + 0.02 < middle) & (middle < np.maximum(left, right) - 0.02)
    assert edge.sum() > 50
    assert between[edge].mean() > 0.6


@pytest.mark.parametrize(("size", "channels"), [(0, 3), (-4, 3), (16, 2)])
def test_impossible_sizes_are_refused(size, channels):
    with pytest.raises(ValueError, match=str(channels if size > 0 else size)):
        dead_leaves(size, np.random.default_rng(0), channels)

"""How far shots lie apart, and how bright they are beside each other, in spite of their noise."""

from __future__ import annotations

import numpy as np
import pytest

from noise2noise.data.registration import SAME, exposure, registered, shift

from .made import shot, texture


@pytest.mark.parametrize("by", [(0, 0), (0.4, 0), (0, -0.7), (3, -2), (-5.3, 0)])
@pytest.mark.parametrize("sigma", [2, 30])
def test_a_shift_is_found_through_the_noise(by, sigma):
    first, second = shot(texture(128), 0, sigma), shot(texture(128, shift=by), 1, sigma)
    np.testing.assert_allclose(shift(first[None], second[None]), by, atol=0.2)
    np.testing.assert_allclose(shift(second[None], first[None]), np.negative(by), atol=0.2)


def test_nothing_moves_where_nothing_is_seen():
    nothing, other = (shot(np.zeros((96, 96)), seed)[None] for seed in (0, 1))
    assert not shift(nothing, other).any()
    assert not shift(np.zeros((1, 64, 64)), np.zeros((1, 64, 64))).any()
    assert not shift(nothing[:, :20, :20], other[:, :20, :20]).any()


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0), (2, -30), (1, 40)])
def test_another_exposure_is_found(gain, offset):
    picture = texture(128)
    first, second = shot(picture, 0), gain * shot(picture, 1) + offset
    found = exposure(first[None], second[None])
    assert found is not None
    assert found.gain == pytest.approx(1 / gain, rel=0.02)
    assert found.gain * second.mean() + found.offset == pytest.approx(first.mean(), abs=1)


def test_noise_is_no_exposure():
    picture = texture(128)
    assert exposure(shot(picture, 0, 30)[None], shot(picture, 1, 30)[None]) is SAME
    assert exposure(*(shot(np.zeros((64, 64)), seed)[None] for seed in (0, 1))) is SAME
    assert exposure(np.zeros((1, 64, 64)), np.ones((1, 64, 64))) is SAME


@pytest.mark.parametrize("seed", range(6))
def test_small_noisy_images_are_no_proof_of_an_exposure(seed):
    picture = texture(32, seed)
    first, second = (shot(picture, 2 * seed + number, 25) for number in (0, 1))
    assert exposure(first[None], second[None]) is SAME


def test_other_scenes_are_none():
    assert exposure(shot(texture(128, 0), 0)[None], shot(texture(128, 9), 1)[None]) is None


def test_shots_are_moved_by_whole_pixels_and_cut_to_what_they_share():
    picture = np.arange(20 * 30).reshape(1, 20, 30)
    shots = [picture[:, 5:15, 5:20], picture[:, 3:13, 6:21]]
    first, second = registered(shots, np.array([(0, 0), (2, -1)]))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (1, 8, 14)
    assert 0 in registered(shots, np.array([(0, 0), (40, 0)]))[0].shape

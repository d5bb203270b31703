"""Noise as cameras, microscopes and film make it: what of it one can see and count on."""

import numpy as np
import pytest
from skimage import data

from noise2noise.noise import estimate, parse, profile_of_pairs


def flat(level: float, channels: int = 3, side: int = 192) -> np.ndarray:
    return np.full((channels, side, side), level, np.float32)


def draw(spec: str, clean: np.ndarray, seed: int = 0) -> np.ndarray:
    return parse(spec).draw(clean, np.random.default_rng(seed))


@pytest.mark.parametrize("black", [0, 10, 30])
def test_the_black_level_is_where_the_dark_is_cut_off(black):
    dark, bright = draw(f"sensor:0,10,{black}", flat(0)), draw(f"sensor:0,10,{black}", flat(1))
    assert dark.min() == pytest.approx(-black / 255, abs=1 / 255)
    assert bright.max() == 1
    promised = {0: 0.4, 10: 0.08, 30: 0.0004}[black]
    assert dark.mean() * 255 / 10 == pytest.approx(promised, abs=0.01)
    assert (bright.mean() - 1) * 255 / 10 == pytest.approx(-0.4, abs=0.01)


def test_few_photons_are_counted_and_many_are_not():
    assert len(np.unique(draw("sensor:0.1,0", flat(0.5)))) < 30
    assert len(np.unique(draw("sensor:0.001,0", flat(0.5)))) > 1000


def test_blind_noise_has_every_strength():
    corruption, rng = parse("sensor:1e-4-1e-2,0"), np.random.default_rng(0)
    levels = [corruption.draw(flat(1, 1, 32), rng).var() for _ in range(300)]
    assert np.quantile(levels, (0, 0.5, 1)) == pytest.approx([1e-4, 1e-3, 1e-2], rel=0.3)


def test_what_a_sensor_makes_is_what_is_measured():
    clean = data.astronaut().transpose(2, 0, 1).astype(np.float32) / 255
    found = profile_of_pairs(*([draw("sensor:0.02,8", clean, seed)] for seed in (0, 1)))
    assert found.variance(0.5, 0) == pytest.approx(0.01 + (8 / 255) ** 2, rel=0.05)


def test_banding_is_the_same_along_rows_and_columns_and_in_all_channels():
    noise = draw("banding:5,2", flat(0.5)) - 0.5
    assert np.ptp(noise, axis=0).max() == 0
    rows, columns = noise[0].mean(axis=1), noise[0].mean(axis=0)
    assert rows.std() * 255 == pytest.approx(5, rel=0.2)
    assert columns.std() * 255 == pytest.approx(2, rel=0.2)
    rest = noise[0] - rows[:, None] - columns + noise[0].mean()
    assert np.abs(rest).max() < 1e-6
    assert np.ptp(draw("banding:5", flat(0.5)), axis=2).max() == 0


def test_grain_is_strongest_in_the_middle_grey_and_the_same_in_all_channels():
    noise = draw("grain:20,1.5", flat(0.5)) - 0.5
    assert noise.std() * 255 == pytest.approx(20, rel=0.1)
    assert np.ptp(noise, axis=0).max() < 1e-6
    assert np.abs(draw("grain:20,1.5", flat(1)) - 1).max() == 0
    beside = np.corrcoef(noise[0, :, 1:].ravel(), noise[0, :, :-1].ravel())[0, 1]
    assert beside == pytest.approx(np.exp(-1 / (4 * 1.5**2)), abs=0.05)


def test_the_amplifiers_of_scmos_differ_and_electrons_of_emccd_multiply():
    scmos = draw("micro:scmos,100,5", flat(0, 1))
    assert np.mean(scmos**4) / np.mean(scmos**2) ** 2 > 4  # 3 for normal values
    emccd = draw("micro:emccd,100,0", flat(0.01, 1))
    assert (emccd == 0).mean() == pytest.approx(np.exp(-1), abs=0.02)  # no photon, no electron
    assert len(np.unique(emccd)) > 1000


CAMERA = "camera:0.003,92"


def test_a_camera_leaves_eight_bits():
    noisy = draw(CAMERA, flat(0.4))
    assert np.allclose(noisy * 255, np.rint(noisy * 255), atol=1e-3)
    assert noisy.min() >= 0
    assert noisy.max() <= 1


def test_the_noise_of_a_camera_is_coarse():
    profile = estimate(draw(CAMERA, flat(0.4)))
    assert profile.spectrum[2] > 2 * profile.spectrum[0]
    assert profile.correlation.nearest > 0.2


@pytest.mark.parametrize(
    ("level", "bias", "deviation"),
    [(0, 8.1, 6.5), (0.3, -2.1, 10.1), (0.8, -0.5, 7.5), (1, -4.5, 3.9)],
)
def test_the_bias_of_a_camera_is_what_its_table_says(level, bias, deviation):
    rng, corruption = np.random.default_rng(0), parse("camera:0.004,95")
    noisy = np.stack([corruption.draw(flat(level, side=64), rng) for _ in range(60)])
    assert (noisy.mean() - level) * 255 == pytest.approx(bias, abs=1)
    assert noisy.std(axis=(2, 3)).mean() * 255 == pytest.approx(deviation, abs=1.5)


def test_a_camera_with_hardly_any_noise_shows_the_picture():
    clean = data.astronaut().transpose(2, 0, 1).astype(np.float32)[:, :256, :256] / 255
    noisy = draw("camera:1e-6,100", clean)
    assert np.median(np.abs(noisy - clean)) * 255 < 2
    for channel in range(3):
        assert np.corrcoef(noisy[channel].ravel(), clean[channel].ravel())[0, 1] > 0.98


def test_two_shots_of_a_pair_are_of_one_camera_as_it_was_set():
    clean = data.astronaut().transpose(2, 0, 1).astype(np.float32)[:, :128, :128] / 255
    corruption, rng = parse("camera:1e-9,60-98"), np.random.default_rng(0)
    for _ in range(4):
        first, second = corruption.pair(clean, rng)
        assert np.abs(first - second).mean() * 255 < 0.3
        assert np.abs(first - corruption.draw(clean, rng)).mean() * 255 > 0.6


@pytest.mark.parametrize("shape", [(1, 40, 50), (3, 7, 5), (3, 2, 2), (1, 1, 3)])
def test_a_camera_takes_images_of_any_size(shape):
    assert draw(CAMERA, np.full(shape, 0.5, np.float32)).shape == shape


def test_a_camera_takes_grey_and_colour_only():
    with pytest.raises(ValueError, match="grey or colour images, got 2 channels"):
        draw(CAMERA, flat(0.5, 2))


# Networks that are told the noise learn from these.

GREY = np.full((1, 200, 200), 0.4, np.float32)


@pytest.mark.parametrize(
    "spec", ["gaussian:20", "poisson:30", "poisson-gaussian:30,5", "sensor:0.02,9"]
)
def test_a_told_pair_has_the_noise_that_is_told(spec):
    corruption = parse(spec)
    noisy, target, noise = corruption.told_pair(GREY, np.random.default_rng(0), shots=4)
    expected = float(noise.variance(0.4, 0))
    assert noise == corruption.profile
    assert noisy.var() == pytest.approx(expected, rel=0.03)
    assert target.var() == pytest.approx(expected / 4, rel=0.03)
    assert noisy.mean() == pytest.approx(0.4, abs=0.003)
    assert np.corrcoef(noisy.ravel(), target.ravel())[0, 1] == pytest.approx(0, abs=0.02)
    assert corruption.draw(GREY, np.random.default_rng(1)).var() == pytest.approx(
        expected, rel=0.03
    )


@pytest.mark.parametrize("spec", ["gaussian:5-50", "sensor:1e-4-0.1,0-20", "sensor:blind"])
def test_both_images_of_a_told_pair_have_the_noise_of_one_scene(spec):
    corruption, levels = parse(spec), set()
    assert corruption.profile is None
    for seed in range(5):
        noisy, target, noise = corruption.told_pair(GREY, np.random.default_rng(seed))
        assert noisy.var() == pytest.approx(float(noise.variance(0.4, 0)), rel=0.05)
        assert target.var() == pytest.approx(noisy.var(), rel=0.1)
        levels.add(round(float(noisy.std()), 3))
    assert len(levels) > 3


def test_blind_sensors_cover_what_they_say():
    clean, corruption = np.full((3, 2, 2), 0.5, np.float32), parse("sensor:blind")
    noises = [corruption.told_pair(clean, np.random.default_rng(i))[2] for i in range(2000)]
    shots, reads = np.array([n.shot[0] for n in noises]), np.array([n.read[0] for n in noises])
    assert np.mean(shots == 0) == pytest.approx(0.5, abs=0.05)
    assert 0.1 < shots.max() < 0.16 * np.exp(0.4)
    assert 74 / 255 < reads.max() < 75 / 255 * np.exp(0.2)
    assert np.mean([len(set(n.read)) > 1 for n in noises]) == pytest.approx(0.35, abs=0.05)


@pytest.mark.parametrize("spec", ["impulse:0.1", "banding:5", "sensor:0.01,5,10", "bernoulli:0.5"])
def test_noise_that_is_no_line_is_not_told(spec):
    corruption = parse(spec)
    assert not corruption.can_be_told
    with pytest.raises(ValueError, match="no shot and read noise, so it can't be told"):
        corruption.told_pair(GREY, np.random.default_rng(0))

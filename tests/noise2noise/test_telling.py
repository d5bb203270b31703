"""Pairs for networks that are told the noise: what stands beside the image, and what is refused."""

import numpy as np
import pytest
import torch

from noise2noise.data import (
    GeneratedImages,
    PairSource,
    Telling,
    TensorPairs,
    split,
    validation_set,
)
from noise2noise.data.telling import LEAST_NOISE, varied
from noise2noise.errors import UserError
from noise2noise.fit import Trainer, configure
from noise2noise.noise import parse

SIGMA = 20 / 255


def pictures(spec: str = "gaussian:20", channels: int = 3) -> GeneratedImages:
    return GeneratedImages(4, parse(spec), crop=32, channels=channels)


def batch(source: PairSource, seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    return source.batch([0] * count, np.random.default_rng(seed))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_noise_stands_beside_the_image_at_its_scale(channels):
    inputs, targets = batch(pictures(channels=channels).telling(Telling()))
    assert (inputs.shape[1], targets.shape[1]) == (2 * channels, channels)
    # Everything was divided by the root of the noise, the noise too.
    np.testing.assert_allclose(inputs[:, channels:], np.sqrt(SIGMA), rtol=1e-5)
    difference = (inputs[:, :channels] - targets) * np.sqrt(SIGMA)
    assert difference.std() == pytest.approx(np.sqrt(2) * SIGMA, rel=0.02)


def test_targets_may_be_means_of_several_shots():
    inputs, targets = batch(pictures().telling(Telling(shots=4)))
    difference = (inputs[:, :3] - targets) * np.sqrt(SIGMA)
    assert difference.std() == pytest.approx(np.sqrt(1 + 1 / 4) * SIGMA, rel=0.02)


def test_light_noise_is_not_blown_up_without_end():
    inputs, _ = batch(pictures("gaussian:0.01").telling(Telling()))
    expected = 0.01 / 255 / np.sqrt(LEAST_NOISE)
    np.testing.assert_allclose(inputs[:, 3:], expected, rtol=1e-4)


def test_what_the_image_is_about_its_mean_give_or_take_a_little():
    inputs, _ = batch(pictures().telling(Telling()), count=200)
    means = inputs[:, :3].mean((1, 2, 3)) * np.sqrt(SIGMA)
    assert abs(float(means.mean())) < 0.1


def test_varied_crops_are_darker_tinted_or_flat():
    clean = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    crops = [varied(clean, np.random.default_rng(seed)) for seed in range(2000)]
    brightness = np.array([crop.mean() for crop in crops]) / clean.mean()
    assert 0.1 < brightness.min() < 0.25
    assert brightness.max() == pytest.approx(1, rel=1e-6)
    assert np.mean([crop.std(axis=(1, 2)).max() < 1e-6 for crop in crops]) == pytest.approx(
        0.03, abs=0.015
    )
    flat_or_not = [crop / np.where(clean > 0.01, clean, np.nan) for crop in crops]
    tinted = [np.nanstd([np.nanmedian(plane) for plane in ratio]) > 1e-3 for ratio in flat_or_not]
    assert np.mean(tinted) == pytest.approx(0.3, abs=0.06)


def test_the_same_numbers_make_the_same_batch():
    source = pictures("sensor:blind").telling(Telling(2, varied=True))
    for first, second in zip(batch(source, 3), batch(source, 3), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(batch(source, 3)[0], batch(source, 4)[0])


def test_validation_says_the_noise_of_each_image():
    source = pictures("sensor:blind").telling(Telling())
    rest, held = split(source)
    assert held.guidances is not None
    assert rest.is_telling
    for (noisy, reference), guidance in zip(held.pairs, held.guidances, strict=True):
        spread = float((noisy - reference).std())
        assert spread == pytest.approx(float(guidance.noise.sigma(noisy).mean()), rel=0.15)
        assert guidance.offset == pytest.approx(float(noisy.mean()), abs=1e-6)
    assert validation_set(pictures()).guidances is None


def test_recorded_pairs_tell_their_noise_by_their_difference():
    rng = np.random.default_rng(0)
    clean = rng.integers(60, 180, (3, 1, 1, 64)).repeat(64, 2)
    sides = [np.clip(np.rint(clean + rng.normal(0, 10, clean.shape)), 0, 255) for _ in range(2)]
    pairs = TensorPairs(*(torch.from_numpy(side.astype(np.uint8)) for side in sides), crop=32)
    inputs, targets = batch(pairs.telling(Telling()))
    sigma = inputs[:, 1:] ** 2  # it was divided by its own root
    assert float(np.median(sigma)) == pytest.approx(10 / 255, rel=0.1)
    assert targets.shape == (40, 1, 32, 32)


@pytest.mark.parametrize("spec", ["bernoulli:0.5", "impulse:0.1", "subpixel:2"])
def test_noise_that_can_t_be_told_is_refused(spec):
    with pytest.raises(UserError, match=f"the noise {spec} can't be told to a network; choose"):
        pictures(spec).telling(Telling())


def test_noise_of_clean_targets_is_refused():
    side = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    with pytest.raises(UserError, match="noisy and clean images can't be told"):
        TensorPairs(side, side, target_is_clean=True).telling(Telling())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "compact", "target_shots": 4}, "networks that are told the noise"),
        ({"architecture": "compact", "varied": True}, "networks that are told the noise"),
        ({"architecture": "guided", "validation": "val.pkl"}, "leave validation out"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, options, words):
    config = configure(generated=4, corruption="gaussian:20", crop=16, **options)
    with pytest.raises(UserError, match=words):
        Trainer(config, tmp_path)


def test_a_told_network_learns(tmp_path):
    config = configure(
        generated=20,
        corruption="sensor:0.01-0.05,5-20",
        crop=32,
        architecture="guided",
        sizes={"width": 8, "depth": 0, "blocks": 1},
        target_shots=4,
        varied=True,
        learning_rate=3e-3,
        epochs=4,
    )
    trainer = Trainer(config, tmp_path)
    before = trainer.validate()
    trainer.fit()
    assert trainer.position.best_psnr > before + 1

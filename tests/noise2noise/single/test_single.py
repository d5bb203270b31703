"""A model fitted to one noisy image, and what its check keeps from being used."""

from collections.abc import Iterator

import numpy as np
import pytest

from noise2noise.dead_leaves import dead_leaves
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import stack_of
from noise2noise.inference import Settings
from noise2noise.metrics import psnr
from noise2noise.noise import NoiseProfile
from noise2noise.single import Fitted, Options, fit, save
from noise2noise.single.sample import Sample, pairs_of

SIDE = 96


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few steps, so that nobody waits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("noise2noise.single.adaptation._STEPS", 12)
        yield


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return 0.1 + 0.8 * dead_leaves(SIDE, np.random.default_rng(5), channels=1)[0]


@pytest.fixture(scope="module")
def noisy(clean: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (clean * (1 + 0.25 * rng.standard_normal(clean.shape))).astype(np.float32)


WRONG = Settings(noise=NoiseProfile.gaussian(0.04))
"""Told so, the shipped model leaves most of the noise."""


@pytest.fixture(scope="module")
def fitted(noisy: np.ndarray) -> Fitted:
    return fit(Denoiser.load("grey"), [stack_of(noisy)], WRONG)


def test_a_fit_mends_what_the_network_was_told_wrongly(clean, noisy, fitted):
    before = Denoiser.load("grey").denoise(noisy, noise=WRONG.noise)
    after = fitted.denoiser.denoise(noisy, noise=WRONG.noise)
    assert psnr(after[None], clean[None]) > psnr(before[None], clean[None]) + 1
    assert any(stage.kept for stage in fitted.stages)
    assert fitted.gained > 0
    assert "grey with " in fitted.describe()


def test_what_is_kept_is_better_on_held_back_pixels(fitted):
    for stage in fitted.stages:
        assert not stage.kept or stage.after < stage.before - stage.deviation


def test_the_same_seed_gives_the_same_bits(noisy, fitted):
    again = fit(Denoiser.load("grey"), [stack_of(noisy)], WRONG)
    for one, other in zip(
        fitted.denoiser.model.parameters(), again.denoiser.model.parameters(), strict=True
    ):
        assert np.array_equal(one.numpy(), other.numpy())


def test_a_fitted_model_is_kept_and_used_like_any_other(tmp_path, noisy, fitted):
    path = tmp_path / "fitted.safetensors"
    save(fitted.denoiser, path)
    loaded = Denoiser.load(path)
    assert loaded.info.title == "grey, fitted to an image"
    np.testing.assert_array_equal(loaded.denoise(noisy), fitted.denoiser.denoise(noisy))
    with pytest.raises(UserError, match="exists already"):
        save(fitted.denoiser, path)


def test_where_nothing_is_gained_the_model_stays_as_it_is(clean):
    rng = np.random.default_rng(0)
    noisy = (clean + 0.1 * rng.standard_normal(clean.shape)).astype(np.float32)
    denoiser = Denoiser.load("grey")
    # No time for more than the first look, and the noise is told as it is.
    settings = Settings(noise=NoiseProfile.gaussian(0.1))
    fitted = fit(denoiser, [stack_of(noisy)], settings, Options(minutes=1e-9))
    assert fitted.denoiser is denoiser
    assert "nothing that was fitted did better" in fitted.describe()


@pytest.mark.parametrize(
    "image", [np.full((64, 64), 0.5, np.float32), np.random.default_rng(0).random((20, 90))]
)
def test_what_nothing_can_be_learned_from_is_left_to_the_model(image):
    denoiser = Denoiser.load("grey")
    fitted = fit(denoiser, [stack_of(image.astype(np.float32))])
    assert fitted.denoiser is denoiser
    assert fitted.stages == []
    assert "too little" in fitted.describe()


def test_a_network_that_is_not_told_the_noise_is_left_as_it_is(make_model, noisy):
    denoiser = Denoiser.load(make_model("a.safetensors", "compact", channels=1))
    assert fit(denoiser, [stack_of(noisy)]).denoiser is denoiser


def test_pairs_have_noise_of_their_own_and_show_the_same():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] / 100
    smooth = np.sin(y + 2 * x)
    noise = rng.standard_normal((1, 256, 256))
    sigma = np.ones((1, 256, 256), np.float32)
    (of_noise,) = pairs_of([Sample(noise.astype(np.float32), sigma)], 1, rng)
    assert np.corrcoef(of_noise.first.ravel(), of_noise.second.ravel())[0, 1] == pytest.approx(
        0, abs=0.02
    )
    np.testing.assert_allclose(of_noise.sigma, 0.5**0.5, rtol=1e-6)
    assert of_noise.first.std() == pytest.approx(0.5**0.5, rel=0.02)
    (of_picture,) = pairs_of([Sample(smooth[None].astype(np.float32), sigma)], 1, rng)
    np.testing.assert_allclose(of_picture.first, of_picture.second, atol=1e-3)
    assert of_noise.held.mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"minutes": 0}, "must be above 0, got 0"), ({"seed": -1}, "at least 0, got -1")],
)
def test_options_that_can_t_be_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        Options(**options)

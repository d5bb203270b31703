"""A model fitted to one noisy image, and what its check keeps from being used."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from chainrule import gradcheck
from noise2noise import networks
from noise2noise.dead_leaves import dead_leaves
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import stack_of
from noise2noise.inference import Settings
from noise2noise.metrics import psnr
from noise2noise.model_info import ModelInfo
from noise2noise.noise import NoiseProfile
from noise2noise.single import Budget, Fitted, Options, Sample, fit, learn, save
from noise2noise.single.level import level
from noise2noise.single.patterns import WORDS, patterns
from noise2noise.single.recorrupt import like, noise_of, reaches_far, recorrupted
from noise2noise.single.sample import pairs_of
from noise2noise.single.scratch import Diagonals

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
        assert not stage.kept or stage.after < stage.before - 1.5 * stage.deviation


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
    (of_noise,) = pairs_of([Sample(noise.astype(np.float32), sigma)], rng)
    assert np.corrcoef(of_noise.first.ravel(), of_noise.second.ravel())[0, 1] == pytest.approx(
        0, abs=0.02
    )
    np.testing.assert_allclose(of_noise.sigma, 0.5**0.5, rtol=1e-6)
    assert of_noise.first.std() == pytest.approx(0.5**0.5, rel=0.02)
    (of_picture,) = pairs_of([Sample(smooth[None].astype(np.float32), sigma)], rng)
    np.testing.assert_allclose(of_picture.first, of_picture.second, atol=1e-3)
    assert of_noise.held.mean() == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"minutes": 0}, "must be above 0, got 0"), ({"seed": -1}, "at least 0, got -1")],
)
def test_options_that_can_t_be_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        Options(**options)


def test_noise_that_reaches_from_pixel_to_pixel_is_told_and_made_again():
    rng = np.random.default_rng(0)
    blurred = gaussian_filter(rng.standard_normal((1, 256, 256)), (0, 0.8, 0.8))
    image = (0.5 + 0.1 * blurred / blurred.std()).astype(np.float32)
    sample = Sample(image, np.full_like(image, 0.1))
    profile = noise_of([sample])
    assert reaches_far(profile)
    made = like(profile, image, rng)
    assert made.std() == pytest.approx(0.1, rel=0.1)
    for lag in (1, 2):
        there = np.corrcoef(image[..., lag:].ravel(), image[..., :-lag].ravel())[0, 1]
        here = np.corrcoef(made[..., lag:].ravel(), made[..., :-lag].ravel())[0, 1]
        assert here == pytest.approx(there, abs=0.12)
    pair, _ = recorrupted([sample], profile, rng)
    assert not pair.mirrored
    alike = np.corrcoef(pair.first.ravel(), pair.second.ravel())[0, 1]
    assert alike == pytest.approx(0, abs=0.1)


def test_white_noise_does_not_reach_far(clean):
    noisy = clean[None] + 0.1 * np.random.default_rng(0).standard_normal((1, SIDE, SIDE))
    image = noisy.astype(np.float32)
    assert not reaches_far(noise_of([Sample(image, np.full_like(image, 0.1))]))


def striped(picture: np.ndarray) -> np.ndarray:
    offsets = 0.03 * np.random.default_rng(2).standard_normal((len(picture), 1))
    return (picture + offsets).astype(np.float32)


def peppered(picture: np.ndarray) -> np.ndarray:
    draws = np.random.default_rng(3).random(picture.shape)
    return np.where(draws < 0.025, 0, np.where(draws > 0.975, 1, picture)).astype(np.float32)


@pytest.mark.parametrize(
    ("spoil", "name", "gain"), [(striped, "rows", 3), (peppered, "salt", 8)], ids=["rows", "salt"]
)
def test_what_is_no_draw_at_every_pixel_is_found_and_removed_first(clean, spoil, name, gain):
    noisy = spoil(clean)
    assert patterns([stack_of(noisy)]) == [name]
    assert patterns([stack_of(clean.astype(np.float32))]) == []
    denoiser = Denoiser.load("grey")
    fitted = fit(denoiser, [stack_of(noisy)], options=Options(minutes=1e-9))
    assert fitted.removed == [WORDS[name]]
    assert WORDS[name] in fitted.describe()
    after = psnr(fitted.denoiser.denoise(noisy)[None], clean[None])
    assert after > psnr(noisy[None], clean[None]) + gain
    assert after > psnr(denoiser.denoise(noisy)[None], clean[None]) + 0.5


def test_offsets_of_columns_are_those_of_rows_turned(clean):
    assert patterns([stack_of(np.ascontiguousarray(striped(clean).T))]) == ["columns"]


def test_tiles_are_prepared_as_the_whole_is(clean):
    sizes = {"channels": 1, "width": 4, "depth": 1, "blocks": 1, "rows": 1, "columns": 1, "salt": 1}
    with networks.seeded(0):
        network = networks.build("adapted", **sizes)
    complete = networks.sizes_of("adapted", sizes)
    denoiser = Denoiser(network, ModelInfo("test", "adapted", complete, "", "", 0))
    noisy = striped(peppered(np.tile(clean, (2, 2))))
    whole = denoiser.denoise(noisy)
    assert np.abs(whole - noisy).max() > 0.3
    np.testing.assert_allclose(denoiser.denoise(noisy, tile=104), whole, atol=1e-5)


def test_diagonals_pass_gradcheck_and_refuse_odd_sizes():
    gradcheck(Diagonals(), torch.randn(2, 3, 4, 6))
    with pytest.raises(ValueError, match=r"H and W even, got \(1, 1, 3, 4\)"):
        Diagonals()(torch.zeros(1, 1, 3, 4))


def test_a_step_from_scratch_has_the_gradient_of_the_published_loss():
    """ZS-N2N's loss, with autograd."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 12, 16)
    held = np.zeros((6, 8), bool)
    rng = np.random.default_rng(0)
    sample = Sample(image[0].numpy(), image[0].numpy())
    start, _ = learn([sample], [held], 0, np.random.default_rng(0), Budget(9), lambda share: None)
    twin = nn.Sequential(
        nn.Conv2d(1, 48, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(48, 48, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(48, 1, 1),
    )
    twin.load_state_dict({k.removeprefix("noise."): v for k, v in start.state_dict().items()})

    def halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kernels = torch.tensor([[[[0.0, 0.5], [0.5, 0.0]]], [[[0.5, 0.0], [0.0, 0.5]]]])
        second, first = nn.functional.conv2d(x, kernels, stride=2).split(1, 1)
        return first, second

    def f(x: torch.Tensor) -> torch.Tensor:
        return x - twin(x)

    optimizer, mse = torch.optim.Adam(twin.parameters(), lr=1e-3), nn.MSELoss()
    first, second = halves(image)
    one, other, (half, rest) = f(first), f(second), halves(f(image))
    loss = (mse(one, second) + mse(other, first) + mse(one, half) + mse(other, rest)) / 2
    loss.backward()
    optimizer.step()
    learned, steps = learn([sample], [held], 1, rng, Budget(9), lambda share: None)
    assert steps == 1
    for ours, theirs in zip(learned.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), atol=2e-6, rtol=1e-4)


def test_from_scratch_learns_and_is_used_only_where_it_is_better(clean, noisy, monkeypatch):
    monkeypatch.setattr("noise2noise.single.adaptation.SCRATCH_STEPS", 60)
    fitted = fit(Denoiser.load("grey"), [stack_of(noisy)], Settings(), Options(scratch=True))
    (stage,) = fitted.stages
    assert stage.steps == 60
    assert not stage.kept  # sixty steps don't reach what photographs taught
    assert fitted.denoiser.info.name == "grey"
    # Told next to nothing, the model leaves all the noise, and a minute of learning is better.
    told = Settings(noise=NoiseProfile.gaussian(0.002))
    fitted = fit(Denoiser.load("grey"), [stack_of(noisy)], told, Options(scratch=True))
    assert fitted.describe() == "a network that learned from this image alone"
    after = fitted.denoiser.denoise(noisy)
    assert psnr(after[None], clean[None]) > psnr(noisy[None], clean[None]) + 1


def test_the_level_of_the_noise_is_told_by_what_is_removed(clean):
    noise = 0.1 * np.random.default_rng(0).standard_normal(clean.shape)
    image = (clean + noise)[None].astype(np.float32)
    denoiser = Denoiser.load("grey")
    right, low, high = (
        level(denoiser, [Sample(image, np.full_like(image, told))]) for told in (0.1, 0.06, 0.16)
    )
    assert right == pytest.approx(1, abs=0.05)
    assert low > right + 0.02  # little: a network that is told of less noise leaves the rest alone
    assert high < 0.8

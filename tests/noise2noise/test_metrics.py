"""PSNR in both averages, and SSIM, against hand computation and known orderings."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noise2noise.metrics import mean_psnr, psnr, psnr_of_mean_error, scale_invariant_psnr, ssim


def flat(value: float, shape: tuple[int, ...] = (3, 8, 8)) -> np.ndarray:
    return np.full(shape, value)


def test_psnr_of_a_known_error():
    # An error of 1/10 everywhere has the MSE 1/100, which is 20 dB below the peak 1.
    assert psnr(flat(0.6), flat(0.5)) == pytest.approx(20)
    assert psnr(flat(153.0), flat(127.5), peak=255) == pytest.approx(20)


def test_identical_images_are_infinitely_close():
    assert psnr(flat(0.3), flat(0.3)) == math.inf
    assert ssim(flat(0.3), flat(0.3)) == pytest.approx(1)


def test_the_scale_invariant_psnr_is_that_of_the_best_fit():
    rng = np.random.default_rng(0)
    target, error = rng.random((1, 9, 11)), 0.05 * rng.standard_normal((1, 9, 11))
    prediction = target + error
    design = np.stack([prediction.ravel(), np.ones(prediction.size)], axis=1)
    fit = design @ np.linalg.lstsq(design, target.ravel(), rcond=None)[0]
    expected = psnr(fit.reshape(target.shape), target)
    assert scale_invariant_psnr(prediction, target) == pytest.approx(expected)
    assert scale_invariant_psnr(0.3 - 7 * prediction, target) == pytest.approx(expected)
    assert scale_invariant_psnr(255 * prediction, 255 * target, 255) == pytest.approx(expected)
    assert scale_invariant_psnr(flat(0.2), flat(0.7)) == math.inf
    assert scale_invariant_psnr(np.zeros((1, 9, 11)), target) == pytest.approx(
        psnr(np.full((1, 9, 11), target.mean()), target)
    )


def test_unsigned_integers_do_not_wrap_around():
    dark, bright = np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 255, np.uint8)
    assert psnr(dark, bright, peak=255) == pytest.approx(0)
    assert psnr(bright, dark, peak=255) == pytest.approx(0)


def test_the_two_averages_differ_as_documented():
    targets = np.zeros((2, 1, 8, 8))
    predictions = np.stack([flat(0.1, (1, 8, 8)), flat(0.01, (1, 8, 8))])
    assert mean_psnr(predictions, targets) == pytest.approx((20 + 40) / 2)
    assert psnr_of_mean_error(predictions, targets) == pytest.approx(
        -10 * math.log10((0.01 + 0.0001) / 2)
    )


@given(
    errors=st.lists(st.floats(1e-3, 1), min_size=1, max_size=5),
    peak=st.sampled_from([1.0, 255.0]),
)
def test_the_mean_error_never_looks_better_than_the_mean_psnr(errors: list[float], peak: float):
    targets = np.zeros((len(errors), 1, 2, 3))
    predictions = targets + np.array(errors)[:, None, None, None]
    joint = psnr_of_mean_error(predictions, targets, peak)
    assert joint <= mean_psnr(predictions, targets, peak) + 1e-9


def test_images_of_different_sizes_average_alike():
    targets = [flat(0.0, (1, 4, 4)), flat(0.0, (1, 8, 8))]
    predictions = [flat(0.1, (1, 4, 4)), flat(0.01, (1, 8, 8))]
    assert mean_psnr(predictions, targets) == pytest.approx(30)
    weighted = (16 * 0.01 + 64 * 0.0001) / 80
    assert psnr_of_mean_error(predictions, targets) == pytest.approx(-10 * math.log10(weighted))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_tensors_give_the_same_as_arrays(metric):
    a, b = torch.rand(3, 9, 11), torch.rand(3, 9, 11, requires_grad=True)
    assert metric(a, b) == pytest.approx(metric(a.numpy(), b.detach().numpy()))
    batch = torch.stack([a, a]), torch.stack([b, b])
    assert mean_psnr(*batch) == pytest.approx(psnr(a, b))
    assert psnr_of_mean_error(*batch) == pytest.approx(psnr(a, b))


def test_ssim_falls_with_noise_and_knows_the_peak():
    rng = np.random.default_rng(0)
    image = rng.random((3, 32, 32))
    near, far = (image + s * rng.standard_normal(image.shape) for s in (0.05, 0.3))
    assert 1 > ssim(near, image) > ssim(far, image) > 0
    assert ssim(255 * near, 255 * image, peak=255) == pytest.approx(ssim(near, image))


def test_ssim_is_the_mean_over_channels():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 16, 16))
    channels = [ssim(a[c : c + 1], b[c : c + 1]) for c in range(3)]
    assert ssim(a, b) == pytest.approx(np.mean(channels))


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    ("prediction", "target", "sentence"),
    [
        (flat(0, (3, 8, 8)), flat(0, (1, 8, 8)), r"shape \(1, 8, 8\), got \(3, 8, 8\)"),
        (flat(0, (8, 8)), flat(0, (8, 8)), r"\(C, H, W\), got \(8, 8\)"),
        (flat(0, (2, 3, 8, 8)), flat(0, (2, 3, 8, 8)), r"got \(2, 3, 8, 8\)"),
        (flat(0, (3, 0, 8)), flat(0, (3, 0, 8)), "non-empty"),
        (flat(math.nan), flat(0), "prediction has 192 NaN or infinite"),
        (flat(0), flat(math.inf), "target has 192 NaN or infinite"),
    ],
)
def test_images_that_cannot_be_compared(metric, prediction, target, sentence):
    with pytest.raises(ValueError, match=sentence):
        metric(prediction, target)


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize("peak", [0, -1, math.inf, math.nan])
def test_a_peak_is_positive(metric, peak):
    with pytest.raises(ValueError, match="peak must be a positive number"):
        metric(flat(0.1), flat(0.2), peak=peak)


def test_ssim_needs_an_image_as_large_as_its_window():
    ssim(flat(0.1, (1, 7, 7)), flat(0.1, (1, 7, 7)))
    with pytest.raises(ValueError, match="only 6 x 9"):
        ssim(flat(0.1, (1, 6, 9)), flat(0.1, (1, 6, 9)))


@pytest.mark.parametrize("metric", [mean_psnr, psnr_of_mean_error])
def test_batches_must_match(metric):
    with pytest.raises(ValueError, match="2 predictions and 1 targets"):
        metric(np.zeros((2, 1, 4, 4)), np.zeros((1, 1, 4, 4)))
    with pytest.raises(ValueError, match="no images"):
        metric([], [])
    with pytest.raises(ValueError, match=r"\(C, H, W\)"):  # one image where a batch belongs
        metric(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))


def test_the_reports_noisy_validation_input(shared):
    """The value measured for the noisy images themselves on the course's validation set."""
    noisy, clean = torch.load(shared / "data/ee559/val_data.pkl", weights_only=True)
    assert mean_psnr(noisy, clean, peak=255) == pytest.approx(21.49, abs=0.006)

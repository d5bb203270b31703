"""Structural similarity against scikit-image, central differences and autograd."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from chainrule import SSIM, gradcheck


def twin(x: Tensor, y: Tensor, window: int, sigma: float, data_range: float) -> Tensor:
    """1 - SSIM of each image, written with one two-dimensional window, for autograd."""
    place = torch.arange(window, dtype=x.dtype) - window // 2
    line = (-0.5 * (place / sigma) ** 2).exp()
    weight = torch.outer(line, line) / line.sum() ** 2

    def filtered(images: Tensor) -> Tensor:
        windows = images.unfold(2, window, 1).unfold(3, window, 1)
        return (windows * weight).sum((-1, -2))

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = filtered(x), filtered(y)
    vx, vy = filtered(x * x) - mx * mx, filtered(y * y) - my * my
    cov = filtered(x * y) - mx * my
    map_ = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return 1 - map_.mean((1, 2, 3))


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_equals_scikit_image(data_range):
    x, y = data_range * torch.rand(2, 3, 20, 17).double()
    y = 0.5 * (x + y)
    expected = structural_similarity(
        x.numpy(),
        y.numpy(),
        channel_axis=0,
        gaussian_weights=True,
        use_sample_covariance=False,
        data_range=data_range,
    )
    assert float(1 - SSIM(data_range=data_range)(x[None], y[None])) == pytest.approx(expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "gaps", "expanded"])
def test_equals_autograd(assert_near, arranged, reduction, dtype, layout):
    x, y = (arranged(torch.rand(3, 2, 9, 8, dtype=dtype), layout) for _ in range(2))
    x = 0.7 * y + 0.3 * x
    source = x.clone().requires_grad_()
    each = twin(source, y, 5, 1.2, 1.0)
    expected = each if reduction == "none" else getattr(each, reduction)()
    loss = SSIM(reduction, window=5, sigma=1.2)
    assert_near(loss.forward(x, y), expected)
    gy = 0.1 + torch.rand_like(expected)
    expected.backward(gy)
    assert_near(loss.backward(gy), source.grad)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_passes_gradcheck(reduction):
    gradcheck(SSIM(reduction, window=3), torch.rand(2, 2, 5, 4), torch.rand(2, 2, 5, 4))


def test_equal_images_are_the_least_and_have_no_gradient():
    x = torch.rand(2, 3, 16, 16)
    loss = SSIM()
    assert abs(float(loss.forward(x, x))) < 1e-6
    assert loss.backward().abs().max() < 1e-5
    assert loss(x, 1 - x) > 1  # below zero similarity: the contrast is turned round


def test_steps_along_the_gradient_find_the_target():
    target = torch.from_numpy(np.random.default_rng(1).random((1, 1, 16, 16))).float()
    x = torch.full_like(target, 0.5) + 0.1 * torch.randn(target.shape)
    loss = SSIM()
    first = loss(x, target)
    for _ in range(200):
        loss.forward(x, target)
        x = x - 5 * loss.backward()
    assert loss(x, target) < 0.1 * first


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SSIM(window=4), "SSIM: window must be a positive odd int, got 4"),
        (lambda: SSIM(sigma=0), "SSIM: sigma must be above 0, got 0"),
        (lambda: SSIM(data_range=-1), "SSIM: data_range must be above 0, got -1"),
        (
            lambda: SSIM()(torch.zeros(1, 1, 10, 12), torch.zeros(1, 1, 10, 12)),
            r"SSIM: the window of 11 pixels doesn't fit into images of \(10, 12\)",
        ),
        (
            lambda: SSIM()(torch.zeros(3, 16, 16), torch.zeros(3, 16, 16)),
            r"SSIM: expected the prediction to be \(N, C, H, W\), got \(3, 16, 16\)",
        ),
        (
            lambda: SSIM()(torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)),
            r"SSIM: prediction \(1, 3, 16, 16\) and target \(1, 1, 16, 16\) must have the same",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert repr(SSIM()) == "SSIM(reduction='mean', data_range=1, window=11, sigma=1.5)"

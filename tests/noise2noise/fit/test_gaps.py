"""Pixels that aren't known: what stands there changes nothing, and the others teach as ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule import L1, MSE, SGD, Conv2d, LogMSE, fuse
from noise2noise import train
from noise2noise.data import TensorPairs, save_pair_file
from noise2noise.errors import UserError
from noise2noise.fit.gaps import WhereKnown, psnr_where_known
from noise2noise.fit.training_step import Steps, step


@pytest.mark.parametrize("loss", [MSE(), L1(), LogMSE()], ids=str)
def test_the_gradient_is_that_of_the_known_pixels(loss):
    random = torch.Generator().manual_seed(0)
    prediction, target = (torch.rand(3, 1, 9, 9, generator=random) for _ in range(2))
    gap = torch.rand(3, 1, 9, 9, generator=random) < 0.3
    masked = WhereKnown(loss)
    value = masked.forward(prediction, torch.where(gap, torch.nan, target))
    gradient = masked.backward()
    known = torch.where(gap, prediction, target)
    assert torch.equal(value, loss.forward(prediction, known))
    assert torch.equal(gradient, loss.backward())
    assert not gradient[gap].any()
    assert gradient[~gap].all()


def test_steps_are_captured_all_the_same():
    random = torch.Generator().manual_seed(0)
    x, y = torch.rand(2, 6, 2, 1, 8, 8, generator=random)
    y[torch.rand(y.shape, generator=random) < 0.2] = torch.nan
    found = []
    for captured in (True, False):
        torch.manual_seed(1)
        layer = fuse(Conv2d(1, 1, 3, padding=1))
        loss, optimizer = WhereKnown(MSE()), SGD(layer.parameters(), lr=0.1)
        steps = Steps(layer, loss, optimizer)
        found.append(
            [
                steps(*pair) if captured else step(layer, loss, optimizer, *pair)
                for pair in zip(x, y, strict=True)
            ]
        )
        assert captured == (steps._captured is not None)
    assert found[0] == found[1]
    assert np.isfinite(found[0]).all()


def test_the_psnr_is_that_of_the_known_pixels():
    reference = np.full((1, 4, 4), 0.5, np.float32)
    prediction = reference + np.float32(0.1)
    prediction[0, :2] += 7
    reference[0, :2] = np.nan
    assert psnr_where_known(prediction, reference) == pytest.approx(20, abs=1e-3)


def noisy_pairs(value: float) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    picture = 60 + 100 * torch.rand(12, 1, 4, 4, generator=random).repeat_interleave(8, 2)
    picture = picture.repeat_interleave(8, 3)
    first, second = (picture + 20 * torch.randn(picture.shape, generator=random) for _ in range(2))
    first[:, :, 3:20, 5:9] = second[:, :, 30:] = value
    return first, second


def trained(folder: Path, value: float) -> dict[str, torch.Tensor]:
    folder.mkdir()
    save_pair_file(folder / "pairs.pth", noisy_pairs(value))
    model = train(
        folder / "run",
        pairs_file=folder / "pairs.pth",
        architecture="compact",
        sizes={"width": 4, "depth": 1},
        epochs=2,
        batch_size=4,
    )
    return dict(model.model.state_dict())


def test_what_stands_where_nothing_is_known_is_not_learned(tmp_path):
    ours = trained(tmp_path / "nan", np.nan)
    theirs = trained(tmp_path / "inf", -np.inf)
    assert all(bool(weight.isfinite().all()) for weight in ours.values())
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())


def test_the_noise_of_pairs_with_gaps_is_that_of_the_rest():
    sigma = TensorPairs(*noisy_pairs(np.nan)).noise.pixel * 255
    assert sigma == pytest.approx(20, rel=0.1)


def test_pairs_without_a_number_are_refused():
    nothing = torch.full((2, 1, 8, 8), torch.nan)
    with pytest.raises(UserError, match="not finite"):
        TensorPairs(nothing, nothing)

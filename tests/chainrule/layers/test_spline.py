"""Piecewise linear functions that are learned, and inverses of those that grow."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    Inverse,
    MonotoneSpline,
    PiecewiseLinear,
    PositiveSpline,
    Sequential,
    gradcheck,
)

KINDS = [PiecewiseLinear, MonotoneSpline, PositiveSpline]


def learned(kind: type[PiecewiseLinear], knots: int, low: float = -0.5, high: float = 2.0) -> Any:
    torch.manual_seed(knots)
    spline = kind(knots, low, high)
    spline.weight.add_(0.5 * torch.randn(spline.weight.shape))
    return spline


@given(st.integers(2, 9), st.integers(0, 2**32))
@settings(max_examples=40)
def test_it_is_numpy_s_interpolation_between_the_ends(knots, seed):
    spline = learned(PiecewiseLinear, knots)
    x = np.random.default_rng(seed).uniform(-0.5, 2, 20).astype(np.float32)
    expected = np.interp(x, np.linspace(-0.5, 2, knots), spline.weight.numpy())
    np.testing.assert_allclose(spline(torch.from_numpy(x)).numpy(), expected, atol=1e-5)


def test_beyond_the_ends_the_outer_pieces_go_on():
    spline = PiecewiseLinear(3)
    spline.weight.copy_(torch.tensor([0.0, 1.0, 5.0]))
    assert spline(torch.tensor([-0.5, 1.5])).tolist() == [-1.0, 9.0]


@pytest.mark.parametrize("kind", [PiecewiseLinear, MonotoneSpline])
def test_at_first_nothing_is_changed(kind):
    x = torch.linspace(-1, 3, 50)
    torch.testing.assert_close(kind(7, -0.5, 2.0)(x), x)


def test_a_positive_spline_begins_with_ones_and_stays_what_it_is_at_its_ends():
    spline = PositiveSpline(4)
    assert spline(torch.linspace(-1, 2, 9)).tolist() == [1.0] * 9
    spline = learned(PositiveSpline, 4)
    low, high = spline(torch.tensor([-0.5, 2.0])).tolist()
    assert spline(torch.tensor([-9.0, 9.0])).tolist() == [low, high]
    assert min(spline(torch.linspace(-3, 4, 99)).tolist()) > 0


def test_a_monotone_spline_grows_whatever_it_learned():
    spline = learned(MonotoneSpline, 16)
    spline.weight.mul_(5)
    assert spline(torch.linspace(-1, 3, 200)).diff().min() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("knots", [2, 5])
def test_splines_pass_gradcheck(kind, knots):
    # Away from the knots, where the slope jumps: they lie 2.5 / (knots - 1) apart.
    x = -1.01 + 0.137 * torch.arange(24.0).reshape(2, 3, 4)
    gradcheck(learned(kind, knots), x)


@pytest.mark.parametrize("knots", [2, 3, 8])
def test_the_inverse_takes_back_and_passes_gradcheck(knots):
    spline = learned(MonotoneSpline, knots)
    x = -1.01 + 0.137 * torch.arange(24.0).reshape(2, 3, 4)
    torch.testing.assert_close(Inverse(spline)(spline(x)), x)
    gradcheck(Inverse(spline), spline(x))
    scaled = Sequential(spline, learned(PiecewiseLinear, 6), Inverse(spline))
    gradcheck(scaled, x)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_pytorch_s(kind):
    spline = learned(kind, 6)
    x = torch.randn(3, 40)
    twin_x, twin_w = x.clone().requires_grad_(), spline.weight.clone().requires_grad_()
    if kind is MonotoneSpline:
        values = torch.cat([spline.bias, spline.bias + 0.5 * twin_w.exp().cumsum(0)])
    else:
        values = twin_w.exp() if kind is PositiveSpline else twin_w
    place = twin_x.clamp(-0.5, 2.0) if kind is PositiveSpline else twin_x
    place = (place + 0.5) / 0.5
    first = place.detach().floor().clamp(0, 4).long()
    expected = values[first] + (values[first + 1] - values[first]) * (place - first)
    torch.testing.assert_close(spline(x), expected)
    gy = torch.randn_like(x)
    expected.backward(gy)
    torch.testing.assert_close(spline.backward(gy), twin_x.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(spline.weight.grad, twin_w.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PiecewiseLinear(1), "at least 2 knots are needed, got 1"),
        (lambda: MonotoneSpline(4, 1.0, 1.0), "MonotoneSpline: low must be below high"),
    ],
)
def test_what_can_t_be_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_repr_gives_the_knots():
    assert repr(PositiveSpline(5)) == "PositiveSpline(5)"


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"PiecewiseLinear: .* float dtype, got torch.int64"):
        PiecewiseLinear(3)(torch.arange(4))
    with pytest.raises(TypeError, match=r"Inverse: .* float dtype, got torch.int64"):
        Inverse(MonotoneSpline(3))(torch.arange(4))

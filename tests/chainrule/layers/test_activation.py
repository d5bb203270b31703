"""Activations against central differences and against PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import Identity, LeakyReLU, ReLU, Sigmoid, Tanh, gradcheck

TWINS = [
    (Identity, torch.nn.Identity),
    (ReLU, torch.nn.ReLU),
    (LeakyReLU, torch.nn.LeakyReLU),
    (lambda: LeakyReLU(0.2), lambda: torch.nn.LeakyReLU(0.2)),
    (lambda: LeakyReLU(0), lambda: torch.nn.LeakyReLU(0)),
    (lambda: LeakyReLU(1.5), lambda: torch.nn.LeakyReLU(1.5)),
    (Sigmoid, torch.nn.Sigmoid),
    (Tanh, torch.nn.Tanh),
]


@settings(max_examples=120)
@given(
    st.sampled_from(TWINS),
    st.tuples(*[st.integers(1, 4)] * 4),
    st.sampled_from([torch.float64, torch.float32]),
    st.sampled_from(["contiguous", "channels_last", "transposed", "gaps"]),
    st.sampled_from(["contiguous", "channels_last", "gaps", "expanded"]),
    st.integers(0, 2**32),
)
def test_equals_its_twin(assert_twin, arranged, twins, shape, dtype, layout, gy_layout, seed):
    ours, theirs = twins
    torch.manual_seed(seed)
    x = arranged(3 * torch.randn(shape, dtype=dtype), layout)
    assert_twin(ours(), theirs(), x, gy_layout)


@pytest.mark.parametrize(("ours", "theirs"), TWINS)
def test_equals_its_twin_at_zero_and_far_from_it(assert_twin, ours, theirs):
    assert_twin(ours(), theirs(), torch.tensor([-1e4, -100.0, -0.0, 0.0, 1e-30, 100.0, 1e4]))


@pytest.mark.parametrize(("ours", "_theirs"), TWINS)
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 3, 2)])
def test_passes_gradcheck_in_any_shape(smooth_input, ours, _theirs, shape):
    gradcheck(ours(), smooth_input(*shape))


def test_a_slope_below_zero_is_refused():
    with pytest.raises(ValueError, match=r"negative_slope must be at least 0, got -0\.1"):
        LeakyReLU(-0.1)


def test_repr_gives_the_slope():
    assert repr(LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(ReLU()) == "ReLU()"

"""Activations against central differences and against PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    ELU,
    GELU,
    Dropout,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    gradcheck,
)

TWINS = [
    (Identity, torch.nn.Identity),
    (ReLU, torch.nn.ReLU),
    (LeakyReLU, torch.nn.LeakyReLU),
    (lambda: LeakyReLU(0.2), lambda: torch.nn.LeakyReLU(0.2)),
    (lambda: LeakyReLU(0), lambda: torch.nn.LeakyReLU(0)),
    (lambda: LeakyReLU(1.5), lambda: torch.nn.LeakyReLU(1.5)),
    (Sigmoid, torch.nn.Sigmoid),
    (Tanh, torch.nn.Tanh),
    (GELU, torch.nn.GELU),
    (lambda: GELU("tanh"), lambda: torch.nn.GELU("tanh")),
    (SiLU, torch.nn.SiLU),
    (ELU, torch.nn.ELU),
    (lambda: ELU(0.3), lambda: torch.nn.ELU(0.3)),
    (Softplus, torch.nn.Softplus),
    (lambda: Softplus(2.5, 4), lambda: torch.nn.Softplus(2.5, 4)),
]


@settings(max_examples=200)
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


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_softmax_equals_its_twin_and_passes_gradcheck(assert_twin, dim, dtype):
    x = torch.randn(3, 4, 5, dtype=dtype)
    assert_twin(Softmax(dim), torch.nn.Softmax(dim), x)
    assert_twin(Softmax(dim), torch.nn.Softmax(dim), 30 * x + 1e3)
    gradcheck(Softmax(dim), x)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.7, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_draws_as_its_twin(assert_near, p, training):
    ours, theirs = Dropout(p).train(training), torch.nn.Dropout(p).train(training)
    source = torch.randn(50, 40, requires_grad=True)
    torch.manual_seed(3)
    expected = theirs(source)
    gy = torch.randn_like(source)
    expected.backward(gy)
    torch.manual_seed(3)
    assert_near(ours.forward(source), expected)
    assert_near(ours.backward(gy), source.grad)


def test_dropout_passes_gradcheck():
    class Repeated(Dropout):
        """The same draw in every pass."""

        def run(self, x, tape):
            torch.manual_seed(0)
            return super().run(x, tape)

    gradcheck(Repeated(0.4), torch.randn(3, 5))
    gradcheck(Dropout(0.4).eval(), torch.randn(3, 5))


def test_dropout_keeps_the_mean_and_drops_the_share():
    y = Dropout(0.3).forward(torch.ones(20_000))
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(y.mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GELU("erf"), 'GELU: approximate must be "none" or "tanh", got \'erf\''),
        (lambda: Softplus(0), "Softplus: beta must be above 0, got 0"),
        (lambda: Dropout(1.5), r"Dropout: p must lie in \[0, 1\], got 1\.5"),
        (
            lambda: Softmax(2)(torch.zeros(2, 3)),
            r"Softmax: there is no dimension 2 in an input of \(2, 3\)",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_repr_gives_the_slope():
    assert repr(LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(ReLU()) == "ReLU()"
    assert repr(GELU("tanh")) == "GELU(approximate='tanh')"
    assert repr(Softplus()) == "Softplus(beta=1.0, threshold=20.0)"
    assert repr(ELU(0.5)) == "ELU(alpha=0.5)"
    assert repr(Softmax(-1)) == "Softmax(dim=-1)"
    assert repr(Dropout(0.1)) == "Dropout(p=0.1)"

"""LSTM and GRU against central differences and against PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from chainrule import GRU, LSTM, Linear, Sequential, gradcheck, summary

TWINS = [(LSTM, nn.LSTM), (GRU, nn.GRU)]
DTYPES = [torch.float64, torch.float32]


def random_states(layer: Any, n: int, dtype: torch.dtype) -> list[Tensor]:
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    return [torch.randn(layers, n, layer.hidden_size, dtype=dtype) for _ in layer.states]


def flat(y: Any) -> list[Tensor]:
    """y, h and c, however they are nested."""
    if isinstance(y, Tensor):
        return [y]
    return [each for part in y for each in flat(part)]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TWINS),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)),
    st.tuples(st.integers(1, 5), st.integers(1, 3)),
    st.tuples(*[st.booleans()] * 4),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
)
def test_equals_its_twin(assert_near, kinds, sizes, shape, choices, dtype, seed):
    torch.manual_seed(seed)
    bias, batch_first, bidirectional, with_states = choices
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional}
    ours, theirs = (kind(*sizes, **options).to(dtype) for kind in kinds)
    theirs.load_state_dict(ours.state_dict())
    steps, n = shape
    x = torch.randn(*((n, steps) if batch_first else (steps, n)), sizes[0], dtype=dtype)
    inputs = [x, *(random_states(ours, n, dtype) if with_states else [])]
    twins = [each.clone().requires_grad_() for each in inputs]
    if with_states:
        state = tuple(twins[1:]) if len(twins) > 2 else twins[1]
        expected = flat(theirs(twins[0], state))
    else:
        expected = [theirs(twins[0])[0]]
    found = ours.forward(*inputs)
    for got, wanted in zip(flat(found), expected, strict=True):
        assert_near(got, wanted, "output")
    gradients = [0.1 + torch.rand_like(each) for each in expected]
    torch.autograd.backward(expected, gradients)
    gx = ours.backward(tuple(gradients) if with_states else gradients[0])
    for got, twin in zip(flat(gx), twins, strict=True):
        assert_near(got, twin.grad, "gradient of an input")
    learned = dict(theirs.named_parameters())
    for name, value in ours.named_parameters():
        assert_near(value.grad, learned.pop(name).grad, name)
    assert not learned


@pytest.mark.parametrize("kind", [LSTM, GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_passes_gradcheck(kind, bidirectional):
    gradcheck(kind(2, 3, 2, bidirectional=bidirectional), torch.randn(3, 2, 2))
    layer = kind(2, 2, 1, batch_first=True, bidirectional=bidirectional)
    gradcheck(layer, torch.randn(2, 3, 2), *random_states(layer, 2, torch.float64))


@pytest.mark.parametrize(("ours", "theirs"), TWINS)
@pytest.mark.parametrize("bias", [True, False])
def test_starts_as_its_twin(assert_starts_alike, ours, theirs, bias):
    assert_starts_alike(
        lambda: ours(3, 4, 2, bias, bidirectional=True),
        lambda: theirs(3, 4, 2, bias, bidirectional=True),
    )


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_a_sequence_may_be_read_in_pieces(assert_near, kind):
    layer, x = kind(3, 4, 2), torch.randn(7, 2, 3)
    zeros = [0 * each for each in random_states(layer, 2, torch.float32)]
    whole, *last = layer.infer(x, *zeros)
    assert_near(layer.infer(x), whole)
    first, *state = layer.infer(x[:3], *zeros)
    second, *state = layer.infer(x[3:], *state)
    assert_near(torch.cat((first, second)), whole)
    for got, expected in zip(state, last, strict=True):
        assert_near(got, expected)


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_dropout_is_between_layers_and_in_training_only(kind):
    torch.manual_seed(2)
    layer, x = kind(3, 4, 2, dropout=0.5), torch.randn(5, 2, 3)
    first = layer.forward(x)
    assert not torch.equal(first, layer.forward(x))
    assert torch.equal(layer.eval().forward(x), layer.forward(x))
    alone = kind(3, 4, 1, dropout=0.5)
    assert torch.equal(alone.forward(x), alone.forward(x))


@pytest.mark.parametrize("kind", [LSTM, GRU])
def test_dropout_s_gradient_is_that_of_what_was_dropped(assert_near, kind):
    layer = kind(3, 4, 2, dropout=0.4).to(torch.float64)
    x, direction = torch.randn(5, 2, 3).double(), torch.randn(5, 2, 3).double()

    def forward(shift: float) -> Tensor:
        torch.manual_seed(1)  # the same draw each time
        return layer.forward(x + shift * direction)

    slope = (forward(1e-6) - forward(-1e-6)) / 2e-6
    gy = torch.randn_like(slope)
    forward(0)
    gx = layer.backward(gy)
    torch.testing.assert_close((gx * direction).sum(), (slope * gy).sum(), rtol=1e-6, atol=1e-8)


def test_a_recurrent_net_is_a_chain_and_learns_without_its_input_s_gradient():
    model = Sequential(GRU(2, 5, batch_first=True), Linear(5, 1))
    y = model.forward(torch.randn(3, 4, 2))
    model.backward(torch.ones_like(y), input_gradient=False)
    assert all(gradient.abs().sum() > 0 for _, gradient in model.param())
    gradcheck(model, torch.randn(2, 3, 2))
    stateful = LSTM(2, 3)
    y = stateful.forward(torch.randn(4, 2, 2), *random_states(stateful, 2, torch.float32))
    stateful.backward(tuple(map(torch.ones_like, y)), input_gradient=False)
    assert all(gradient.abs().sum() > 0 for _, gradient in stateful.param())


def test_a_summary_counts_all_products():
    for kind, gates in ((LSTM, 4), (GRU, 3)):
        (row,) = summary(kind(5, 7, 2, bidirectional=True), (3, 2, 5)).rows
        first, second = 5 + 7, 14 + 7
        assert row.parameters == 2 * gates * 7 * (first + second + 4)
        assert row.multiply_adds == 3 * 2 * 2 * gates * 7 * (first + second)


X = torch.zeros(4, 2, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTM(3, 0), "LSTM: hidden_size must be a positive int, got 0"),
        (lambda: GRU(3, 4, dropout=-1), r"GRU: p must lie in \[0, 1\], got -1"),
        (lambda: GRU(3, 4)(torch.zeros(4, 2, 5)), r"GRU: expected \(L, N, 3\), got \(4, 2, 5\)"),
        (
            lambda: LSTM(3, 4, batch_first=True)(torch.zeros(4, 3)),
            r"LSTM: expected \(N, L, 3\), got \(4, 3\); add the batch dimension",
        ),
        (
            lambda: LSTM(3, 4)(X, torch.zeros(1, 2, 4)),
            "LSTM: expected x, or x with h and c, got 2 inputs",
        ),
        (
            lambda: GRU(3, 4, 2)(X, torch.zeros(1, 2, 4)),
            r"GRU: expected h to be \(2, 2, 4\), got \(1, 2, 4\)",
        ),
        (
            lambda: GRU(3, 4)(X, torch.zeros(1, 2, 4).double()),
            r"GRU: the input is torch\.float32 and the h torch\.float64",
        ),
        (lambda: GRU(3, 4)(X.long()), "GRU: expected the input to be of a float dtype"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert repr(GRU(3, 4)) == "GRU(3, 4)"
    assert repr(LSTM(3, 4, 2, False, True, 0.1, True)) == (
        "LSTM(3, 4, num_layers=2, bias=False, batch_first=True, dropout=0.1, bidirectional=True)"
    )

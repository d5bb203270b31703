"""Linear layers and embeddings against central differences and against PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    Embedding,
    Linear,
    Module,
    Sequential,
    Tape,
    gradcheck,
    ops,
    parameter,
    summary,
)


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 4), max_size=3),
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([torch.float64, torch.float32]),
    st.integers(0, 2**32),
)
def test_linear_equals_its_twin(assert_twin, before, inputs, outputs, bias, dtype, seed):
    torch.manual_seed(seed)
    x = torch.randn(*before, inputs, dtype=dtype)
    assert_twin(Linear(inputs, outputs, bias), torch.nn.Linear(inputs, outputs, bias), x)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 3)])
def test_linear_passes_gradcheck(bias, shape):
    gradcheck(Linear(3, 4, bias), torch.randn(shape))


def test_they_start_as_their_twins(assert_starts_alike):
    assert_starts_alike(lambda: Linear(7, 5), lambda: torch.nn.Linear(7, 5))
    assert_starts_alike(lambda: Linear(7, 5, False), lambda: torch.nn.Linear(7, 5, False))
    assert_starts_alike(lambda: Embedding(7, 5), lambda: torch.nn.Embedding(7, 5))
    assert_starts_alike(lambda: Embedding(7, 5, -2), lambda: torch.nn.Embedding(7, 5, -2))


def test_summary_counts_the_products():
    (row,) = summary(Linear(6, 5), (3, 4, 6)).rows
    assert (row.parameters, row.multiply_adds) == (35, 3 * 4 * 6 * 5)


@pytest.mark.parametrize("padding_idx", [None, 0, -1])
@pytest.mark.parametrize("shape", [(), (6,), (2, 3, 2)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_embedding_equals_its_twin(assert_near, padding_idx, shape, dtype):
    ours, theirs = Embedding(4, 3, padding_idx), torch.nn.Embedding(4, 3, padding_idx)
    theirs.load_state_dict(ours.state_dict())
    index = torch.randint(4, shape, dtype=dtype)
    expected = theirs(index)
    assert_near(ours.forward(index), expected)
    gy = torch.randn_like(expected)
    expected.backward(gy)
    assert ours.backward(gy) is None
    assert_near(ours.weight.grad, theirs.weight.grad)


def test_embedding_passes_gradcheck_alone_and_below_a_linear_layer():
    index = torch.tensor([[2, 0, 2], [1, 2, 1]])
    gradcheck(Embedding(3, 4), index)
    gradcheck(Sequential(Embedding(3, 4), Linear(4, 2)), index)


class Shift(Module):
    """y = x + a learned tensor of x's last dimensions."""

    def __init__(self, *shape: int) -> None:
        self.by = parameter(torch.randn(shape))

    def run(self, x: torch.Tensor, tape: Tape) -> torch.Tensor:
        tape.push(self)
        return ops.shift(x, self.by)

    def back(self, gy: torch.Tensor, tape: Tape) -> torch.Tensor:
        tape.take(self)
        tape.add(self.by, ops.shift_grad(gy, self.by.dim()))
        return gy


@pytest.mark.parametrize("shape", [(), (4,), (3, 4), (2, 3, 4)])
def test_what_is_added_to_all_passes_gradcheck(shape):
    gradcheck(Shift(*shape), torch.randn(2, 3, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ops.shift(torch.zeros(2, 3), torch.zeros(2)),
            r"shift: the input of \(2, 3\) doesn't end in \(2,\), which is added",
        ),
        (lambda: ops.shift(torch.zeros(3), torch.zeros(1, 3)), r"doesn't end in \(1, 3\)"),
        (
            lambda: ops.shift(torch.zeros(2, 3), torch.zeros(3).double()),
            r"the input is torch\.float32 and the summand torch\.float64",
        ),
        (lambda: Linear(0, 2), "Linear: in_features must be a positive int, got 0"),
        (lambda: Embedding(3, -2), "Embedding: embedding_dim must be a positive int, got -2"),
        (lambda: Embedding(3, 2, 3), "padding_idx must lie in -3 to 2, got 3"),
        (
            lambda: Linear(3, 2)(torch.zeros(4, 5)),
            r"Linear: expected 3 values in the last dimension, got an input of \(4, 5\)",
        ),
        (
            lambda: Embedding(3, 2)(torch.tensor([0, 3])),
            "Embedding: the index must lie in 0 to 2, got 3",
        ),
        (lambda: Embedding(3, 2)(torch.tensor(-1)), "the index must lie in 0 to 2, got -1"),
        (
            lambda: Embedding(3, 2)(torch.zeros(2)),
            r"expected the index to be of int64 or int32, got torch\.float32",
        ),
        (
            lambda: Linear(3, 2)(torch.zeros(4, 3).double()),
            r"the input is torch\.float64 and the weight torch\.float32",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert repr(Linear(3, 4)) == "Linear(3, 4)"
    assert repr(Linear(3, 4, bias=False)) == "Linear(3, 4, bias=False)"
    assert repr(Embedding(5, 2, -1)) == "Embedding(5, 2, padding_idx=4)"

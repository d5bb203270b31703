"""Losses of classifiers against central differences and against PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from chainrule import BCEWithLogits, BCEWithLogitsLoss, CrossEntropy, CrossEntropyLoss, gradcheck

REDUCTIONS = ["mean", "sum", "none"]


def equal(assert_near, ours, theirs, prediction: Tensor, target: Tensor) -> None:
    """Output and the prediction's gradient, for a random gradient of the output."""
    source = prediction.clone().requires_grad_()
    expected = theirs(source, target)
    gy = torch.randn_like(expected)
    expected.backward(gy)
    assert_near(ours.forward(prediction, target), expected, "output")
    # A gradient is what is believed less what is true: near zero, rounding is all that is left.
    precision = torch.finfo(gy.dtype).eps
    atol, rtol = 16 * precision * float(gy.abs().max()), 100 * precision
    torch.testing.assert_close(ours.backward(gy), source.grad, atol=atol, rtol=rtol)


@settings(max_examples=150)
@given(
    st.sampled_from(REDUCTIONS),
    st.lists(st.integers(1, 4), max_size=3),
    st.integers(2, 5),  # of one class the probability is 1, and the gradient rounding
    st.sampled_from([0, 0.2, 1]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.int64, torch.int32, None]),
    st.sampled_from([torch.float64, torch.float32]),
    st.integers(0, 2**32),
)
def test_cross_entropy_equals_its_twin(
    assert_near, reduction, sizes, classes, smoothing, weighted, ignoring, kind, dtype, seed
):
    torch.manual_seed(seed)
    # Near each other: where a probability is almost 1, the gradient is what rounding leaves.
    prediction = 2 * torch.rand(*sizes[:1], classes, *sizes[1:], dtype=dtype)
    weight = 0.1 + torch.rand(classes, dtype=dtype) if weighted else None
    ignored = -100
    if kind is None:
        target = torch.rand_like(prediction).softmax(1 if sizes else 0)
    else:
        target = torch.randint(classes, sizes, dtype=kind)
        if ignoring and target.numel() > 1:
            ignored = int(target.flatten()[0])
            target.view(-1)[1] = (ignored + 1) % classes  # or all would be, and the mean 0 / 0
    options = {"ignore_index": ignored, "reduction": reduction, "label_smoothing": smoothing}
    ours, theirs = CrossEntropy(weight, **options), torch.nn.CrossEntropyLoss(weight, **options)
    twin_target = target.long() if kind is torch.int32 else target
    equal(
        assert_near,
        ours,
        lambda prediction, _: theirs(prediction, twin_target),
        prediction,
        target,
    )


@settings(max_examples=80)
@given(
    st.sampled_from(REDUCTIONS),
    st.lists(st.integers(1, 4), max_size=3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float64, torch.float32]),
    st.integers(0, 2**32),
)
def test_bce_equals_its_twin(assert_near, reduction, shape, weighted, positive, dtype, seed):
    torch.manual_seed(seed)
    prediction, target = torch.randn(shape, dtype=dtype), torch.rand(shape, dtype=dtype)
    options = {
        "weight": torch.rand(shape[1:], dtype=dtype) if weighted else None,
        "reduction": reduction,
        "pos_weight": 3 * torch.rand(shape[-1:], dtype=dtype) if positive else None,
    }
    ours, theirs = BCEWithLogits(**options), torch.nn.BCEWithLogitsLoss(**options)
    equal(assert_near, ours, theirs, prediction, target)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0, 0.3])
@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 4, 2, 3)])
def test_cross_entropy_passes_gradcheck(reduction, smoothing, shape):
    classes = torch.randint(4, shape[:1] + shape[2:] if len(shape) > 1 else ())
    weight = 0.1 + torch.rand(4).double()
    loss = CrossEntropy(weight, 2, reduction, smoothing)
    classes.view(-1)[:1] = 1
    gradcheck(loss, torch.randn(shape), classes)
    probabilities = torch.rand(shape).double().softmax(1 if len(shape) > 1 else 0)
    gradcheck(loss, torch.randn(shape), probabilities)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce_passes_gradcheck(reduction):
    weights = {"weight": torch.rand(2, 1).double(), "pos_weight": torch.rand(3).double()}
    gradcheck(BCEWithLogits(reduction=reduction, **weights), torch.randn(2, 3), torch.rand(2, 3))


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_logits_of_any_size_give_finite_gradients(size):
    logits = torch.tensor([[size, -size, 0.0]])
    for loss, target in (
        (CrossEntropy(), torch.tensor([1])),
        (CrossEntropy(label_smoothing=0.1), torch.tensor([1])),
        (BCEWithLogits(), torch.tensor([[0.0, 1.0, 1.0]])),
    ):
        assert loss.forward(logits, target).isfinite()
        assert loss.backward().isfinite().all()


def test_ignored_targets_change_nothing_else():
    prediction, target = torch.randn(4, 3), torch.tensor([0, -100, 2, -100])
    loss = CrossEntropy()
    value = loss.forward(prediction, target)
    gradient = loss.backward()
    assert value == CrossEntropy()(prediction[::2], target[::2])
    assert gradient[1::2].abs().sum() == 0
    prediction[1] = -torch.inf
    prediction[1, 1] = 0  # its logarithms are infinite, and nobody asks for them
    assert loss.forward(prediction, target) == value


def test_weights_are_buffers_named_as_pytorch_s():
    weight = torch.rand(3)
    pairs = [
        (CrossEntropy(weight), torch.nn.CrossEntropyLoss(weight)),
        (CrossEntropy(), torch.nn.CrossEntropyLoss()),
        (
            BCEWithLogits(weight, "mean", 2 * weight),
            torch.nn.BCEWithLogitsLoss(weight, pos_weight=2 * weight),
        ),
    ]
    for ours, theirs in pairs:
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert ours.parameters() == []
    assert CrossEntropy(weight).to(torch.float64).state_dict()["weight"].dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(label_smoothing=1.5), r"label_smoothing must lie in \[0, 1\], got 1"),
        (
            lambda: CrossEntropy()(torch.zeros(2, 3), torch.tensor([0, 3])),
            "CrossEntropy: the target must lie in 0 to 2, got 3",
        ),
        (
            lambda: CrossEntropy(ignore_index=-1)(torch.zeros(2, 3), torch.tensor([-1, -2])),
            "CrossEntropy: the target must lie in 0 to 2, got -2",
        ),
        (
            lambda: CrossEntropy()(torch.zeros(2, 3), torch.tensor([0, 1, 2])),
            r"expected a target of classes to be \(2,\), or of probabilities \(2, 3\), got \(3,\)",
        ),
        (
            lambda: CrossEntropy()(torch.zeros(2, 3), torch.zeros(2)),
            r"CrossEntropy: prediction \(2, 3\) and target \(2,\) must have the same shape",
        ),
        (
            lambda: CrossEntropy()(torch.zeros(2, 3), torch.zeros(2, dtype=torch.bool)),
            "expected the target to be of int64 or int32, got torch.bool",
        ),
        (
            lambda: CrossEntropy(torch.ones(2))(torch.zeros(2, 3), torch.tensor([0, 1])),
            r"expected a weight of \(3,\) for a prediction of \(2, 3\), got \(2,\)",
        ),
        (
            lambda: CrossEntropy(torch.ones(3).double())(torch.zeros(2, 3), torch.tensor([0, 1])),
            r"the prediction is torch\.float32 and the weight torch\.float64",
        ),
        (
            lambda: CrossEntropy()(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)),
            r"expected a prediction of \(N, C, ...\) or \(C,\), got \(0, 3\)",
        ),
        (
            lambda: BCEWithLogits(pos_weight=torch.ones(2))(torch.zeros(2, 3), torch.zeros(2, 3)),
            r"the pos_weight of \(2,\) can't be spread over a prediction of \(2, 3\)",
        ),
        (
            lambda: BCEWithLogits()(torch.zeros(2, 3), torch.zeros(2, 3).long()),
            "BCEWithLogits: expected the target to be of a float dtype, got torch.int64",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert (CrossEntropyLoss, BCEWithLogitsLoss) == (CrossEntropy, BCEWithLogits)
    assert repr(CrossEntropy()) == "CrossEntropy(reduction='mean')"
    assert repr(CrossEntropy(torch.ones(2), 0, "sum", 0.1)) == (
        "CrossEntropy(reduction='sum', weight=(2,), ignore_index=0, label_smoothing=0.1)"
    )
    assert repr(BCEWithLogits(pos_weight=torch.ones(2))) == (
        "BCEWithLogits(reduction='mean', pos_weight=(2,))"
    )

"""Batch normalization against central differences and against PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import BatchNorm2d, gradcheck

OPTIONS = st.fixed_dictionaries(
    {
        "eps": st.sampled_from([1e-5, 1e-3]),
        "momentum": st.sampled_from([0.1, 0.5, 1.0, None]),
        "affine": st.booleans(),
        "track_running_stats": st.booleans(),
    }
)


def with_weights(layer: BatchNorm2d) -> BatchNorm2d:
    """Weights and statistics that are not the ones and zeros they begin with."""
    for name, value in layer.named_tensors():
        if name in ("weight", "running_var"):
            value.uniform_(0.5, 2)
        elif name in ("bias", "running_mean"):
            value.normal_()
    return layer


@settings(max_examples=150)
@given(
    OPTIONS,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(3, 5), st.integers(3, 5)),
    st.booleans(),
    st.sampled_from([torch.float64, torch.float32]),
    st.sampled_from(["contiguous", "channels_last", "transposed", "gaps"]),
    st.sampled_from(["contiguous", "channels_last", "gaps"]),
    st.integers(0, 2**32),
)
def test_equals_its_twin_pass_after_pass(
    assert_twin, arranged, options, shape, training, dtype, layout, gy_layout, seed
):
    torch.manual_seed(seed)
    ours = with_weights(BatchNorm2d(shape[1], **options)).train(training)
    theirs = torch.nn.BatchNorm2d(shape[1], **options)
    for _ in range(3):  # running averages, of all batches too
        x = arranged(2 + 3 * torch.randn(shape, dtype=dtype), layout)
        assert_twin(ours, theirs, x, gy_layout)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracking", [True, False])
@pytest.mark.parametrize("shape", [(3, 2, 2, 1), (1, 3, 3, 2), (2, 1, 1, 1)])
def test_passes_gradcheck(training, affine, tracking, shape):
    layer = with_weights(BatchNorm2d(shape[1], affine=affine, track_running_stats=tracking))
    gradcheck(layer.train(training), torch.randn(shape))


def test_evaluation_leaves_the_running_statistics_alone():
    layer = with_weights(BatchNorm2d(3)).eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.infer(torch.randn(2, 3, 4, 4))
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize(
    "x", [torch.randn(1, 3, 1, 1), torch.randn(2, 4, 5, 5), torch.randn(2, 3, 5, 5).double()]
)
def test_an_input_that_is_refused_leaves_no_trace_in_the_statistics(x):
    layer = with_weights(BatchNorm2d(3))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises((ValueError, TypeError), match="BatchNorm2d"):
        layer.forward(x)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_statistics_are_no_parameters():
    layer = BatchNorm2d(3)
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert list(layer.state_dict()) == list(torch.nn.BatchNorm2d(3).state_dict())


def test_repr_gives_the_arguments():
    assert repr(BatchNorm2d(8)) == "BatchNorm2d(8, eps=1e-05, momentum=0.1)"
    assert repr(BatchNorm2d(8, 1e-3, None, affine=False, track_running_stats=False)) == (
        "BatchNorm2d(8, eps=0.001, momentum=None, affine=False, track_running_stats=False)"
    )

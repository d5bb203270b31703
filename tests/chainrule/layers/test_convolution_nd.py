"""Convolutions of sequences and volumes against central differences and against PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from chainrule import Conv1d, Conv3d, ConvTranspose1d, gradcheck, ops, record, summary

DTYPES = st.sampled_from([torch.float64, torch.float32])


def options(dims: int, least: int, most: int) -> st.SearchStrategy[Any]:
    one = st.integers(least, most)
    return one if dims == 1 else st.one_of(one, st.tuples(*[one] * dims))


@st.composite
def convolutions(draw: st.DrawFn, dims: int) -> tuple[dict[str, Any], tuple[int, ...]]:
    groups = draw(st.integers(1, 2))
    padding = draw(st.one_of(options(dims, 0, 2), st.sampled_from(["same", "valid"])))
    arguments = {
        "in_channels": groups * draw(st.integers(1, 2)),
        "out_channels": groups * draw(st.integers(1, 2)),
        "kernel_size": draw(options(dims, 1, 3)),
        "stride": 1 if padding == "same" else draw(options(dims, 1, 3)),
        "padding": padding,
        "dilation": draw(options(dims, 1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    size = [draw(st.integers(5, 7)) for _ in range(dims)]
    return arguments, (draw(st.integers(1, 2)), arguments["in_channels"], *size)


@settings(max_examples=100)
@given(convolutions(1), DTYPES, st.sampled_from(["contiguous", "gaps"]), st.integers(0, 2**32))
def test_conv1d_equals_its_twin(assert_twin, arranged, case, dtype, layout, seed):
    torch.manual_seed(seed)
    arguments, shape = case
    x = arranged(torch.randn(shape, dtype=dtype), layout)
    assert_twin(Conv1d(**arguments), nn.Conv1d(**arguments), x, layout)


@settings(max_examples=100, deadline=None)
@given(convolutions(3), DTYPES, st.sampled_from(["contiguous", "gaps"]), st.integers(0, 2**32))
def test_conv3d_equals_its_twin(assert_twin, arranged, case, dtype, layout, seed):
    torch.manual_seed(seed)
    arguments, shape = case
    x = arranged(torch.randn(shape, dtype=dtype), layout)
    assert_twin(Conv3d(**arguments), nn.Conv3d(**arguments), x, layout)


@settings(max_examples=80)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)),
    st.integers(1, 2),
    st.booleans(),
    st.integers(5, 7),
    DTYPES,
    st.data(),
    st.integers(0, 2**32),
)
def test_conv_transpose1d_equals_its_twin(
    assert_twin, window, groups, bias, length, dtype, data, seed
):
    torch.manual_seed(seed)
    kernel, stride, padding, dilation = window
    added = data.draw(st.integers(0, max(stride, dilation) - 1))
    arguments = (2 * groups, 3 * groups, kernel, stride, padding, added, groups, bias, dilation)
    x = torch.randn(2, 2 * groups, length, dtype=dtype)
    assert_twin(ConvTranspose1d(*arguments), nn.ConvTranspose1d(*arguments), x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2), (2, 2, 9)),
        (lambda: ConvTranspose1d(2, 3, 3, 2, 1, 1), (2, 2, 4)),
        (lambda: Conv3d(2, 2, (2, 3, 2), (2, 1, 2), (1, 0, 1), 1, 2), (1, 2, 4, 4, 3)),
        (lambda: Conv3d(1, 2, (3, 1, 1), dilation=(2, 1, 1), padding="same"), (2, 1, 3, 2, 2)),
    ],
)
def test_passes_gradcheck(layer, shape):
    gradcheck(layer(), torch.randn(shape))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Conv1d, nn.Conv1d), (ConvTranspose1d, nn.ConvTranspose1d), (Conv3d, nn.Conv3d)],
)
def test_starts_as_its_twin(assert_starts_alike, ours, theirs):
    assert_starts_alike(lambda: ours(4, 6, 3, groups=2), lambda: theirs(4, 6, 3, groups=2))
    assert_starts_alike(lambda: ours(4, 6, 3, bias=False), lambda: theirs(4, 6, 3, bias=False))


def test_a_margin_wider_than_the_kernel_holds_windows_of_zeros_alone(assert_twin):
    x = torch.randn(2, 1, 2, 5, 5).double()
    for padding in ((3, 0, 0), (5, 1, 1)):
        assert_twin(Conv3d(1, 2, 2, padding=padding), nn.Conv3d(1, 2, 2, padding=padding), x)


@pytest.mark.parametrize(
    ("layer", "shape"), [(Conv1d(2, 3, 3), (1, 2, 5)), (Conv3d(2, 3, 3), (1, 2, 5, 5, 5))]
)
def test_a_gradient_that_was_waived_is_not_computed(monkeypatch, layer, shape):
    monkeypatch.setattr(ops, "block_input_grad", None)  # not to be called
    gy = torch.ones_like(layer.forward(torch.randn(shape)))
    assert layer.backward(gy, input_gradient=False) is None
    assert layer.weight.grad.any()


def test_a_recording_leads_to_the_weights_and_counts_the_sums():
    names = {
        value.name for op in record(Conv1d(2, 3, 3), (1, 2, 9)).ops for value in op.inputs.values()
    }
    assert names == {"", "weight", "bias"}
    (row,) = summary(Conv3d(2, 3, 3, padding=1), (1, 2, 4, 5, 6)).rows
    assert row.multiply_adds == (4 * 5 * 6) * 3 * (2 * 27)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Conv1d(3, 4, 3, groups=2), "Conv1d: groups=2 must divide in_channels=3 and out_c"),
        (lambda: Conv1d(0, 4, 3), "Conv1d: in_channels must be a positive int, got 0"),
        (
            lambda: Conv3d(1, 1, (3, 3)),
            r"Conv3d: kernel_size must be an int or 3 ints from 1, got \(3, 3\)",
        ),
        (lambda: Conv1d(1, 1, 3, stride=0), "Conv1d: stride must be an int from 1, got 0"),
        (
            lambda: Conv3d(1, 1, 3, stride=2, padding="same"),
            r'Conv3d: padding="same" needs stride 1, got stride \(2, 2, 2\)',
        ),
        (
            lambda: Conv1d(1, 1, 3, padding="full"),  # type: ignore[arg-type]
            'Conv1d: padding must be ints, "same" or "valid", got \'full\'',
        ),
        (
            lambda: ConvTranspose1d(1, 1, 3, stride=2, output_padding=2),
            "ConvTranspose1d: output_padding 2 must be smaller than the stride 2 or the dilation 1",
        ),
        (
            lambda: Conv1d(3, 4, 3)(torch.zeros(3, 9)),
            r"Conv1d: expected \(N, 3, L\), got \(3, 9\); add the batch dimension with x\[None\]",
        ),
        (
            lambda: Conv3d(3, 4, 3)(torch.zeros(1, 2, 5, 5, 5)),
            r"Conv3d: expected \(N, 3, D, H, W\), got \(1, 2, 5, 5, 5\)",
        ),
        (
            lambda: Conv3d(3, 4, 3)(torch.zeros(1, 3, 2, 5, 5)),
            r"Conv3d: a kernel of \(3, 3, 3\) doesn't fit into the padded input \(input is",
        ),
        (
            lambda: ConvTranspose1d(1, 1, 1, padding=2)(torch.zeros(1, 1, 4)),
            r"ConvTranspose1d: the padding leaves no output \(input is \(1, 1, 4\)\)",
        ),
        (
            lambda: Conv1d(3, 4, 3)(torch.zeros(1, 3, 5).double()),
            r"Conv1d: the input is torch\.float64 and the weight torch\.float32",
        ),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_repr_gives_the_arguments():
    assert repr(Conv1d(2, 4, 3)) == "Conv1d(2, 4, kernel_size=3)"
    assert repr(Conv1d(2, 4, 3, 2, 1, 2, 2, False)) == (
        "Conv1d(2, 4, kernel_size=3, stride=2, padding=1, dilation=2, groups=2, bias=False)"
    )
    assert repr(ConvTranspose1d(2, 4, 3, 2, output_padding=1)) == (
        "ConvTranspose1d(2, 4, kernel_size=3, stride=2, output_padding=1)"
    )
    assert repr(Conv3d(2, 4, (1, 2, 3), padding="same")) == (
        "Conv3d(2, 4, kernel_size=(1, 2, 3), padding='same')"
    )

"""Conv2d and ConvTranspose2d against central differences and against PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import Conv2d, ConvTranspose2d, TransposeConv2d, Upsampling, gradcheck, ops

DTYPES = st.sampled_from([torch.float64, torch.float32])
LAYOUTS = st.sampled_from(["contiguous", "channels_last", "transposed", "gaps"])
GRADIENT_LAYOUTS = st.sampled_from(["contiguous", "channels_last", "gaps", "expanded"])
SEEDS = st.integers(0, 2**32)


def int_or_pair(least: int, most: int) -> st.SearchStrategy[int | tuple[int, int]]:
    one = st.integers(least, most)
    return st.one_of(one, st.tuples(one, one))


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


@st.composite
def convolutions(draw: st.DrawFn, most: int = 3) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Arguments of a Conv2d and the shape of an input that it takes."""
    groups = draw(st.integers(1, most))
    kernel, dilation = draw(int_or_pair(1, 4)), draw(int_or_pair(1, 3))
    padding = draw(st.one_of(int_or_pair(0, 2), st.sampled_from(["same", "valid"])))
    arguments = {
        "in_channels": groups * draw(st.integers(1, most)),
        "out_channels": groups * draw(st.integers(1, most)),
        "kernel_size": kernel,
        "stride": 1 if padding == "same" else draw(int_or_pair(1, 3)),
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    spans = [d * (k - 1) + 1 for d, k in zip(both(dilation), both(kernel), strict=True)]
    if padding == "same":
        least = [1, 1]
    else:
        pads = (0, 0) if isinstance(padding, str) else both(padding)
        least = [max(1, span - 2 * pad) for span, pad in zip(spans, pads, strict=True)]
    size = [low + draw(st.integers(0, most + 1)) for low in least]
    return arguments, (draw(st.integers(1, most)), arguments["in_channels"], *size)


@st.composite
def transposed_convolutions(
    draw: st.DrawFn, most: int = 3
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Arguments of a ConvTranspose2d and the shape of an input that it takes."""
    groups = draw(st.integers(1, most))
    kernel, dilation = both(draw(int_or_pair(1, 4))), both(draw(int_or_pair(1, 3)))
    stride = both(draw(int_or_pair(1, 3)))
    added = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    size = [draw(st.integers(1, most + 1)) for _ in range(2)]
    # As much is cut off on each side as leaves an output of one row and column at least.
    full = [
        (n - 1) * s + d * (k - 1) + 1 + o
        for n, s, d, k, o in zip(size, stride, dilation, kernel, added, strict=True)
    ]
    arguments = {
        "in_channels": groups * draw(st.integers(1, most)),
        "out_channels": groups * draw(st.integers(1, most)),
        "kernel_size": kernel,
        "stride": stride,
        "padding": tuple(draw(st.integers(0, min(3, (rows - 1) // 2))) for rows in full),
        "output_padding": tuple(added),
        "dilation": dilation,
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    return arguments, (draw(st.integers(1, most)), arguments["in_channels"], *size)


@settings(max_examples=200)
@given(convolutions(), DTYPES, LAYOUTS, GRADIENT_LAYOUTS, SEEDS)
def test_conv2d_equals_its_twin(assert_twin, arranged, case, dtype, layout, gy_layout, seed):
    arguments, shape = case
    torch.manual_seed(seed)
    x = arranged(0.1 + torch.rand(shape, dtype=dtype), layout)
    assert_twin(Conv2d(**arguments), torch.nn.Conv2d(**arguments), x, gy_layout)


@settings(max_examples=200)
@given(transposed_convolutions(), DTYPES, LAYOUTS, GRADIENT_LAYOUTS, SEEDS)
def test_conv_transpose2d_equals_its_twin(
    assert_twin, arranged, case, dtype, layout, gy_layout, seed
):
    arguments, shape = case
    torch.manual_seed(seed)
    x = arranged(0.1 + torch.rand(shape, dtype=dtype), layout)
    assert_twin(ConvTranspose2d(**arguments), torch.nn.ConvTranspose2d(**arguments), x, gy_layout)


@settings(max_examples=15)
@given(convolutions(most=2), SEEDS)
def test_conv2d_passes_gradcheck(case, seed):
    arguments, shape = case
    torch.manual_seed(seed)
    gradcheck(Conv2d(**arguments), torch.randn(shape))


@settings(max_examples=15)
@given(transposed_convolutions(most=2), SEEDS)
def test_conv_transpose2d_passes_gradcheck(case, seed):
    arguments, shape = case
    torch.manual_seed(seed)
    gradcheck(ConvTranspose2d(**arguments), torch.randn(shape))


def test_a_transposed_convolution_restores_every_size_a_strided_one_made(assert_twin):
    for size in range(5, 9):
        down = Conv2d(2, 3, 3, stride=2, padding=1)
        x = torch.randn(1, 2, size, size)
        smaller = down.infer(x)
        up = ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1 - size % 2)
        assert up.infer(smaller).shape == x.shape


def test_transposed_convolution_is_the_transpose_of_convolution(assert_near):
    x, y = torch.randn(2, 4, 7, 6).double(), torch.randn(2, 6, 4, 3).double()
    weight = torch.randn(6, 2, 3, 4).double()
    options = {"stride": 2, "padding": (1, 1), "groups": 2}
    forward = (ops.conv2d(x, weight, None, **options) * y).sum()
    backward = (x * ops.conv_transpose2d(y, weight, None, output_padding=(0, 0), **options)).sum()
    assert_near(forward, backward)


def test_the_reports_names_are_the_same_layer():
    assert TransposeConv2d is ConvTranspose2d
    assert Upsampling is ConvTranspose2d


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Conv2d(3, 8, 3), "Conv2d(3, 8, kernel_size=(3, 3))"),
        (
            Conv2d(4, 8, (3, 5), 2, 1, 2, groups=2, bias=False),
            "Conv2d(4, 8, kernel_size=(3, 5), stride=(2, 2), padding=(1, 1), dilation=(2, 2), "
            "groups=2, bias=False)",
        ),
        (Conv2d(3, 8, 3, padding="same"), "Conv2d(3, 8, kernel_size=(3, 3), padding='same')"),
        (
            ConvTranspose2d(4, 8, 3, 2, 1, 1, groups=2),
            "ConvTranspose2d(4, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=2, "
            "output_padding=(1, 1))",
        ),
    ],
)
def test_repr_gives_the_arguments(layer, text):
    assert repr(layer) == text

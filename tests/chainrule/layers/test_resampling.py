"""Pooling and upsampling against central differences and against PyTorch."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BilinearUpsampling,
    MaxPool2d,
    NearestUpsampling,
    gradcheck,
)

DTYPES = st.sampled_from([torch.float64, torch.float32])
LAYOUTS = st.sampled_from(["contiguous", "channels_last", "transposed", "gaps"])
GRADIENT_LAYOUTS = st.sampled_from(["contiguous", "channels_last", "gaps", "expanded"])
SEEDS = st.integers(0, 2**32)
SCALES = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))


@st.composite
def poolings(draw: st.DrawFn, dilated: bool) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Arguments of a pooling layer and the shape of an input that it takes."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, extent // 2)) for extent in kernel)
    dilation = (draw(st.integers(1, 3)), draw(st.integers(1, 3))) if dilated else (1, 1)
    stride = draw(st.none() | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    arguments: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": padding}
    if dilated:
        arguments["dilation"] = dilation
    else:
        arguments["count_include_pad"] = draw(st.booleans())
    size = [  # at least the dilation: no window sees padding alone
        max(d, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 4))
        for d, k, p in zip(dilation, kernel, padding, strict=True)
    ]
    return arguments, (draw(st.integers(1, 3)), draw(st.integers(1, 3)), *size)


@settings(max_examples=120)
@given(poolings(dilated=True), DTYPES, LAYOUTS, GRADIENT_LAYOUTS, SEEDS)
def test_max_pool2d_equals_its_twin(assert_twin, arranged, case, dtype, layout, gy_layout, seed):
    arguments, shape = case
    torch.manual_seed(seed)
    # Few different values: many ties, of which the first one must win.
    x = arranged(torch.randint(-3, 1, shape).to(dtype), layout)
    assert_twin(MaxPool2d(**arguments), torch.nn.MaxPool2d(**arguments), x, gy_layout)


@settings(max_examples=120)
@given(poolings(dilated=False), DTYPES, LAYOUTS, GRADIENT_LAYOUTS, SEEDS)
def test_avg_pool2d_equals_its_twin(assert_twin, arranged, case, dtype, layout, gy_layout, seed):
    arguments, shape = case
    torch.manual_seed(seed)
    x = arranged(torch.randn(shape, dtype=dtype), layout)
    assert_twin(AvgPool2d(**arguments), torch.nn.AvgPool2d(**arguments), x, gy_layout)


@settings(max_examples=80)
@given(SCALES, st.tuples(*[st.integers(1, 4)] * 4), DTYPES, LAYOUTS, GRADIENT_LAYOUTS, SEEDS)
def test_nearest_upsampling_equals_its_twin(
    assert_twin, arranged, scale, shape, dtype, layout, gy_layout, seed
):
    torch.manual_seed(seed)
    x = arranged(torch.randn(shape, dtype=dtype), layout)
    twin = torch.nn.Upsample(scale_factor=scale, mode="nearest")
    assert_twin(NearestUpsampling(scale), twin, x, gy_layout)


@settings(max_examples=60)
@given(SCALES, st.tuples(*[st.integers(1, 5)] * 4), st.booleans(), DTYPES, LAYOUTS, LAYOUTS, SEEDS)
def test_bilinear_upsampling_equals_its_twin(
    assert_twin, arranged, scale, shape, align_corners, dtype, layout, gy_layout, seed
):
    torch.manual_seed(seed)
    x = arranged(torch.randn(shape, dtype=dtype), layout)
    twin = torch.nn.Upsample(None, scale, "bilinear", align_corners)
    assert_twin(BilinearUpsampling(scale, align_corners), twin, x, gy_layout)


@settings(max_examples=60)
@given(
    st.tuples(*[st.none() | st.integers(1, 6)] * 2) | st.integers(1, 6),
    st.tuples(*[st.integers(1, 5)] * 4),
    DTYPES,
    LAYOUTS,
    GRADIENT_LAYOUTS,
    SEEDS,
)
def test_adaptive_pooling_equals_its_twin(
    assert_twin, arranged, size, shape, dtype, layout, gy_layout, seed
):
    torch.manual_seed(seed)
    x = arranged(torch.randn(shape, dtype=dtype), layout)
    assert_twin(AdaptiveAvgPool2d(size), torch.nn.AdaptiveAvgPool2d(size), x, gy_layout)


@pytest.mark.parametrize(
    "layer",
    [
        BilinearUpsampling(),
        BilinearUpsampling((3, 1)),
        BilinearUpsampling((2, 3), align_corners=True),
        AdaptiveAvgPool2d(1),
        AdaptiveAvgPool2d((2, 4)),
        AdaptiveAvgPool2d((None, 2)),
    ],
)
def test_bilinear_upsampling_and_adaptive_pooling_pass_gradcheck(layer):
    gradcheck(layer, torch.randn(2, 2, 3, 5))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BilinearUpsampling(0), ValueError, "scale_factor must be at least 1, got 0"),
        (lambda: AdaptiveAvgPool2d(0), ValueError, r"output_size must be at least 1, got \(0, 0\)"),
        (
            lambda: AdaptiveAvgPool2d(1)(torch.zeros(3, 4, 5)),
            ValueError,
            r"AdaptiveAvgPool2d: expected the input to be \(N, C, H, W\), got \(3, 4, 5\); add",
        ),
        (
            lambda: BilinearUpsampling()(torch.zeros(1, 3, 4, 5).long()),
            TypeError,
            "BilinearUpsampling: expected the input to be of a float dtype",
        ),
    ],
)
def test_what_bilinear_upsampling_and_adaptive_pooling_refuse(make, error, message):
    with pytest.raises(error, match=message):
        make()


@settings(max_examples=15)
@given(poolings(dilated=True), SEEDS)
def test_max_pool2d_passes_gradcheck(smooth_input, case, seed):
    arguments, shape = case
    torch.manual_seed(seed)
    gradcheck(MaxPool2d(**arguments), smooth_input(*shape))


@settings(max_examples=15)
@given(poolings(dilated=False), SEEDS)
def test_avg_pool2d_passes_gradcheck(case, seed):
    arguments, shape = case
    torch.manual_seed(seed)
    gradcheck(AvgPool2d(**arguments), torch.randn(shape))


@pytest.mark.parametrize("scale", [1, 2, (3, 1)])
def test_nearest_upsampling_passes_gradcheck(scale):
    gradcheck(NearestUpsampling(scale), torch.randn(2, 2, 3, 2))


def test_of_equal_values_the_first_row_by_row_gets_the_gradient():
    pool = MaxPool2d(2)
    pool.forward(torch.tensor([[[[1.0, 1.0, 0.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]]))
    gx = pool.backward(torch.tensor([[[[5.0, 7.0]]]]))
    assert gx is not None
    assert gx.tolist() == [[[[5, 0, 0, 7], [0, 0, 0, 0]]]]


@pytest.mark.parametrize("pool", [MaxPool2d, AvgPool2d])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_pooling_takes_no_padding_by_name(pool, padding):
    with pytest.raises(
        TypeError, match=f"padding must be an int or a pair of ints, got '{padding}'"
    ):
        pool(2, stride=1, padding=padding)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (MaxPool2d(2), "MaxPool2d(kernel_size=(2, 2), stride=(2, 2))"),
        (
            MaxPool2d(3, 2, 1, 2),
            "MaxPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2))",
        ),
        (
            AvgPool2d(3, 1, 1, count_include_pad=False),
            "AvgPool2d(kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), count_include_pad=False)",
        ),
        (NearestUpsampling((2, 3)), "NearestUpsampling(scale_factor=(2, 3))"),
        (
            BilinearUpsampling(2, True),
            "BilinearUpsampling(scale_factor=(2, 2), align_corners=True)",
        ),
        (AdaptiveAvgPool2d((None, 3)), "AdaptiveAvgPool2d(output_size=(None, 3))"),
    ],
)
def test_repr_gives_the_arguments(layer, text):
    assert repr(layer) == text

"""What the ops refuse, and in which words; the arithmetic of windows."""

import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chainrule import (
    L1,
    MSE,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    LeakyReLU,
    LogMSE,
    MaxPool2d,
    Module,
    NearestUpsampling,
    ReLU,
    Sigmoid,
    Tanh,
    geometry,
    ops,
)
from chainrule.ops import Block, Epilogue

X = torch.zeros(16, 3, 32, 32)


@pytest.mark.parametrize(
    ("module", "inputs", "message"),
    [
        (
            Conv2d(3, 48, 3),
            (torch.zeros(16, 4, 32, 32),),
            "Conv2d: expected 3 input channels (weight is (48, 3, 3, 3)), got 4 "
            "(input is (16, 4, 32, 32))",
        ),
        (
            Conv2d(4, 8, 3, groups=2),
            (X,),
            "Conv2d: expected 4 input channels (weight is (8, 2, 3, 3)), got 3 "
            "(input is (16, 3, 32, 32))",
        ),
        (
            ConvTranspose2d(3, 48, 3),
            (torch.zeros(16, 4, 32, 32),),
            "ConvTranspose2d: expected 3 input channels (weight is (3, 48, 3, 3)), got 4 "
            "(input is (16, 4, 32, 32))",
        ),
        (
            BatchNorm2d(4),
            (X,),
            "BatchNorm2d: expected 4 channels, got 3 (input is (16, 3, 32, 32))",
        ),
        (
            BatchNorm2d(4).eval(),
            (X,),
            "BatchNorm2d: expected 4 channels, got 3 (input is (16, 3, 32, 32))",
        ),
        (
            BatchNorm2d(3),
            (torch.zeros(1, 3, 1, 1),),
            "BatchNorm2d: training needs more than one value per channel, got (1, 3, 1, 1); "
            "use a larger batch, or eval()",
        ),
        (
            Conv2d(3, 8, 5, dilation=2),
            (torch.zeros(1, 3, 8, 20),),
            "Conv2d: the window spans (9, 9) but the padded input is only (8, 20) "
            "(input is (1, 3, 8, 20))",
        ),
        (
            MaxPool2d(4),
            (torch.zeros(1, 3, 3, 8),),
            "MaxPool2d: the window spans (4, 4) but the padded input is only (3, 8) "
            "(input is (1, 3, 3, 8))",
        ),
        (
            AvgPool2d(4, padding=1),
            (torch.zeros(1, 3, 1, 1),),
            "AvgPool2d: the window spans (4, 4) but the padded input is only (3, 3) "
            "(input is (1, 3, 1, 1))",
        ),
        (
            MaxPool2d(2, padding=2),
            (X,),
            "MaxPool2d: padding (2, 2) must be at most half of kernel_size (2, 2)",
        ),
        (
            ConvTranspose2d(3, 1, 3, stride=2, output_padding=2),
            (X,),
            "ConvTranspose2d: output_padding (2, 2) must be smaller than the stride (2, 2) or the "
            "dilation (1, 1)",
        ),
        (
            ConvTranspose2d(3, 1, 3, padding=2),
            (torch.zeros(1, 3, 2, 4),),
            "ConvTranspose2d: the padding leaves an output of (0, 2) (input is (1, 3, 2, 4), "
            "the window spans (3, 3))",
        ),
        (
            MSE(),
            (torch.zeros(4, 3), torch.zeros(4, 1)),
            "MSE: prediction (4, 3) and target (4, 1) must have the same shape",
        ),
        (
            L1(),
            (torch.zeros(0, 3), torch.zeros(0, 3)),
            "L1: the prediction is empty, its shape is (0, 3)",
        ),
    ],
)
def test_shapes_that_do_not_fit(module: Module, inputs: tuple[Tensor, ...], message: str):
    for use in (module.forward, module.infer):
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            use(*inputs)
        assert str(caught.value) == message


IMAGE_LAYERS = [
    Conv2d(3, 4, 1),
    ConvTranspose2d(3, 4, 1),
    MaxPool2d(1),
    AvgPool2d(1),
    NearestUpsampling(2),
    BatchNorm2d(3),
    BatchNorm2d(3).eval(),
]


@pytest.mark.parametrize("layer", IMAGE_LAYERS)
def test_every_layer_of_images_wants_four_dimensions_and_something_in_them(layer):
    name = type(layer).__name__
    for shape, ending in [
        ((3, 8, 8), "got (3, 8, 8); add the batch dimension with x[None]"),
        ((3,), "got (3,)"),
        ((1, 1, 3, 8, 8), "got (1, 1, 3, 8, 8)"),
    ]:
        with pytest.raises(ValueError, match="expected the input to be") as caught:
            layer.forward(torch.zeros(shape))
        assert str(caught.value) == f"{name}: expected the input to be (N, C, H, W), {ending}"
    for shape in [(0, 3, 8, 8), (1, 3, 0, 8), (1, 3, 8, 0)]:
        with pytest.raises(ValueError, match="empty") as caught:
            layer.forward(torch.zeros(shape))
        assert str(caught.value) == f"{name}: the input is empty, its shape is {shape}"


@pytest.mark.parametrize("layer", [*IMAGE_LAYERS, ReLU(), LeakyReLU(), Sigmoid(), Tanh()])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_every_layer_wants_a_float_dtype(layer, dtype):
    with pytest.raises(TypeError, match="float dtype") as caught:
        layer.forward(torch.zeros(1, 3, 8, 8, dtype=dtype))
    assert str(caught.value) == (
        f"{type(layer).__name__}: expected the input to be of a float dtype, got {dtype}; "
        "convert it with .float()"
    )


@pytest.mark.parametrize(
    ("module", "other"),
    [
        (Conv2d(3, 4, 1), "weight"),
        (ConvTranspose2d(3, 4, 1), "weight"),
        (BatchNorm2d(3), "running mean"),
        (BatchNorm2d(3).eval(), "mean"),
        (BatchNorm2d(3, track_running_stats=False), "weight"),
    ],
)
def test_input_and_weights_must_have_one_dtype(module, other):
    with pytest.raises(TypeError, match="convert one of them") as caught:
        module.forward(torch.zeros(2, 3, 4, 4).double())
    assert str(caught.value) == (
        f"{type(module).__name__}: the input is torch.float64 and the {other} torch.float32; "
        "convert one of them with .to(dtype)"
    )


@pytest.mark.parametrize("loss", [MSE(), L1(), LogMSE()])
def test_prediction_and_target_must_have_one_float_dtype(loss):
    with pytest.raises(TypeError, match=r"the target torch\.float64; convert one of them"):
        loss.forward(torch.zeros(3), torch.zeros(3).double())
    with pytest.raises(TypeError, match=r"expected the target .* got torch\.uint8"):
        loss.forward(torch.zeros(3), torch.zeros(3, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Conv2d(3, 8, 0), ValueError, "kernel_size must be at least 1, got 0"),
        (lambda: Conv2d(3, 8, (3, -1)), ValueError, "kernel_size must be at least 1, got (3, -1)"),
        (lambda: Conv2d(3, 8, 3, stride=0), ValueError, "stride must be at least 1, got 0"),
        (lambda: Conv2d(3, 8, 3, dilation=0), ValueError, "dilation must be at least 1, got 0"),
        (lambda: Conv2d(3, 8, 3, padding=-1), ValueError, "padding must be at least 0, got -1"),
        (
            lambda: Conv2d(3, 8, 3, stride=2**31),
            ValueError,
            "stride must be at most 2147483647, got 2147483648",
        ),
        (
            lambda: Conv2d(3, 8, 3, True),
            TypeError,
            "stride must be an int or a pair of ints, got True",
        ),
        (
            lambda: Conv2d(3, 8, 1.5),  # type: ignore[arg-type]
            TypeError,
            "kernel_size must be an int or a pair of ints, got 1.5",
        ),
        (
            lambda: Conv2d(3, 8, (3, 3, 3)),  # type: ignore[arg-type]
            TypeError,
            "kernel_size must be an int or a pair of ints, got (3, 3, 3)",
        ),
        (
            lambda: Conv2d(3, 8, "33"),  # type: ignore[arg-type]
            TypeError,
            "kernel_size must be an int or a pair of ints, got '33'",
        ),
        (
            lambda: Conv2d(3, 8, 3, padding="sum"),  # type: ignore[arg-type]
            ValueError,
            'padding must be an int, a pair, "same" or "valid", got \'sum\'',
        ),
        (
            lambda: Conv2d(3, 8, 3, stride=(1, 2), padding="same"),
            ValueError,
            'padding="same" needs stride 1, got stride (1, 2)',
        ),
        (
            lambda: ConvTranspose2d(3, 8, 3, padding="same"),  # type: ignore[arg-type]
            TypeError,
            "padding must be an int or a pair of ints, got 'same'",
        ),
        (
            lambda: ConvTranspose2d(3, 8, 3, output_padding=-1),
            ValueError,
            "output_padding must be at least 0, got -1",
        ),
        (lambda: Conv2d(0, 8, 3), ValueError, "Conv2d: in_channels must be a positive int, got 0"),
        (
            lambda: Conv2d(3, -8, 3),
            ValueError,
            "Conv2d: out_channels must be a positive int, got -8",
        ),
        (
            lambda: Conv2d(True, 8, 3),
            ValueError,
            "Conv2d: in_channels must be a positive int, got True",
        ),
        (
            lambda: ConvTranspose2d(3, 8, 3, groups=0),
            ValueError,
            "ConvTranspose2d: groups must be a positive int, got 0",
        ),
        (
            lambda: Conv2d(3, 8, 3, groups=2),
            ValueError,
            "Conv2d: groups=2 must divide in_channels=3 and out_channels=8",
        ),
        (
            lambda: Conv2d(4, 7, 3, groups=2),
            ValueError,
            "Conv2d: groups=2 must divide in_channels=4 and out_channels=7",
        ),
        (
            lambda: Conv2d(3, 8, 3, weight_init="zeros"),
            ValueError,
            "weight_init must be one of normal, xavier, kaiming, got 'zeros'",
        ),
        (lambda: MaxPool2d(0), ValueError, "kernel_size must be at least 1, got 0"),
        (lambda: AvgPool2d(2, stride=0), ValueError, "stride must be at least 1, got 0"),
        (lambda: NearestUpsampling(0), ValueError, "scale_factor must be at least 1, got 0"),
        (
            lambda: NearestUpsampling(1.5),  # type: ignore[arg-type]
            TypeError,
            "scale_factor must be an int or a pair of ints, got 1.5",
        ),
        (
            lambda: BatchNorm2d(0),
            ValueError,
            "BatchNorm2d: num_features must be a positive int, got 0",
        ),
        (
            lambda: BatchNorm2d(True),
            ValueError,
            "BatchNorm2d: num_features must be a positive int, got True",
        ),
    ],
)
def test_arguments_out_of_range(make: Callable[[], Module], error: type[Exception], message: str):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message


WEIGHT = torch.zeros(8, 3, 3, 3)
WRONG = torch.zeros(2, 1, 1, 1)
PLAIN = Block(geometry.window(3, 1, 0, 1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.conv2d(X, WEIGHT, torch.zeros(3)), "Conv2d: expected a bias of shape (8,)"),
        (lambda: ops.conv2d(X, WEIGHT, groups=3), "Conv2d: groups=3 must divide the channels"),
        (lambda: ops.conv2d(X, WEIGHT[0]), "Conv2d: expected the weight to be (N, C, H, W)"),
        (lambda: ops.conv2d_input_grad(WRONG, WEIGHT, (5, 5)), "shape (2, 8, 3, 3)"),
        (
            lambda: ops.conv2d_weight_grad(torch.zeros(2, 3, 5, 5), WRONG, (3, 3)),
            "shape (2, 1, 3, 3)",
        ),
        (lambda: ops.conv_transpose2d_input_grad(WRONG, WEIGHT, (5, 5)), "shape (2, 3, 7, 7)"),
        (
            lambda: ops.conv_transpose2d_weight_grad(torch.zeros(2, 8, 5, 5), WRONG, (3, 3)),
            "shape (2, 1, 7, 7)",
        ),
        (
            lambda: ops.block(X, WEIGHT, None, PLAIN._replace(epilogue=Epilogue("mish"))),
            "Conv2d: the activation must be one of '', 'relu'",
        ),
        (lambda: ops.linear(X, WEIGHT), "Linear: expected a weight of two dimensions, got (8, 3,"),
        (lambda: ops.scale_shift("LayerNorm", X, torch.ones(4), None, 3), "(4,), which the input"),
        (lambda: ops.reshape(X, (5, 5)), "can't have the shape (5, 5)"),
        (lambda: ops.permute(X, (0, 1, 2, 2)), "(0, 1, 2, 2) is no order of the dimensions"),
        (lambda: ops.split(X, 5), "can't be cut into 5 equal parts"),
        (
            lambda: ops.piecewise_linear(X, torch.ones(1), torch.ones(2)),
            "PiecewiseLinear: expected",
        ),
        (
            lambda: ops.muon_step(
                [X[0, 0, 0]], [X[0, 0, 0]], [], [1.0], 0.1, 0.0, False, 1.0, (1.0, 0.0, 0.0), 0.0, 1
            ),
            "Muon: expected a parameter of two dimensions, got (32,)",
        ),
        (lambda: ops.max_pool2d_grad(WRONG, torch.zeros(2, 1, 2, 2), (4, 4), 2, 2), "(2, 1, 2, 2)"),
        (lambda: ops.avg_pool2d_grad(WRONG, (4, 4), 2, 2), "shape (2, 1, 2, 2)"),
        (lambda: ops.upsample_nearest2d_grad(WRONG, (4, 4), 2), "shape (2, 1, 8, 8)"),
        (lambda: ops.relu_grad(WRONG, X), "shape (16, 3, 32, 32)"),
        (lambda: ops.leaky_relu_grad(WRONG, X), "shape (16, 3, 32, 32)"),
        (lambda: ops.sigmoid_grad(WRONG, X), "shape (16, 3, 32, 32)"),
        (lambda: ops.tanh_grad(WRONG, X), "shape (16, 3, 32, 32)"),
        (lambda: ops.affine_grad(WRONG, X, torch.ones(3)), "shape (16, 3, 32, 32)"),
        (lambda: ops.normalize_grad(WRONG, X, torch.ones(3)), "shape (16, 3, 32, 32)"),
    ],
)
def test_the_ops_refuse_shapes_that_do_not_fit(call: Callable[[], object], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# Sizes whose bytes go beyond any address space, and some beyond 64 bits.
@pytest.mark.parametrize(
    "make",
    [
        lambda: NearestUpsampling(2**24).infer(torch.zeros(1, 1, 4, 4)),
        lambda: NearestUpsampling(2**31 - 1).infer(torch.zeros(1, 1, 3, 3)),
        lambda: ConvTranspose2d(1, 1, 1, stride=2**26).infer(torch.zeros(1, 1, 2, 2)),
        lambda: ConvTranspose2d(1, 1, 1, stride=2**31 - 1).infer(torch.zeros(1, 1, 9, 9)),
        lambda: Conv2d(1, 1, 1, padding=2**26).infer(torch.zeros(1, 1, 3, 3)),
        lambda: Conv2d(1, 1, 1, padding=2**31 - 1).infer(torch.zeros(1, 1, 3, 3)),
        lambda: Conv2d(1, 2**50, 1),
        lambda: Conv2d(2**40, 2**40, 1),
    ],
)
def test_what_cannot_be_allocated_is_an_error_and_no_crash(make: Callable[[], object]):
    with pytest.raises((RuntimeError, MemoryError), match=r"memory|overflow|can't be had"):
        make()


@given(*[st.integers(1, 5)] * 3, st.integers(0, 3), st.integers(1, 30), st.integers(0, 4))
def test_windows_are_as_many_as_can_be_laid(kernel, stride, dilation, padding, size, added):
    sliding = geometry.window(kernel, stride, padding, dilation)
    reach = dilation * (kernel - 1)
    padded = size + 2 * padding
    starts = [start for start in range(0, padded, stride) if start + reach < padded]
    assert sliding.span == (reach + 1, reach + 1)
    if starts:
        assert sliding.output_size((size, size)) == (len(starts), len(starts))
        assert sliding.covered((len(starts), len(starts))) == (starts[-1] + reach + 1,) * 2
    # Transposing gives a size that the same windows would turn into the one before.
    if added < stride:
        larger = sliding.transposed_size((size, size), (added, added))
        assert sliding.output_size(larger) == (size, size)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 9))
def test_same_padding_keeps_the_size(kernel, dilation, size):
    sliding = geometry.window(kernel, 1, "same", dilation)
    top, bottom, _, _ = sliding.pads
    assert sliding.output_size((size, size)) == (size, size)
    assert 0 <= bottom - top <= 1

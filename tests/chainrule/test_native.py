"""The compiled kernels equal the reference, with every instruction set, and survive what comes."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import chainrule
from chainrule import ops
from chainrule.geometry import Padding, Pair, window
from chainrule.ops import Block, Epilogue

if os.environ.get("CHAINRULE_BACKEND") == "reference":
    pytest.skip("CHAINRULE_BACKEND keeps the kernels out", allow_module_level=True)
kernels: Any = pytest.importorskip("chainrule._native")

DIRECT, TILES = 3e-6, 1e-5
"""Largest error beside the largest value: of sums of products, and by Winograd's algorithm."""

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def native() -> Iterator[None]:
    best, tiles, threads = kernels.instruction_set(), chainrule.winograd(), torch.get_num_threads()
    with chainrule.use_backend("native"):
        yield
    kernels.use_instruction_set(best)
    chainrule.winograd(tiles)
    torch.set_num_threads(threads)


def ways() -> Iterator[tuple[str, float]]:
    """Each instruction set, with Winograd's algorithm and without: its name, and its error."""
    for name in kernels.instruction_sets():
        kernels.use_instruction_set(name)
        for tiles in (True, False):
            chainrule.winograd(tiles)
            yield (f"{name}, tiles", TILES) if tiles else (name, DIRECT)


def in_turn() -> Iterator[str]:
    for name in kernels.instruction_sets():
        kernels.use_instruction_set(name)
        yield name


def doubles(values: Any) -> Any:
    return values.double() if isinstance(values, Tensor) else values


def agree(op: Callable[..., Any], *inputs: Any) -> None:
    """`op` of float32 inputs, every way, is what the reference makes of them in float64."""
    expected = op(*map(doubles, inputs))
    for way, most in ways():
        close(op(*inputs), expected, most, way)


def close(got: Any, expected: Any, most: float, way: str) -> None:
    if isinstance(expected, tuple):
        for one, other in zip(got, expected, strict=True):
            close(one, other, most, way)
        return
    assert got.dtype is torch.float32, way
    assert got.shape == expected.shape, way
    error, largest = float((got - expected).abs().max()), float(expected.abs().max())
    assert error <= most * max(1.0, largest), f"{way}: {error} beside {largest}"


def quarters(*shape: int) -> Tensor:
    """Random multiples of 1/4: in whatever order they are added, their products' sum is exact.

    So results that cancel are no trouble, and a single value in the wrong place shows.
    """
    return torch.randint(-4, 5, shape) / 4


LAYOUTS = ["contiguous", "channels_last", "transposed", "gaps", "expanded", "slice", "crop", "step"]


def laid_out(arranged: Callable[[Tensor, str], Tensor], values: Tensor, layout: str) -> Tensor:
    """`arranged`, or parts of a channels_last image: some channels, some or every other column."""
    n, channels, height, width = values.shape
    if layout == "slice":
        wider = torch.full((n, channels + 3, height, width), NAN)
        wider = wider.contiguous(memory_format=torch.channels_last)
        wider[:, 2:-1] = values
        return wider[:, 2:-1]
    if layout == "crop":
        wider = torch.full((n, channels, height + 1, width + 3), NAN)
        wider = wider.contiguous(memory_format=torch.channels_last)
        wider[..., 1:, 2:-1] = values
        return wider[..., 1:, 2:-1]
    if layout == "step":
        wider = torch.full((n, channels, height, 2 * width), NAN)
        wider = wider.contiguous(memory_format=torch.channels_last)
        wider[..., ::2] = values
        return wider[..., ::2]
    return arranged(values, layout)


layouts = st.sampled_from(LAYOUTS)


# -- convolution ----------------------------------------------------------------------------------


class Convolution(NamedTuple):
    """A convolution of images of `size`; transposed, `size` is that of its output."""

    images: int
    channels: int
    outputs: int
    size: Pair
    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair
    groups: int

    @property
    def options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    @property
    def outcome(self) -> Pair:
        return window(self.kernel, self.stride, self.padding, self.dilation).output_size(self.size)


def numbers(least: int, most: int) -> st.SearchStrategy[int]:
    return st.integers(least, most)


# (channels, outputs, groups): any; enough of both for tiles; few of one and many of the other; more
# than the registers hold.
CHANNELS = st.one_of(
    st.builds(lambda g, c, o: (g * c, g * o, g), numbers(1, 3), numbers(1, 5), numbers(1, 7)),
    st.tuples(numbers(12, 20), numbers(12, 20), st.just(1)),
    st.tuples(numbers(12, 36), numbers(12, 36), st.just(1)),
    st.tuples(numbers(8, 18), numbers(1, 4), st.just(1)),
    st.tuples(st.sampled_from([16, 18]), st.sampled_from([2, 4]), st.just(2)),
    st.tuples(numbers(1, 4), numbers(8, 18), st.just(1)),
    st.tuples(numbers(1, 3), numbers(50, 80), st.just(1)),
)


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    """Size, kernel, stride, padding and dilation of one axis."""
    kernel = draw(st.sampled_from([1, 2, 3, 3, 3, 4, 5]))
    stride = draw(st.sampled_from([1, 1, 1, 1, 2, 2, 3, 5]))
    dilation = draw(st.sampled_from([1, 1, 1, 1, 2, 3]))
    padding = draw(st.sampled_from([0, 1, 1, 2, 3, 5]))
    span = dilation * (kernel - 1) + 1
    return max(1, span - 2 * padding + draw(numbers(0, 12))), kernel, stride, padding, dilation


@st.composite
def convolutions(draw: st.DrawFn) -> Convolution:
    channels, outputs, groups = draw(CHANNELS)
    size, kernel, stride, padding, dilation = zip(draw(axes()), draw(axes()), strict=True)
    if stride == (1, 1) and draw(st.booleans()):
        padding = "same"
    images = draw(numbers(1, 3))
    return Convolution(
        images,
        channels,
        outputs,
        size,
        kernel,
        stride,
        padding,
        dilation,
        groups,  # type: ignore[arg-type]
    )


@settings(max_examples=150)
@given(case=convolutions(), layout=st.tuples(layouts, layouts, layouts), bias=st.booleans())
def test_convolutions_and_their_gradients(case, layout, bias, arranged):
    torch.manual_seed(0)
    kernel, options = case.kernel, case.options
    x = laid_out(arranged, quarters(case.images, case.channels, *case.size), layout[0])
    w = quarters(case.outputs, case.channels // case.groups, *kernel)
    w = laid_out(arranged, w, layout[1])
    b = quarters(2 * case.outputs)[::2] if bias else None
    gy = laid_out(arranged, quarters(case.images, case.outputs, *case.outcome), layout[2])
    agree(lambda x, w, b: ops.conv2d(x, w, b, **options), x, w, b)
    agree(lambda gy, w: ops.conv2d_input_grad(gy, w, case.size, **options), gy, w)
    agree(lambda x, gy: ops.conv2d_weight_grad(x, gy, kernel, **options), x, gy)


@settings(max_examples=100)
@given(case=convolutions(), layout=st.tuples(layouts, layouts, layouts), bias=st.booleans())
def test_transposed_convolutions_and_their_gradients(case, layout, bias, arranged):
    """From `outcome` to `size`: what the rounding of a strided size leaves is output padding."""
    torch.manual_seed(0)
    assume(case.padding != "same")
    sliding = window(case.kernel, case.stride, case.padding, case.dilation)
    made = sliding.transposed_size(case.outcome, (0, 0))
    options = {
        **case.options,
        "output_padding": (case.size[0] - made[0], case.size[1] - made[1]),
    }
    x = laid_out(arranged, quarters(case.images, case.outputs, *case.outcome), layout[0])
    w = quarters(case.outputs, case.channels // case.groups, *case.kernel)
    w = laid_out(arranged, w, layout[1])
    b = quarters(case.channels) if bias else None
    gy = laid_out(arranged, quarters(case.images, case.channels, *case.size), layout[2])
    agree(lambda x, w, b: ops.conv_transpose2d(x, w, b, **options), x, w, b)
    agree(lambda gy, w: ops.conv_transpose2d_input_grad(gy, w, case.outcome, **options), gy, w)
    agree(lambda x, gy: ops.conv_transpose2d_weight_grad(x, gy, case.kernel, **options), x, gy)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Block, Convolution]:
    """A block, and the convolution in it, whose `size` is that of the upsampled image."""
    case = draw(convolutions())
    activation: Any = draw(st.sampled_from(["", "relu", "leaky_relu", "sigmoid"]))
    scale, transposed = (1, 1), draw(numbers(0, 3)) == 0 and case.padding != "same"
    if not transposed and draw(numbers(0, 3)):
        scale = draw(st.tuples(numbers(1, 3), numbers(1, 3)))
        rows, columns = (-(-size // factor) for size, factor in zip(case.size, scale, strict=True))
        rows, columns = rows + 2 * (scale[0] > 1), columns + 2 * (scale[1] > 1)
        size = (rows * scale[0], columns * scale[1])
        padding = "same" if case.stride == case.dilation == (1, 1) else case.padding
        case = case._replace(size=size, stride=(1, 1), dilation=(1, 1), padding=padding)
    sliding = window(case.kernel, case.stride, case.padding, case.dilation)
    added = (0, 0)
    if transposed:
        made = sliding.transposed_size(case.outcome, (0, 0))
        added = (case.size[0] - made[0], case.size[1] - made[1])
    layers = Block(sliding, case.groups, transposed, added, scale, Epilogue(activation, 0.25))
    return layers, case


@settings(max_examples=200)
@given(case=blocks(), layout=st.tuples(layouts, layouts, layouts))
def test_blocks_and_their_gradients(case, layout, arranged):
    torch.manual_seed(0)
    layers, inner = case
    large = (inner.size[0] // layers.scale[0], inner.size[1] // layers.scale[1])
    sides = (inner.channels, large), (inner.outputs, inner.outcome)
    (inputs, size), (outputs, outcome) = sides[::-1] if layers.transposed else sides
    x = laid_out(arranged, quarters(inner.images, inputs, *size), layout[0])
    w = quarters(inner.outputs, inner.channels // inner.groups, *inner.kernel)
    gy = laid_out(arranged, quarters(inner.images, outputs, *outcome), layout[1])
    y = quarters(inner.images, outputs, *outcome)
    y = laid_out(arranged, (y + 1) / 2 if layers.epilogue.activation == "sigmoid" else y, layout[2])
    agree(lambda x, w, b: ops.block(x, w, b, layers), x, w, quarters(outputs))
    agree(lambda gy, y, w: ops.block_input_grad(gy, y, w, size, layers), gy, y, w)
    agree(lambda x, gy, y: ops.block_parameter_grads(x, gy, y, layers), x, gy, y)


def test_an_activation_that_no_kernel_has_is_computed_all_the_same():
    layers = Block(window(3, 1, 1, 1), epilogue=Epilogue("tanh"))
    x, w, gy = torch.rand(2, 3, 6, 5), torch.rand(4, 3, 3, 3) / 27, torch.rand(2, 4, 6, 5)
    y = ops.block(x, w, None, layers)
    agree(lambda x, w: ops.block(x, w, None, layers), x, w)
    agree(lambda gy, y, w: ops.block_input_grad(gy, y, w, (6, 5), layers), gy, y, w)
    agree(lambda x, gy, y: ops.block_parameter_grads(x, gy, y, layers), x, gy, y)


@pytest.mark.parametrize("kernel", [(2, 1), (1, 2), (2, 2), (4, 1), (1, 4), (3, 2)])
@pytest.mark.parametrize(("channels", "outputs"), [(5, 6), (9, 2)])
def test_padding_on_one_side_only(kernel, channels, outputs, arranged):
    """Images are read where they lie if no window hangs over the border, of any of the sides."""
    x = arranged(quarters(2, channels, 7, 9), "channels_last")
    gy = arranged(quarters(2, outputs, 7, 9), "channels_last")
    w = quarters(outputs, channels, *kernel)
    agree(lambda x, w: ops.conv2d(x, w, None, padding="same"), x, w)
    agree(lambda gy, w: ops.conv2d_input_grad(gy, w, (7, 9), padding="same"), gy, w)
    agree(lambda x, gy: ops.conv2d_weight_grad(x, gy, kernel, padding="same"), x, gy)


# (images, channels, outputs, size, kernel, stride, padding, scale, transposed): several bands of
# rows, and of rows of tiles; rows too long for one; halos larger than a band; a single row.
LARGE = [
    (2, 5, 6, (40, 300), (3, 3), 1, 1, 1, False),
    (1, 5, 70, (37, 301), (5, 3), 2, 2, 1, False),
    (1, 48, 3, (23, 230), (3, 3), 1, 1, 1, False),
    (1, 3, 20, (34, 411), (4, 4), 2, 1, 1, False),
    (1, 12, 3, (19, 220), (3, 3), 1, 1, 2, False),
    (1, 7, 5, (21, 333), (5, 5), 1, 2, (2, 3), False),
    (1, 20, 3, (15, 190), (3, 3), 2, 1, 1, True),
    (1, 16, 16, (26, 310), (3, 3), 1, 1, 1, False),
    (2, 13, 18, (17, 140), (5, 3), 1, 1, 2, False),
    (1, 17, 14, (33, 281), (4, 4), 2, 1, 1, False),
    (2, 14, 30, (21, 150), (4, 3), 2, 1, 1, True),
    (1, 700, 5, (7, 33), (3, 3), 1, 1, 1, False),
    (1, 9, 6, (3, 6000), (2, 2), 1, 0, 2, False),
    (1, 3, 4, (1, 20000), (1, 5), 1, (0, 2), 1, False),
    (1, 4, 3, (3000, 1), (7, 1), 1, (3, 0), 1, False),
]


def large_block(case: tuple[Any, ...], make: Callable[..., Tensor]) -> tuple[Any, ...]:
    """The block, its input, weight and bias, the size of its output, and the output's gradient."""
    images, inputs, outputs, size, kernel, stride, padding, scale, transposed = case
    torch.manual_seed(0)
    scale = scale if isinstance(scale, tuple) else (scale, scale)
    sliding = window(kernel, stride, padding, 1)
    layers = Block(sliding, 1, transposed, (0, 0), scale, Epilogue("leaky_relu", 0.25))
    x = make(images, inputs, *size)
    w = make(*((inputs, outputs) if transposed else (outputs, inputs)), *kernel)
    gy, y = (make(images, outputs, *layers.output_size(size)) for _ in range(2))
    return layers, x, w, make(outputs), gy, y


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_images_that_are_worked_on_in_pieces(case, arranged):
    layers, x, w, b, gy, y = large_block(case, quarters)
    x, gy = arranged(x, "channels_last"), arranged(gy, "channels_last")
    for threads in (1, 3):
        torch.set_num_threads(threads)
        agree(lambda x, w, b: ops.block(x, w, b, layers), x, w, b)
        size = x.shape[2:]
        agree(lambda gy, y, w, s=size: ops.block_input_grad(gy, y, w, s, layers), gy, y, w)
        agree(lambda x, gy, y: ops.block_parameter_grads(x, gy, y, layers), x, gy, y)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "scale"),
    [(16, 3, 1, 1), (64, 3, 1, 1), (48, 3, 2, 1), (100, 2, 2, 1), (100, 3, 1, 2), (32, 5, 1, 2)],
)
def test_rounding_errors_are_as_small_as_promised(channels, kernel, stride, scale):
    """Values as in a network, not multiples of 1/4: here every sum is rounded."""
    layers = Block(window(kernel, stride, kernel // 2, 1), scale=(scale, scale))
    x = torch.rand(2, channels, 18, 18)
    w = torch.randn(channels, channels, kernel, kernel) / math.sqrt(channels * kernel * kernel)
    gy = torch.randn(2, channels, *layers.output_size((18, 18)))
    agree(lambda x, w: ops.block(x, w, None, layers), x, w)
    agree(lambda gy, w: ops.block_input_grad(gy, gy, w, (18, 18), layers), gy, w)
    agree(lambda x, gy: ops.block_parameter_grads(x, gy, gy, layers)[0], x, gy)


# -- pooling, resampling, sums --------------------------------------------------------------------


@st.composite
def poolings(draw: st.DrawFn, dilations: st.SearchStrategy[int]) -> tuple[Any, ...]:
    """Size, kernel, stride, padding and dilation of both axes."""
    both = []
    for _ in range(2):
        kernel, stride, dilation = draw(numbers(1, 4)), draw(numbers(1, 4)), draw(dilations)
        padding = draw(numbers(0, kernel // 2))
        span = dilation * (kernel - 1) + 1
        size = max(1, span - 2 * padding + draw(numbers(0, 8)))
        both.append((size, kernel, stride, padding, dilation))
    return tuple(zip(*both, strict=True))


images_and_channels = st.tuples(numbers(1, 3), st.sampled_from([1, 2, 3, 5, 16, 19]))


@settings(max_examples=80)
@given(case=poolings(numbers(1, 3)), n=images_and_channels, layout=st.tuples(layouts, layouts))
def test_max_pooling(case, n, layout, arranged):
    torch.manual_seed(0)
    size, *options = case
    x = laid_out(arranged, quarters(*n, *size), layout[0])
    with chainrule.use_backend("reference"):
        expected, places = ops.max_pool2d(x, *options)
    gy = laid_out(arranged, quarters(*expected.shape), layout[1])
    agree(lambda gy: ops.max_pool2d_grad(gy, places, size, *options), gy)
    gx = ops.max_pool2d_grad(gy.double(), places, size, *options)
    for way in in_turn():
        got, where = ops.max_pool2d(x, *options)
        assert torch.equal(got, expected), way
        assert torch.equal(ops.max_pool2d_grad(gy, where, size, *options).double(), gx), way


@settings(max_examples=60)
@given(
    case=poolings(st.just(1)),
    n=images_and_channels,
    counted=st.booleans(),
    layout=st.tuples(layouts, layouts),
)
def test_average_pooling(case, n, counted, layout, arranged):
    torch.manual_seed(0)
    size, kernel, stride, padding, _ = case
    options = (kernel, stride, padding, counted)
    x = laid_out(arranged, quarters(*n, *size), layout[0])
    sliding = window(kernel, stride, padding, 1)
    gy = laid_out(arranged, quarters(*n, *sliding.output_size(size)), layout[1])
    agree(lambda x: ops.avg_pool2d(x, *options), x)
    agree(lambda gy: ops.avg_pool2d_grad(gy, size, *options), gy)


@settings(max_examples=60)
@given(
    shape=st.tuples(numbers(1, 3), numbers(1, 19), numbers(1, 6), numbers(1, 6)),
    more=numbers(1, 19),
    scale=st.tuples(numbers(1, 4), numbers(1, 4)),
    layout=st.tuples(layouts, layouts),
)
def test_upsampling_concatenation_and_addition(shape, more, scale, layout, arranged):
    torch.manual_seed(0)
    n, channels, height, width = shape
    size = (height * scale[0], width * scale[1])
    x = laid_out(arranged, quarters(*shape), layout[0])
    gy = laid_out(arranged, quarters(n, channels, *size), layout[1])
    agree(lambda x: ops.upsample_nearest2d(x, scale), x)
    agree(lambda gy: ops.upsample_nearest2d_grad(gy, (height, width), scale), gy)
    other = laid_out(arranged, quarters(n, more, height, width), layout[1])
    agree(ops.concatenate, x, other)
    agree(ops.add, x, laid_out(arranged, quarters(*shape), layout[1]))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_large_images_are_pooled_and_resampled_by_several_threads(layout, arranged):
    x, gy = arranged(quarters(3, 7, 51, 70), layout), arranged(quarters(3, 7, 25, 35), layout)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        agree(lambda x: ops.max_pool2d(x, 3, 2, (0, 1))[0], x)
        _, places = ops.max_pool2d(x, 3, 2, (0, 1))
        agree(lambda gy, p=places: ops.max_pool2d_grad(gy, p, (51, 70), 3, 2, (0, 1)), gy)
        agree(lambda x: ops.avg_pool2d(x, 3, 2, (0, 1), False), x)
        agree(lambda gy: ops.avg_pool2d_grad(gy, (51, 70), 3, 2, (0, 1)), gy)
        agree(lambda gy: ops.upsample_nearest2d(gy, 2), gy)
        agree(lambda x: ops.upsample_nearest2d_grad(x, (17, 35), (3, 2)), x)
        agree(ops.concatenate, x, x[:, :5])


@pytest.mark.parametrize("options", [(2, 1, 1, 3), ((1, 2), 1, (0, 1), (1, 3))])
def test_a_window_with_nothing_but_padding_has_no_largest_value(options):
    """Its elements are three apart, one on either side of the image. Its gradient goes nowhere."""
    x = torch.ones(1, 2, 2, 2)
    for way in in_turn():
        y, places = ops.max_pool2d(x, *options)
        assert (y == -INF).all(), way
        gx = ops.max_pool2d_grad(torch.ones_like(y), places, (2, 2), *options)
        assert torch.equal(gx, torch.zeros_like(x)), way


def test_the_parts_of_a_concatenation_are_added_where_they_lie():
    """What the gradient of a skip connection does, with more rows than are done in one piece."""
    gy = quarters(2, 37, 40, 33).contiguous(memory_format=torch.channels_last)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        agree(lambda gy: ops.add(gy[:, :17], gy[:, 20:]), gy)
        agree(lambda gy: ops.add(gy[:, :17], gy[:, 20:].contiguous()), gy)


# -- one pass over memory -------------------------------------------------------------------------

SHAPES = [(), (1,), (7,), (5, 3), (0, 4), (2, 3, 5), (3, 2, 4, 5), (1, 1, 1, 1), (20001,)]


def arrangements(shape: tuple[int, ...]) -> list[Tensor]:
    x = quarters(*shape)
    if len(shape) != 4:
        return [x, x.flip(0), torch.stack((x, x * NAN), -1)[..., 0]] if shape else [x]
    return [x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3), x[:, :, ::2]]


ACTIVATIONS: list[tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = [
    (ops.relu, ops.relu_grad),
    (lambda x: ops.leaky_relu(x, 0.25), lambda gy, y: ops.leaky_relu_grad(gy, y, 0.25)),
    (ops.sigmoid, ops.sigmoid_grad),
    (ops.tanh, ops.tanh_grad),
]
NAMES = ["relu", "leaky", "sigmoid", "tanh"]


@pytest.mark.parametrize(("forward", "gradient"), ACTIVATIONS, ids=NAMES)
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 0 not in shape], ids=str)
def test_activations(forward, gradient, shape):
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for x in arrangements(shape):
            agree(forward, 8 * x)
            agree(gradient, x, forward(8 * x))
            agree(gradient, x, torch.rand(x.shape))  # dense, in another order perhaps


@pytest.mark.parametrize(("forward", "gradient"), ACTIVATIONS, ids=NAMES)
def test_activations_of_what_is_no_number(forward, gradient):
    x = torch.tensor([NAN, INF, -INF, 0.0, 1e30, -1e30, 100.0, -100.0, 1e-30] * 7)
    gy = torch.tensor([NAN, INF, -INF, 1.0]).repeat_interleave(3).repeat(3)
    y = torch.tensor([0.0, 0.5, NAN]).repeat(12)
    for way in in_turn():
        same_special_values(forward(x), forward(x.double()), way)
        same_special_values(gradient(gy, y), gradient(gy.double(), y.double()), way)
        for part in (x[:5], x[:1]):  # the end that fills no vector
            same_special_values(forward(part), forward(part.double()), way)
        same_special_values(gradient(gy[:7], y[:7]), gradient(gy[:7].double(), y[:7].double()), way)


def same_special_values(got: Tensor, expected: Tensor, way: str) -> None:
    """NaN where NaN is expected, and infinities; finite values alike."""
    torch.testing.assert_close(
        got.double(), expected, rtol=1e-6, atol=1e-7, equal_nan=True, msg=lambda m: f"{way}: {m}"
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_additions_in_place_and_zeros(shape):
    for way in in_turn():
        for x in arrangements(shape):
            for other in arrangements(shape):
                if other.shape != x.shape:
                    continue
                total = torch.empty_like(x).copy_(x)
                ops.accumulate(total, other)
                assert torch.equal(total, x + other), way
                assert torch.equal(ops.add(x, other), x + other), way
                ops.zero([total])
                assert torch.equal(total, torch.zeros(x.shape)), way


def test_zeroing_a_part_leaves_the_rest_alone():
    x = torch.ones(2, 6, 4, 4).contiguous(memory_format=torch.channels_last)
    ops.zero([x[:, 1:3]])
    assert float(x.sum()) == 2 * 4 * 16


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 0 not in shape], ids=str)
def test_squared_errors(shape):
    for x in arrangements(shape):
        for y in (torch.rand(x.shape), torch.empty_like(x).copy_(torch.rand(x.shape))):
            agree(ops.squared_error, x, y)
            agree(lambda x, y: ops.squared_error_grad(x, y, 0.125), x, y)
            agree(lambda x, y: ops.squared_error_grad(x, y, torch.tensor(0.125)), x, y)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if 0 not in shape], ids=str)
def test_absolute_errors(shape):
    for x in arrangements(shape):
        for y in (torch.rand(x.shape), torch.empty_like(x).copy_(torch.rand(x.shape))):
            y.flatten()[::3] = x.flatten()[::3]  # no gradient where there is no difference
            agree(ops.absolute_error, x, y)
            agree(lambda x, y: ops.absolute_error_grad(x, y, 0.125), x, y)
            agree(lambda x, y: ops.absolute_error_grad(x, y, torch.tensor(0.125)), x, y)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape and 0 not in shape], ids=str)
def test_errors_of_images(shape):
    factors = torch.rand(shape[0])
    for x in arrangements(shape):
        for y in (torch.rand(x.shape), torch.empty_like(x).copy_(torch.rand(x.shape))):
            agree(ops.image_errors, x, y)
            agree(ops.image_error_grad, x, y, factors)


@pytest.mark.parametrize("limit", [1e-3, 0.5, 1e3])
def test_clipping_of_gradients_together(limit):
    def clipped(*values):
        parts = [value.clone() for value in values]
        norm = ops.clip(parts, limit)
        return torch.tensor(norm, dtype=values[0].dtype), *parts

    many = [
        torch.rand(20_001),
        torch.rand(3, 4, 5, 5).contiguous(memory_format=torch.channels_last),
    ]
    agree(clipped, *many, torch.rand(1))
    agree(clipped, many[0], torch.rand(6, 6)[:, ::2])


@pytest.mark.parametrize("odd", [math.inf, math.nan])
def test_gradients_without_a_norm_stay_as_they_are(odd):
    for way, _ in ways():
        values = [torch.ones(7), torch.full((70_000,), odd)]
        assert not math.isfinite(ops.clip(values, 1e-3)), way
        assert values[0].tolist() == [1.0] * 7, way


def test_where_nothing_is_a_number_absolute_errors_have_the_reference_s_gradient():
    x = torch.tensor([math.nan, math.inf, -math.inf, 1.0] * 40)
    with chainrule.use_backend("reference"):
        expected = ops.absolute_error_grad(x, torch.zeros(160))
    for way, _ in ways():
        found = ops.absolute_error_grad(x, torch.zeros(160))
        assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7)), way


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_squared_error_of_a_large_image_is_not_lost_in_rounding(layout, arranged):
    """Added up one by one in float32, a million equal numbers are a thousandth off."""
    x = torch.full((1, 3, 700, 500), 0.3)
    agree(ops.squared_error, arranged(x, layout), torch.zeros_like(x))


OPTIONS = [
    {},
    {"momentum": 0.875},
    {"momentum": 0.5, "dampening": 0.25, "weight_decay": 0.125},
    {"momentum": 0.75, "nesterov": True, "weight_decay": 0.01},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(3,), (5, 4, 3, 3), (17000,)], ids=str)
def test_sgd_steps(options, shape, arranged):
    for way in in_turn():
        for layout in (
            ["contiguous", "channels_last", "gaps"] if len(shape) == 4 else ["contiguous"]
        ):
            start, gradients = quarters(*shape), [quarters(*shape) for _ in range(4)]
            values = [start.clone(), start.double()]
            if len(shape) == 4:
                values[0] = arranged(values[0], layout)
            for value in values:
                optimizer = chainrule.SGD([value], lr=0.1, **options)
                for gradient in gradients:
                    value.grad = gradient.to(value.dtype)
                    optimizer.step()
            close(values[0], values[1], 1e-6, way)


@pytest.mark.parametrize("kind", [chainrule.Adam, chainrule.AdamW])
@pytest.mark.parametrize("shape", [(3,), (17000,)], ids=str)
def test_adam_steps(kind, shape):
    for way in in_turn():
        start, gradients = quarters(*shape), [torch.randn(*shape) for _ in range(5)]
        values = [start.clone(), start.double()]
        for value in values:
            optimizer = kind([value], lr=0.01, weight_decay=0.1)
            for gradient in gradients:
                value.grad = gradient.to(value.dtype)
                optimizer.step()
        close(values[0], values[1], 1e-6, way)


@pytest.mark.parametrize("kind", [chainrule.SGD, chainrule.Adam])
def test_parameters_of_all_kinds_are_stepped_together(kind):
    """Each goes to the backend that serves it, whatever its neighbours are."""

    def some() -> list[Tensor]:
        torch.manual_seed(0)
        values = [torch.randn(5), torch.randn(4, 3, 3, 3), torch.randn(6).double()]
        values.append(torch.randn(2, 6, 4, 4)[:, ::2])  # gaps: not for the kernels
        for value in values:
            value.grad = torch.randn(value.shape).to(value.dtype)
        values[1].grad = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
        return values

    options: dict[str, Any] = {"momentum": 0.5} if kind is chainrule.SGD else {}
    together, alone = some(), some()
    optimizer = kind(together, lr=0.1, **options)
    others = [kind([value], lr=0.1, **options) for value in alone]
    for _ in range(3):
        optimizer.step()
        for other in others:
            other.step()
    for a, b in zip(together, alone, strict=True):
        assert torch.equal(a, b)
    optimizer.zero_grad()
    assert not any(value.grad.any() for value in together if value.grad is not None)


# -- what would read memory that isn't there ------------------------------------------------------

X, W, GY = torch.zeros(2, 4, 6, 6), torch.zeros(6, 4, 3, 3), torch.zeros(2, 6, 4, 4)
PLAIN = Block(window(3, 1, 0, 1))
TURNED = Block(window(3, 1, 0, 1), transposed=True)


def wide(x: Tensor) -> Tensor:
    """Values of twice as many bytes."""
    return x.double()


MISFITS: list[Callable[[], Any]] = [
    lambda: ops.conv2d_input_grad(GY, wide(W), (6, 6)),
    lambda: ops.conv2d_input_grad(GY, W[0], (6, 6)),
    lambda: ops.conv2d_input_grad(GY, W, (6, 6), groups=4),
    lambda: ops.conv2d_weight_grad(X, wide(GY), (3, 3)),
    lambda: ops.conv2d_weight_grad(X, GY, (3, 3), groups=3),
    lambda: ops.conv_transpose2d_input_grad(X, wide(GY[:, :4, :3, :3]), (4, 4)),
    lambda: ops.conv_transpose2d_weight_grad(GY, wide(X), (3, 3)),
    lambda: ops.conv_transpose2d_weight_grad(GY, X, (3, 3), groups=3),
    lambda: ops.block(X, W[:, :, :2], None, PLAIN),
    lambda: ops.block(X, W[0], None, PLAIN),
    lambda: ops.block(X, W, None, Block(window(3, 2, 1, 1), scale=(2, 2))),
    lambda: ops.block(X, W, None, Block(window(3, 1, 1, 2), scale=(2, 1))),
    lambda: ops.block(GY, W, None, Block(window(3, 1, 1, 1), transposed=True, scale=(2, 2))),
    lambda: ops.block_input_grad(GY, GY, W[:, :, :2], (6, 6), PLAIN),
    lambda: ops.block_input_grad(GY, GY, W[:3], (6, 6), PLAIN),
    lambda: ops.block_input_grad(GY, GY, W, (7, 6), PLAIN),
    lambda: ops.block_input_grad(GY, GY[:, :3], W, (6, 6), PLAIN),
    lambda: ops.block_input_grad(GY, wide(GY), W, (6, 6), PLAIN),
    lambda: ops.block_input_grad(GY, GY, wide(W), (6, 6), PLAIN),
    lambda: ops.block_input_grad(X, X, W, (4, 4), TURNED._replace(groups=5)),
    lambda: ops.block_parameter_grads(X[:1], GY, GY, PLAIN),
    lambda: ops.block_parameter_grads(X[:, :, 1:], GY, GY, PLAIN),
    lambda: ops.block_parameter_grads(X, GY, GY[:, :3], PLAIN),
    lambda: ops.block_parameter_grads(X, GY, wide(GY), PLAIN),
    lambda: ops.block_parameter_grads(X, wide(GY), wide(GY), PLAIN),
    lambda: ops.block_parameter_grads(X, GY, GY, PLAIN._replace(groups=3)),
    lambda: ops.max_pool2d(X, 70000, 1, 35000),
    lambda: ops.add(X, wide(X)),
    lambda: ops.concatenate(X, wide(X)),
    lambda: ops.relu_grad(X, wide(X)),
    lambda: ops.leaky_relu_grad(X, wide(X)),
    lambda: ops.sigmoid_grad(X, wide(X)),
    lambda: ops.squared_error(X, wide(X)),
    lambda: ops.squared_error_grad(X, X[:1]),
    lambda: ops.squared_error_grad(X, wide(X)),
    lambda: ops.absolute_error(X, wide(X)),
    lambda: ops.absolute_error_grad(X, X[:1]),
    lambda: ops.image_errors(X, X[:1]),
    lambda: ops.image_error_grad(X, X[:1], torch.ones(2)),
    lambda: ops.image_error_grad(X, X, torch.ones(7)),
    lambda: ops.image_error_grad(X, X, wide(torch.ones(len(X)))),
    lambda: ops.accumulate(X, wide(X)),
    lambda: ops.sgd_step([X], [X], [X[:1]], [False], 0.1, 0.9, 0, 0, False),
    lambda: ops.sgd_step([X], [wide(X)], [], [False], 0.1, 0, 0, 0, False),
    lambda: ops.adam_step([X], [X], [X[:1]], [X], 0.1, (0.9, 0.99), 1e-8, 0, 1, 1),
    lambda: ops.adam_step([X], [X], [X], [wide(X)], 0.1, (0.9, 0.99), 1e-8, 0, 1, 1),
]


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("call", MISFITS)
def test_what_does_not_fit_is_one_sentence(call, backend):
    """The kernels are given addresses: what is let through, they read."""
    with chainrule.use_backend(backend), pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert re.match(r"[A-Za-z0-9]+: .*\b(got|must|and|has|is) ", str(caught.value))


def test_places_of_another_integer_type_are_understood():
    x, gy = quarters(2, 3, 6, 6), quarters(2, 3, 3, 3)
    _, places = ops.max_pool2d(x, 2, 2)
    expected = ops.max_pool2d_grad(gy, places, (6, 6), 2, 2)
    assert torch.equal(ops.max_pool2d_grad(gy, places.long(), (6, 6), 2, 2), expected)


# -- numbers that are none ------------------------------------------------------------------------


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize(("channels", "outputs"), [(3, 5), (16, 3), (16, 16)])
@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_no_number_reaches_whom_it_concerns_and_nobody_else(
    value, channels, outputs, scale
):
    """The same results are not finite, however the sums are grouped.

    Of the weight's gradient that holds filter by filter: one that meets infinity at the border may
    have a NaN, infinity times the zeros beyond it, at elements that the reference doesn't hurt.
    """
    chainrule.winograd(False)
    layers = Block(window(3, 1, 1, 1), scale=(scale, scale))
    x, w = torch.rand(2, channels, 13, 15), 0.1 + torch.rand(outputs, channels, 3, 3)
    x[1, 2, 0, 4] = x[1, 1, 7, 14] = value
    gy = torch.rand(2, outputs, *layers.output_size((13, 15)))
    gy[0, 1, 9, 9] = gy[1, 0, 2, 5] = value
    calls = [
        lambda to: ops.block(to(x), to(w), None, layers),
        lambda to: ops.block_input_grad(to(gy), to(gy), to(w), (13, 15), layers),
    ]
    for call in calls:
        expected = call(Tensor.double)
        assert not expected.isfinite().all()
        for way in in_turn():
            got = call(Tensor.float)
            assert torch.equal(got.isfinite(), expected.isfinite()), way
            assert torch.equal(got.isnan(), expected.isnan()), way
    exact, _ = ops.block_parameter_grads(x.double(), gy.double(), gy.double(), layers)
    for way in in_turn():
        got, _ = ops.block_parameter_grads(x, gy, gy, layers)
        assert not (got.isfinite() & ~exact.isfinite()).any(), way
        filters = exact.isfinite().all(-1).all(-1)
        assert torch.equal(got.isfinite().all(-1).all(-1), filters), way


@pytest.mark.parametrize("value", [NAN, INF])
def test_by_tiles_it_reaches_the_rest_of_its_tile_as_well(value):
    """A tile is 4 x 4 outputs, computed from 6 x 6 inputs that are mixed before they are used."""
    x, w = torch.rand(2, 16, 24, 24), torch.rand(16, 16, 3, 3)
    x[1, 5, 9, 10] = value
    expected = ops.conv2d(x.double(), w.double(), None, 1, 1).isfinite()
    tiles = torch.ones(2, 16, 24, 24, dtype=torch.bool)
    tiles[1, :, 8:12, 8:12] = False  # the only tile that reads it
    chainrule.winograd(True)
    for way in in_turn():
        got = ops.conv2d(x, w, None, 1, 1).isfinite()
        assert torch.equal(got, tiles), way
        assert not (got & ~expected).any(), way

    gy = torch.rand(2, 16, 24, 24)
    for way in in_turn():
        got = ops.conv2d_weight_grad(x, gy, (3, 3), 1, 1).isfinite()
        assert not got[:, 5].any(), way
        assert got[:, :5].all(), way
        assert got[:, 6:].all(), way


def test_the_smallest_numbers_of_everyone_else_are_left_alone():
    """The kernels take numbers below 1e-38 for zero; that mode ends with them, errors included."""
    x, small = quarters(2, 16, 20, 20), torch.full((40,), 1e-40)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ops.conv2d_weight_grad(x, ops.relu(ops.conv2d(x, quarters(16, 16, 3, 3))), (3, 3))
        with pytest.raises(MemoryError):
            ops.upsample_nearest2d(x, 10**6)
        assert (small * 0.5).all()


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_pooling_of_what_is_no_number(value):
    x = torch.randn(2, 5, 9, 9)
    x[1, 2, 0, 0] = x[0, 3, 4, 4] = x[0, 3, 5, 5] = value
    for way in in_turn():
        y, places = ops.max_pool2d(x, 3, 2, 1)
        expected, _ = ops.max_pool2d(x.double(), 3, 2, 1)
        same_special_values(y, expected, way)
        gx = ops.max_pool2d_grad(torch.ones_like(y), places, (9, 9), 3, 2, 1)
        assert gx.isfinite().all(), way
        assert float(gx.sum()) == y.numel(), way
        same_special_values(ops.avg_pool2d(x, 3, 2, 1), ops.avg_pool2d(x.double(), 3, 2, 1), way)


def test_of_several_nan_the_first_takes_the_gradient():
    x = torch.tensor([[1.0, NAN], [NAN, 2.0]])[None, None]
    for _ in in_turn():
        _, places = ops.max_pool2d(x, 2, 2)
        gx = ops.max_pool2d_grad(torch.ones(1, 1, 1, 1), places, (2, 2), 2, 2)
        assert gx.tolist() == [[[[0, 1], [0, 0]]]]


# -- threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", LARGE[:11], ids=str)
def test_results_repeat_bit_for_bit_and_hardly_depend_on_the_number_of_threads(case):
    layers, x, w, b, gy, y = large_block(case, torch.randn)

    def results() -> tuple[Tensor, ...]:
        forward = ops.block(x, w, b, layers)
        gx = ops.block_input_grad(gy, y, w, (x.shape[2], x.shape[3]), layers)
        error = ops.squared_error(gy, y.contiguous(memory_format=torch.channels_last))
        return forward, gx, *ops.block_parameter_grads(x, gy, y, layers), error

    for tiles in (True, False):
        chainrule.winograd(tiles)
        torch.set_num_threads(1)
        alone = results()
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            first, second = results(), results()
            for one, again, expected in zip(first, second, alone, strict=True):
                assert torch.equal(one, again)
                close(one, expected, TILES, f"{threads} threads")


def test_several_python_threads_at_once():
    """The one that finds the pool taken works alone; nobody waits, nobody mixes results up."""
    torch.set_num_threads(2)
    layers = Block(window(3, 1, 1, 1), epilogue=Epilogue("relu"))
    inputs = [quarters(1, 16, 20 + size, 31) for size in range(12)]
    w = quarters(16, 16, 3, 3)

    def work(x: Tensor) -> tuple[Tensor, ...]:
        y = ops.block(x, w.to(x.dtype), None, layers)
        gx = ops.block_input_grad(y, y, w.to(x.dtype), (x.shape[2], x.shape[3]), layers)
        pooled, _ = ops.max_pool2d(ops.upsample_nearest2d(gx, 2), 2, 2)
        return y, gx, pooled, *ops.block_parameter_grads(x, y, y, layers), ops.squared_error(x, gx)

    expected = [work(x.double()) for x in inputs]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for got, right in zip(pool.map(work, inputs), expected, strict=True):
                close(got, right, TILES, "threads")


FORK = """
import os, threading, torch
from chainrule import ops

torch.set_num_threads(3)
torch.manual_seed(0)
x, w = torch.rand(4, 8, 40, 40), torch.rand(8, 8, 3, 3)
results = lambda: (ops.conv2d(x, w, None, 1, 1), ops.conv2d_weight_grad(x, x, (3, 3), 1, 1))
expected, done = results(), threading.Event()

def right():
    # Not by PyTorch, whose own threads a child waits for in vain.
    return all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(results(), expected))

def keep_busy():
    while not done.is_set():
        results()

other = threading.Thread(target=keep_busy)
other.start()
children = []
for _ in range(8):
    assert right()
    child = os.fork()
    if child == 0:
        first = right()
        tasks = "/proc/self/task"
        helped = not os.path.exists(tasks) or len(os.listdir(tasks)) > 1
        os._exit(0 if first and right() and helped else 1)
    children.append(child)
codes = [os.waitpid(child, 0)[1] for child in children]
done.set()
other.join()
assert right()
assert codes == [0] * 8, codes
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_computes():
    """It has none of its parent's threads, must not wait for them, and starts its own."""
    run(FORK, CHAINRULE_BACKEND="native")


def run(script: str, **environment: str) -> None:
    """Run `script` with a Python like this one, which may have been told to find no packages."""
    alone = ["-S"] if sys.flags.no_site else []
    process = subprocess.Popen(
        [sys.executable, *alone, "-W", "ignore", "-c", script],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children that hang, too
    assert process.returncode == 0, errors


# -- memory ---------------------------------------------------------------------------------------


def test_a_result_is_its_own_until_nobody_has_it():
    x = quarters(2, 8, 64, 64)
    kept = [(y, y.clone()) for y in (ops.upsample_nearest2d(x, scale) for scale in (1, 2, 1, 2))]
    part = ops.concatenate(x, x)[:, 3:5]  # keeps all of its memory alive
    expected = torch.cat((x, x), 1)[:, 3:5]
    for scale in (1, 2, 1, 2, 3, 1):
        ops.upsample_nearest2d(x, scale).fill_(NAN)
        ops.concatenate(x, x).fill_(NAN)
    assert torch.equal(part, expected)
    for y, copy in kept:
        assert torch.equal(y, copy)


not_sanitized = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer keeps freed memory"
)


@not_sanitized
def test_memory_that_is_given_back_is_used_again():
    x = quarters(1, 8, 128, 128)
    addresses = {ops.upsample_nearest2d(x, 2).data_ptr() for _ in range(20)}
    assert len(addresses) <= 2


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@not_sanitized
def test_memory_stays_bounded_whatever_sizes_come():
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def work(start: int) -> None:
        for step in range(60):
            x = torch.ones(1, 4, 150 + (start + 37 * step) % 101, 130 + 53 * step % 89)
            y = ops.upsample_nearest2d(x, 3)  # 4 MB or so
            ops.conv2d(y, torch.ones(2, 4, 1, 1))

    work(0)
    before = resident()
    for round in range(1, 4):
        work(7 * round)
    assert resident() - before < 40 * 2**20


@pytest.mark.parametrize("op", [ops.squared_error, ops.accumulate, lambda a, b: ops.zero([a])])
def test_one_pass_over_memory_takes_no_other_memory(op):
    a, b = torch.ones(1, 3, 1500, 1500), torch.zeros(1, 3, 1500, 1500)  # 26 MiB each
    with memory_limit(2**24):
        op(a, b)


ABSURD: list[Callable[[Tensor], Any]] = [
    lambda x: ops.conv2d(x, torch.ones(2, 1, 1, 1), None, 1, 10**6),
    lambda x: ops.conv2d(x, torch.ones(2, 1, 1, 1), None, 1, 2**31 - 1),
    lambda x: ops.conv2d(x, torch.ones(2, 1, 2, 2), None, 1, 2**31 - 1, 2**31 - 1),
    lambda x: ops.conv_transpose2d(x, torch.ones(1, 1, 2, 2), None, 2**31 - 1),
    lambda x: ops.upsample_nearest2d(x, 2**31 - 1),
    lambda x: ops.upsample_nearest2d(x, 10**6),
    lambda x: ops.concatenate(x.expand(1, 10**12, 2, 2), x.expand(1, 10**12, 2, 2)),
    lambda x: ops.add(x.expand(10**12, 3, 2, 2), x.expand(10**12, 3, 2, 2)),
    lambda x: ops.conv2d(x.expand(1, 10**7, 2, 2), x[:, :, :1, :1].expand(10**7, 10**7, 1, 1)),
]


@pytest.mark.parametrize("call", ABSURD)
def test_absurd_sizes_are_one_sentence(call):
    with memory_limit(2**31), pytest.raises(MemoryError) as caught:
        call(torch.ones(1, 1, 2, 2))
    sentence = r"this needs \d+ MiB in one piece, which can't be had; use a smaller image or batch"
    assert re.fullmatch(sentence, str(caught.value))
    agree(lambda x: ops.upsample_nearest2d(x, 2), quarters(1, 2, 3, 3))


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """No more than this many bytes beyond those in use, wherever that can be asked for.

    Some systems promise any amount of memory, and end the process that uses it.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * os.sysconf("SC_PAGE_SIZE") + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def minus(x: Tensor) -> Tensor:
    """-x, but with x in memory and a bit that says so."""
    z = torch.complex(torch.zeros_like(x), x).conj().imag
    assert z.is_neg()
    return z


def bit(x: Tensor) -> Tensor:
    """-x as `minus`, dense: of the same strides as x."""
    return torch.ops.aten._neg_view(x)


SIGNS: list[Callable[[Callable[[Tensor], Tensor]], Any]] = [
    lambda m: ops.conv2d(m(X), m(W), m(torch.ones(len(W)))),
    lambda m: ops.conv2d_input_grad(m(GY), m(W), (6, 6)),
    lambda m: ops.conv2d_weight_grad(m(X), m(GY), (3, 3)),
    lambda m: ops.block(m(X), W, None, PLAIN._replace(epilogue=Epilogue("relu"))),
    lambda m: ops.max_pool2d(m(X), 2, 2)[0],
    lambda m: ops.avg_pool2d(m(X), 2, 2),
    lambda m: ops.upsample_nearest2d(m(X), 2),
    lambda m: ops.add(X, m(X * 2)),
    lambda m: ops.add(m(X), m(X)),
    lambda m: ops.concatenate(m(X), X),
    lambda m: ops.relu(m(X)),
    lambda m: ops.relu_grad(X, m(X)),
    lambda m: ops.relu_grad(m(X), X),
    lambda m: ops.squared_error(m(X), X * 3),
    lambda m: ops.squared_error(X * 3, m(X)),
    lambda m: ops.squared_error_grad(m(X), X * 3),
]


@pytest.mark.parametrize("make", [minus, bit])
@pytest.mark.parametrize("compute", SIGNS)
def test_a_tensor_whose_sign_is_a_bit_is_read_with_its_sign(compute, make):
    assert torch.allclose(compute(make), compute(torch.neg), atol=1e-5)


@pytest.mark.parametrize("make", [minus, bit])
def test_steps_read_the_sign_too(make):
    x, total, value = torch.randn(8), torch.zeros(8), torch.ones(8)
    ops.accumulate(total, make(x))
    assert torch.equal(total, -x)
    ops.sgd_step([value], [make(x)], [], [False], 1.0, 0.0, 0.0, 0.0, False)
    assert torch.allclose(value, 1 + x)


def test_kept_memory_is_given_back_and_counted():
    chainrule.empty_cache()
    x = torch.zeros(1, 64, 256, 256).contiguous(memory_format=torch.channels_last)
    y = ops.relu(x)
    assert chainrule.empty_cache() < y.nbytes  # it is in use
    del y
    assert chainrule.empty_cache() >= x.nbytes
    assert chainrule.empty_cache() == 0
    assert torch.equal(ops.relu(x), x)


def test_other_threads_run_while_a_kernel_does():
    """A kernel that held the interpreter's lock would let nobody count."""
    x = torch.zeros(1, 64, 1024, 1024).contiguous(memory_format=torch.channels_last)
    ops.upsample_nearest2d(x[:, :, :8, :8], 2)
    done, counted = threading.Event(), []
    started = threading.Event()

    def count() -> None:
        started.set()
        while not done.is_set():
            counted.append(time.perf_counter())
            time.sleep(0.001)

    other = threading.Thread(target=count)
    other.start()
    started.wait()
    before = time.perf_counter()
    ops.upsample_nearest2d(x, 2)
    after = time.perf_counter()
    done.set()
    other.join()
    assert sum(before < moment < after for moment in counted) > 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forking_while_another_thread_gives_memory_back():
    """A lock that another thread holds at that moment would be held in the child for good."""
    script = """
import os, sys, threading, signal, torch, chainrule
from chainrule import ops
x = torch.zeros(1, 4, 64, 80).contiguous(memory_format=torch.channels_last)
ops.add(x, x)  # loads the kernels: a fork in the middle of an import is Python's own trap
stop = False
def work():
    while not stop:
        ops.add(x, x)
        chainrule.empty_cache()
threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
bad = 0
for _ in range(150):
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        ops.add(x, x)
        chainrule.empty_cache()
        os._exit(0)
    bad += os.waitpid(child, 0)[1] != 0
stop = True
for thread in threads:
    thread.join()
assert not bad, bad
"""
    run(script, CHAINRULE_BACKEND="native")


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_copies_are_the_same_bits(layout):
    x = torch.randn(2, 3, 40, 30)
    x[0, 0, 0, :4] = torch.tensor([INF, NAN, -0.0, 1e-42])
    if layout == "channels_last":
        x = x.contiguous(memory_format=torch.channels_last)
    source = x[..., ::2] if layout == "sliced" else x
    for _ in in_turn():
        for target in (torch.empty_like(source), torch.empty(source.shape)):
            ops.copy(target, source)
            assert torch.equal(target.view(torch.int32), source.contiguous().view(torch.int32))
    with pytest.raises(ValueError, match="the target has shape"):
        ops.copy(torch.empty(2), torch.empty(3))

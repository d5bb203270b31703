"""Every layer that is exported has a line here: gradcheck, and the same as its twin in PyTorch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from chainrule import Module, gradcheck, layers


class Case(NamedTuple):
    """A layer, its twin, and the shapes of what they read."""

    ours: Callable[[], Module]
    theirs: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    integers: int = 0
    """Read in place of floats: those below it."""


class Plain(nn.Module):
    """A function without parameters."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class OverChannels(nn.LayerNorm):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


class Itself(nn.MultiheadAttention):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x, x, x)[0]


class Long(nn.LSTM):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x)[0]


class Gated(nn.GRU):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return super().forward(x)[0]


def named(name: str, *arguments: Any, shape: tuple[int, ...], **options: Any) -> Case:
    """A layer whose twin has its name and its arguments."""
    ours, theirs = getattr(layers, name), getattr(nn, name)
    return Case(
        lambda: ours(*arguments, **options), lambda: theirs(*arguments, **options), (shape,)
    )


IMAGES, ROWS = (2, 4, 5, 6), (3, 4, 6)
CASES: dict[str, Case] = {
    "AdaptiveAvgPool2d": named("AdaptiveAvgPool2d", (3, 4), shape=IMAGES),
    "AvgPool2d": named("AvgPool2d", 2, 1, 1, shape=IMAGES),
    "BatchNorm2d": named("BatchNorm2d", 4, shape=IMAGES),
    "BilinearUpsampling": Case(
        lambda: layers.BilinearUpsampling(2),
        lambda: nn.Upsample(scale_factor=2, mode="bilinear"),
        (IMAGES,),
    ),
    "Conv1d": named("Conv1d", 4, 6, 3, 2, 1, groups=2, shape=ROWS),
    "Conv2d": named("Conv2d", 4, 6, 3, 2, 1, groups=2, shape=IMAGES),
    "Conv3d": named("Conv3d", 2, 4, (2, 3, 1), 1, 1, groups=2, shape=(1, 2, 3, 4, 3)),
    "ConvTranspose1d": named("ConvTranspose1d", 4, 6, 3, 2, 1, 1, groups=2, shape=ROWS),
    "ConvTranspose2d": named("ConvTranspose2d", 4, 6, 3, 2, 1, 1, groups=2, shape=IMAGES),
    "Dropout": Case(lambda: layers.Dropout().eval(), lambda: nn.Dropout(), (ROWS,)),
    "ELU": named("ELU", 0.7, shape=ROWS),
    "Embedding": Case(
        lambda: layers.Embedding(7, 5),
        lambda: nn.Embedding(7, 5),
        ((3, 4),),
        integers=7,
    ),
    "Flatten": named("Flatten", shape=ROWS),
    "GELU": named("GELU", shape=ROWS),
    "GRU": Case(lambda: layers.GRU(6, 5, 2), lambda: Gated(6, 5, 2), (ROWS,)),
    "GroupNorm": named("GroupNorm", 2, 4, shape=IMAGES),
    "Identity": named("Identity", shape=ROWS),
    "InstanceNorm2d": named("InstanceNorm2d", 4, affine=True, shape=IMAGES),
    "LSTM": Case(
        lambda: layers.LSTM(6, 5, bidirectional=True),
        lambda: Long(6, 5, bidirectional=True),
        (ROWS,),
    ),
    "LayerNorm": named("LayerNorm", (4, 6), shape=ROWS),
    "LayerNorm2d": Case(lambda: layers.LayerNorm2d(4), lambda: OverChannels(4), (IMAGES,)),
    "LeakyReLU": named("LeakyReLU", 0.1, shape=ROWS),
    "Linear": named("Linear", 6, 5, shape=ROWS),
    "MaxPool2d": named("MaxPool2d", 3, 2, 1, shape=IMAGES),
    "MultiHeadAttention": Case(
        lambda: layers.MultiHeadAttention(6, 2), lambda: Itself(6, 2), (ROWS,)
    ),
    "Multiply": Case(layers.Multiply, lambda: Plain(torch.mul), (ROWS, ROWS)),
    "NearestUpsampling": Case(
        lambda: layers.NearestUpsampling(2), lambda: nn.Upsample(scale_factor=2), (IMAGES,)
    ),
    "PixelShuffle": named("PixelShuffle", 2, shape=IMAGES),
    "PixelUnshuffle": named("PixelUnshuffle", 2, shape=(2, 3, 4, 6)),
    "RMSNorm": named("RMSNorm", 6, shape=ROWS),
    "ReLU": named("ReLU", shape=ROWS),
    "ReflectionPad2d": named("ReflectionPad2d", (1, 2, 3, 0), shape=IMAGES),
    "ReplicationPad2d": named("ReplicationPad2d", (1, 2, 3, 0), shape=IMAGES),
    "SiLU": named("SiLU", shape=ROWS),
    "Sigmoid": named("Sigmoid", shape=ROWS),
    "Softmax": named("Softmax", 1, shape=ROWS),
    "Softplus": named("Softplus", 2.0, shape=ROWS),
    "Tanh": named("Tanh", shape=ROWS),
    "Unflatten": named("Unflatten", 2, (2, 3), shape=ROWS),
    "ZeroPad2d": named("ZeroPad2d", (1, 2, 3, 0), shape=IMAGES),
}

WITHOUT_TWIN: dict[str, Callable[[], Module]] = {
    "Inverse": lambda: layers.Inverse(layers.MonotoneSpline(5, -8, 8)),
    "MonotoneSpline": lambda: layers.MonotoneSpline(5, -8, 8),
    "PiecewiseLinear": lambda: layers.PiecewiseLinear(5, -8, 8),
    "PositiveSpline": lambda: layers.PositiveSpline(5, -8, 8),
}
"""PyTorch has none of these; test_spline.py compares them with what they are made of."""

ABSENT = {"device", "dtype", "inplace", "padding_mode", "bias"}
"""Of all layers. In new versions of PyTorch a `bias` is an argument of batch normalization, too."""
ABSENT_FROM = {
    "AvgPool2d": {"ceil_mode", "divisor_override"},
    "Embedding": {"max_norm", "norm_type", "scale_grad_by_freq", "sparse", "_weight", "_freeze"},
    "MaxPool2d": {"ceil_mode", "return_indices"},
}
OUR_OWN = {
    "Conv2d": {"weight_init"},
    "ConvTranspose2d": {"weight_init"},
    "MultiHeadAttention": {"causal"},
}


def test_every_layer_is_here():
    exported = {getattr(layers, name).__name__ for name in layers.__all__}
    assert exported == {*CASES, *WITHOUT_TWIN}


def inputs_of(case: Case, smooth_input: Callable[..., Tensor]) -> list[Tensor]:
    if case.integers:
        return [torch.randint(case.integers, shape) for shape in case.shapes]
    return [smooth_input(*shape) for shape in case.shapes]


@pytest.mark.parametrize("name", CASES)
def test_passes_gradcheck(name, smooth_input):
    case = CASES[name]
    gradcheck(case.ours().to(torch.float64), *inputs_of(case, smooth_input))


@pytest.mark.parametrize("name", WITHOUT_TWIN)
def test_without_a_twin_passes_gradcheck(name, smooth_input):
    gradcheck(WITHOUT_TWIN[name]().to(torch.float64), smooth_input(3, 7))


@pytest.mark.parametrize("name", CASES)
def test_starts_as_its_twin(name, assert_starts_alike):
    """Names, order, shapes and values from one seed: so the distribution is the same, too."""
    assert_starts_alike(CASES[name].ours, CASES[name].theirs)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CASES)
def test_equals_its_twin(name, dtype, smooth_input, assert_near):
    """Output, the gradients of every input and parameter, and what the pass leaves in buffers."""
    case = CASES[name]
    ours, theirs = case.ours().to(dtype), case.theirs().to(dtype)
    for value in ours.parameters():
        value.add_(0.1 * torch.rand_like(value))
    theirs.load_state_dict(ours.state_dict())
    theirs.train(ours.training)
    inputs = inputs_of(case, smooth_input)
    if not case.integers:
        inputs = [x.to(dtype) for x in inputs]
    sources = [x.clone().requires_grad_(not case.integers) for x in inputs]
    expected, y = theirs(*sources), ours(*inputs)
    assert_near(y, expected, "output")
    gy = 0.1 + torch.rand_like(expected)
    if expected.requires_grad:
        expected.backward(gy)
    gx = ours.backward(gy)
    for got, source in zip(gx if isinstance(gx, tuple) else (gx,), sources, strict=True):
        if not case.integers:
            assert_near(got, source.grad, "gradient of an input")
    twins = dict(theirs.named_parameters())
    assert [*twins] == [name for name, _ in ours.named_parameters()]
    for name, value in ours.named_parameters():
        assert_near(value.grad, twins[name].grad, f"gradient of {name}")
    state = ours.state_dict()
    for name, value in theirs.named_buffers():
        assert_near(state[name], value, name)


def signature(layer: Any) -> dict[str, Any]:
    found = inspect.signature(layer).parameters.items()
    return {name: each.default for name, each in found if name not in ("args", "kwargs", "self")}


@pytest.mark.parametrize("name", [name for name in CASES if hasattr(nn, name)])
def test_arguments_and_defaults_are_pytorchs(name):
    """In PyTorch's order; what is missing is listed here and in docs/with-pytorch.md."""
    ours, theirs = signature(getattr(layers, name)), signature(getattr(nn, name))
    if name in ("LSTM", "GRU"):  # PyTorch's take whatever comes
        theirs = signature(nn.RNNBase.__init__)
        del theirs["mode"]
    own = OUR_OWN.get(name, set())
    shared = {key: value for key, value in ours.items() if key not in own}
    assert [*shared] == [key for key in theirs if key in shared]
    for key, value in shared.items():
        assert theirs[key] == value or (name, key) == ("Softmax", "dim")
    assert {*theirs} - {*shared} <= ABSENT | ABSENT_FROM.get(name, set())


def test_attentions_arguments_and_defaults_are_pytorchs():
    ours, theirs = signature(layers.MultiHeadAttention), signature(nn.MultiheadAttention)
    assert ours.pop("causal") is False
    assert ours == {key: value for key, value in theirs.items() if key not in ABSENT or key in ours}


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
def test_a_state_of_another_size_than_the_output_is_refused(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__}: there is no proj_size, got 3"):
        kind(4, 5, proj_size=3)

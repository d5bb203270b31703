"""The numbers of a summary against counts made in other ways."""

import gc
import re
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from chainrule import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Identity,
    LeakyReLU,
    MaxPool2d,
    Module,
    NearestUpsampling,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    Tanh,
    TapeError,
    fuse,
    ops,
    summary,
)

SHAPE = (2, 4, 17, 12)


def nets() -> tuple[Sequential, nn.Sequential]:
    ours = Sequential(
        Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), groups=2),
        BatchNorm2d(6),
        ReLU(),
        MaxPool2d(3, stride=1, padding=1),
        ConvTranspose2d(6, 8, 4, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2),
        AvgPool2d(2),
        NearestUpsampling((1, 3)),
        Conv2d(8, 3, 3, padding="same", bias=False),
        Tanh(),
    )
    theirs = nn.Sequential(
        nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.ConvTranspose2d(6, 8, 4, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=(1, 3)),
        nn.Conv2d(8, 3, 3, padding="same", bias=False),
        nn.Tanh(),
    )
    return ours, theirs


def test_shapes_parameters_and_multiply_adds_equal_those_of_torch():
    ours, theirs = nets()
    told = summary(ours, SHAPE)
    x = torch.randn(SHAPE)
    flops = []
    shapes = []
    for layer in theirs:
        with FlopCounterMode(display=False) as counter:
            x = layer(x)
        flops.append(counter.get_total_flops())
        shapes.append(tuple(x.shape))
    assert [row.output_shape for row in told.rows] == shapes
    assert [2 * row.multiply_adds for row in told.rows] == flops
    assert 2 * told.multiply_adds == sum(flops)
    sizes = [sum(value.numel() for value in layer.parameters()) for layer in theirs]
    assert [row.parameters for row in told.rows] == sizes
    assert told.parameters == sum(sizes)
    assert told.input_shape == SHAPE
    assert [row.name for row in told.rows] == [str(index) for index in range(9)]
    assert [row.layer for row in told.rows][:2] == ["Conv2d", "BatchNorm2d"]


def u_net() -> Sequential:
    middle = Sequential(Conv2d(6, 7, 3, stride=2, padding=1), ReLU(), ConvTranspose2d(7, 5, 2, 2))
    return Sequential(
        Conv2d(4, 6, 3, padding=1),
        ReLU(),
        SkipConcat(middle),
        Residual(Sequential(Conv2d(11, 11, 1), ReLU())),
        MaxPool2d(2),
        ConvTranspose2d(11, 3, 3, stride=2, padding=1, output_padding=1),
        Conv2d(3, 3, 1),  # keeps what padding was cut off from
    )


def blocks() -> Sequential:
    """Sequentials in Sequentials, as networks built from blocks have them, and all that merges."""
    up = Sequential(NearestUpsampling(2), Conv2d(8, 6, 3, padding=1), Sigmoid())
    down = Sequential(Conv2d(6, 8, 2, stride=2), ReLU(), Sequential(Conv2d(8, 8, 1), Tanh()))
    return Sequential(
        Sequential({"conv": Conv2d(4, 6, 3, padding=1), "act": LeakyReLU(0.1)}),
        Residual(Sequential(down, up)),
        ConvTranspose2d(6, 9, 2, 2),
        ReLU(),
        MaxPool2d(2),
        Conv2d(9, 3, 1),
    )


MODELS: list[Callable[[], Module]] = [
    lambda: nets()[0],
    u_net,
    blocks,
    lambda: Conv2d(4, 4, 1),
    Identity,
    lambda: fuse(nets()[0]),
    lambda: fuse(u_net()),
    lambda: fuse(blocks()),
]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_memory_is_what_a_pass_really_keeps(
    make: Callable[[], Module], dtype: torch.dtype, live_bytes
):
    shape = (2, 4, 16, 12)
    before = live_bytes()
    model = make().to(dtype)
    buffers = sum(
        value.nbytes
        for _, module in model.named_modules()
        for name, value in vars(module).items()
        if name in module.buffers and value is not None
    )
    pullback = model.pullback(torch.randn(shape, dtype=dtype))[1]
    assert summary(model, shape).training_bytes == live_bytes() - before - buffers
    del pullback


@pytest.fixture
def new_bytes(live_bytes) -> Iterator[Callable[[], int]]:
    """`live_bytes` of tensors made from here on, which are quickly looked through."""
    gc.freeze()
    yield live_bytes
    gc.unfreeze()


@pytest.mark.parametrize("make", MODELS)
def test_inference_memory_is_what_a_pass_really_needs(
    make: Callable[[], Module], new_bytes, monkeypatch
):
    shape = (2, 4, 16, 12)
    model = make().eval()
    weights = sum(value.nbytes for value in model.parameters())
    told = summary(model, shape)
    before, peak = new_bytes(), 0

    def watched(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(*arguments):
            nonlocal peak
            y = function(*arguments)
            peak = max(peak, new_bytes() - before)
            return y

        return call

    for name in ("add", "concatenate"):  # where containers join what they hold
        monkeypatch.setattr(ops, name, watched(getattr(ops, name)))
    for module in {module for _, module in model.named_modules()}:
        for step in module.steps if isinstance(module, Sequential) else [module]:
            step.run = watched(step.run)  # type: ignore[method-assign]
    model.infer(torch.randn(shape))
    assert told.inference_bytes == weights + peak


def test_a_sequential_in_another_holds_nothing_longer():
    layers = [Conv2d(4, 30, 1), Conv2d(30, 6, 1), Conv2d(6, 30, 1), Conv2d(30, 3, 1)]
    flat = summary(Sequential(*layers), SHAPE)
    nested = summary(Sequential(layers[0], Sequential(*layers[1:3]), layers[3]), SHAPE)
    assert nested.inference_bytes == flat.inference_bytes
    assert [row.output_shape for row in nested.rows] == [row.output_shape for row in flat.rows]


def test_merged_layers_are_a_row_that_names_them():
    apart, merged = summary(blocks(), (1, 4, 16, 12)), summary(fuse(blocks()), (1, 4, 16, 12))
    assert [(row.name, row.layer) for row in merged.rows] == [
        ("0.conv+act", "Conv2d + LeakyReLU"),
        ("1.inner.0.0+1", "Conv2d + ReLU"),
        ("1.inner.0.2.0", "Conv2d"),
        ("1.inner.0.2.1", "Tanh"),
        ("1.inner.1.0+1+2", "NearestUpsampling + Conv2d + Sigmoid"),
        ("2+3", "ConvTranspose2d + ReLU"),
        ("4", "MaxPool2d"),
        ("5", "Conv2d"),
    ]
    for count in ("parameters", "multiply_adds"):
        costs = [
            [value for row in told.rows if (value := getattr(row, count))]
            for told in (apart, merged)
        ]
        assert costs[0] == costs[1]
        assert getattr(apart, count) == getattr(merged, count)
    assert merged.training_bytes < apart.training_bytes
    shapes = {row.name.split("+")[-1]: row.output_shape for row in merged.rows}
    assert shapes["4"] == (1, 9, 16, 12)
    assert shapes["2"] == (1, 6, 16, 12)  # of 1.inner.1.0+1+2


def test_inference_memory_is_that_of_the_worst_moment():
    n, area = 2, 16 * 12
    plain = Sequential(Conv2d(4, 6, 1), ReLU(), Conv2d(6, 20, 1), ReLU(), Conv2d(20, 3, 1))
    weights = 4 * sum(value.numel() for value in plain.parameters())
    told = summary(plain, (n, 4, 16, 12))
    # The input is the caller's and stays; the widest activation and what is made from it join it.
    assert told.inference_bytes == weights + 4 * n * area * (4 + 20 + 20)

    skip = SkipConcat(Conv2d(4, 30, 1))
    weights = 4 * sum(value.numel() for value in skip.parameters())
    told = summary(skip, (n, 4, 16, 12))
    # The moment of joining: x, f(x), and [x, f(x)].
    assert told.inference_bytes == weights + 4 * n * area * (4 + 30 + 34)

    nested = Sequential(Conv2d(4, 6, 1), SkipConcat(Sequential(Conv2d(6, 2, 1), Residual(ReLU()))))
    weights = 4 * sum(value.numel() for value in nested.parameters())
    told = summary(nested, (n, 4, 16, 12))
    assert told.inference_bytes == weights + 4 * n * area * (4 + 6 + 2 + 8)


def test_a_layer_at_two_places_has_a_row_a_call_and_is_counted_once():
    conv = Conv2d(3, 3, 3, padding=1)
    told = summary(Sequential(conv, ReLU(), conv), (1, 3, 8, 8))
    assert [row.layer for row in told.rows] == ["Conv2d", "ReLU", "Conv2d"]
    assert [row.name for row in told.rows] == ["0", "1", "0"]
    assert told.multiply_adds == 2 * 64 * 3 * 3 * 9
    assert told.parameters == 3 * 3 * 9 + 3


def test_names_are_those_of_the_state_dict():
    told = summary(Sequential({"in": Residual(Conv2d(2, 2, 1)), "out": ReLU()}), (1, 2, 4, 4))
    assert [row.name for row in told.rows] == ["in.inner", "out"]


@pytest.mark.parametrize("momentum", [0.1, None])
def test_the_model_is_not_touched(momentum):
    model = Sequential(Conv2d(3, 4, 3), BatchNorm2d(4, momentum=momentum), ReLU())
    y = model.forward(torch.randn(2, 3, 8, 8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [dict(vars(module)) for _, module in model.named_modules()]
    state = torch.get_rng_state()
    summary(model, (1, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [dict(vars(module)) for _, module in model.named_modules()] == attributes
    assert all(gradient.abs().max() == 0 for _, gradient in model.param())
    assert torch.equal(torch.get_rng_state(), state)
    model.backward(torch.ones_like(y))  # the pass that waited is still there
    with pytest.raises(TapeError):
        model.backward(torch.ones_like(y))


def test_nothing_is_computed_however_large_the_input(live_bytes):
    before = live_bytes()
    told = summary(Conv2d(3, 8, 3, padding=1), (1000, 3, 100_000, 100_000))
    assert told.multiply_adds == 1000 * 10**10 * 8 * 27
    assert live_bytes() == before


def test_the_table_shows_it_all():
    text = str(summary(u_net(), (1, 4, 16, 12)))
    lines = text.splitlines()
    assert lines[0].split() == ["name", "layer", "output", "parameters", "multiply-adds"]
    assert re.split("  +", lines[2]) == ["0", "Conv2d", "1 x 6 x 16 x 12", "222", "41,472"]
    assert "input 1 x 4 x 16 x 12: 1,196 parameters, 105,552 multiply-adds" in text
    assert lines[-1].startswith("memory: training ")
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 8, 8), r"Conv2d: expected 4 input channels \(weight is .*\), got 3"),
        ((4, 8, 8), r"Conv2d: expected the input to be \(N, C, H, W\), got \(4, 8, 8\)"),
        ((1, 4, 0, 8), "Conv2d: the input is empty"),
    ],
)
def test_a_shape_the_model_does_not_take(shape, message):
    with pytest.raises(ValueError, match=message):
        summary(u_net(), shape)


def test_an_input_stands_for_its_shape():
    model = Sequential(Conv2d(3, 8, 3))
    assert summary(model, torch.rand(2, 3, 8, 8)) == summary(model, (2, 3, 8, 8))

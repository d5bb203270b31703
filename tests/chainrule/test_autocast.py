"""Mixed precision: which op computes in which type, how near that comes, and who is left alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from chainrule import (
    GRU,
    L0,
    L1,
    LSTM,
    MSE,
    SGD,
    SSIM,
    Adam,
    BatchNorm2d,
    BCEWithLogits,
    Charbonnier,
    Conv2d,
    CrossEntropy,
    Huber,
    InstanceNorm2d,
    LayerNorm2d,
    Linear,
    LogMSE,
    LossScaler,
    Module,
    ReLU,
    Residual,
    RMSNorm,
    Sequential,
    Softmax,
    autocast,
    capture,
    fuse,
    gradcheck,
    losses,
    ops,
)
from chainrule.module import as_tuple
from tests.chainrule.layers.test_every_layer import CASES as EVERY

LOW = [torch.bfloat16, torch.float16]
CLOSE = {torch.bfloat16: 4e-2, torch.float16: 5e-3}
"""Largest error beside the largest value: some ten roundings."""

LOSSES = [L0, L1, MSE, SSIM, BCEWithLogits, Charbonnier, CrossEntropy, Huber, LogMSE]


CASES: dict[str, tuple[Callable[[], Module], tuple[tuple[int, ...], ...], int]] = {
    **{name: (case.ours, case.shapes, case.integers) for name, case in EVERY.items()},
    "InstanceNorm2d that tracks": (
        lambda: InstanceNorm2d(4, track_running_stats=True),
        ((2, 4, 5, 6),),
        0,
    ),
    "GRU with its state": (lambda: GRU(6, 5), ((3, 4, 6), (1, 4, 5)), 0),
    "LSTM with its state": (lambda: LSTM(6, 5), ((3, 4, 6), (1, 4, 5), (1, 4, 5)), 0),
}


class Pass(NamedTuple):
    outputs: list[Tensor]
    inputs: list[Any]
    parameters: list[Tensor]
    """The last two are gradients."""


def passes(model: Module, inputs: list[Tensor]) -> Pass:
    random = torch.Generator().manual_seed(2)
    model.zero_grad()
    y, back = model.pullback(*inputs)
    gy = [torch.rand(each.shape, generator=random).to(each.dtype) for each in as_tuple(y)]
    gx = back(tuple(gy) if isinstance(y, tuple) else gy[0])
    return Pass([*as_tuple(y)], [*as_tuple(gx)], [gradient for _, gradient in model.param()])


@pytest.mark.parametrize("before", ["nothing", "a product"])
@pytest.mark.parametrize("dtype", LOW, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_every_layer_comes_near_to_float32_with_its_gradients(name, dtype, before):
    """What comes from a product is low; states are float32 all the same."""
    make, shapes, integers = CASES[name]
    torch.manual_seed(0)
    ours, plain = make(), make()
    plain.load_state_dict(ours.state_dict())
    random = torch.Generator().manual_seed(1)
    inputs = [
        torch.randint(integers, shape, generator=random)
        if integers
        else torch.rand(shape, generator=random).to(dtype).float()
        for shape in shapes
    ]
    expected = passes(plain, inputs)
    if before == "a product" and not integers:
        inputs[0] = inputs[0].to(dtype)
    with autocast(dtype):
        found = passes(ours, inputs)
    for gradient, x in zip(found.inputs, inputs, strict=True):
        assert (gradient is None) if integers else gradient.dtype == x.dtype
    assert all(gradient.dtype == torch.float32 for gradient in found.parameters)
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        if other is not None:  # of integers
            error = float((one.float() - other).abs().max())
            assert error <= CLOSE[dtype] * max(float(other.abs().max()), 0.1), error
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(
            ours.state_dict()[name], value, rtol=CLOSE[dtype], atol=CLOSE[dtype]
        )


@pytest.mark.parametrize("low", ["prediction", "target", "neither"])
@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_is_float32_s_of_the_same_values(kind, low):
    """To a rounding: what is low is rounded before, and nothing after."""
    random = torch.Generator().manual_seed(0)
    prediction = torch.rand(2, 1, 12, 12, generator=random).bfloat16().float()
    target = torch.rand(2, 1, 12, 12, generator=random).bfloat16().float()
    loss = kind()
    expected = loss.forward(prediction, target)
    gradient = loss.backward()
    inputs = {"prediction": prediction, "target": target}
    if low in inputs:
        inputs[low] = inputs[low].bfloat16()
    with autocast(torch.bfloat16):
        value = loss.forward(*inputs.values())
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(loss.backward(), gradient.to(inputs["prediction"].dtype))


def test_small_values_are_normalized_by_float32_s_epsilon():
    x = 1e-3 * torch.rand(3, 6).bfloat16()
    with autocast(torch.bfloat16):
        y = RMSNorm(6).infer(x)
    torch.testing.assert_close(y, RMSNorm(6).infer(x.float()))


def test_products_are_low_and_sums_are_not():
    x = torch.rand(2, 3, 5, 5)
    with autocast(torch.bfloat16):
        low = Conv2d(3, 4, 3).infer(x)
        assert low.dtype == torch.bfloat16
        assert ReLU().infer(low).dtype == torch.bfloat16
        assert Linear(5, 2).infer(x).dtype == torch.bfloat16
        for layer in (BatchNorm2d(4), LayerNorm2d(4), Softmax(1)):
            assert layer.infer(low).dtype == torch.float32
        assert MSE().forward(low, low.float()).dtype == torch.float32
        logits = torch.rand(4, 3).bfloat16()
        assert CrossEntropy().forward(logits, torch.arange(4) % 3).dtype == torch.float32
        assert Residual(Conv2d(3, 3, 3, padding=1)).infer(x).dtype == torch.float32


def test_what_is_added_to_every_sample_is_cast_to_the_wider_type():
    x, places = torch.rand(2, 3, 4), torch.rand(3, 4)
    with autocast(torch.bfloat16):
        assert ops.shift(x.bfloat16(), places).dtype == torch.float32
        assert ops.shift(x.bfloat16(), places.bfloat16()).dtype == torch.bfloat16


def test_every_loss_is_in_the_list_above():
    assert {getattr(losses, name) for name in losses.__all__} - {losses.Loss} == {*LOSSES}


def test_it_holds_here_and_nowhere_else():
    layer, x, elsewhere = Conv2d(1, 1, 3), torch.rand(1, 1, 4, 4), []
    with autocast(torch.bfloat16):
        thread = threading.Thread(target=lambda: elsewhere.append(layer.infer(x).dtype))
        thread.start()
        thread.join()
        with autocast(None):
            assert layer.infer(x).dtype == torch.float32
        with autocast(torch.float16):
            assert layer.infer(x).dtype == torch.float16
        assert layer.infer(x).dtype == torch.bfloat16
    assert elsewhere == [torch.float32]
    assert layer.infer(x).dtype == torch.float32
    with pytest.raises(ValueError, match=r"choose torch.bfloat16 or torch.float16, got torch.int8"):
        autocast(torch.int8).__enter__()


def test_a_backward_pass_computes_as_its_forward_pass_did():
    layer, x = Conv2d(1, 2, 3), torch.rand(1, 1, 5, 5)
    gy = torch.rand(1, 2, 3, 3)
    with autocast(torch.bfloat16):
        back = layer.pullback(x)[1]
    assert torch.equal(back(gy.bfloat16()), back_within(layer, x, gy))
    expected = layer.pullback(x)[1](gy)
    back = layer.pullback(x)[1]
    with autocast(torch.bfloat16):
        assert torch.equal(back(gy), expected)


def back_within(layer: Module, x: Tensor, gy: Tensor) -> Tensor:
    with autocast(torch.bfloat16):
        return layer.pullback(x)[1](gy.bfloat16())


def test_float64_is_never_touched():
    torch.manual_seed(0)
    with autocast(torch.bfloat16):
        gradcheck(Sequential(Conv2d(2, 3, 3), BatchNorm2d(3)).double(), torch.rand(2, 2, 5, 5))


def model_of() -> Module:
    torch.manual_seed(0)
    return fuse(Sequential(Conv2d(1, 8, 3, padding=1), ReLU(), Conv2d(8, 1, 3, padding=1)))


@pytest.mark.parametrize("dtype", LOW, ids=str)
def test_a_network_learns_as_in_float32(dtype):
    random = torch.Generator().manual_seed(0)
    x = torch.rand(4, 1, 8, 8, generator=random)
    ends = []
    for low in (None, dtype):
        model, loss, scaler = model_of(), MSE(), LossScaler(2.0**10)
        optimizer, value = Adam(model.parameters(), lr=0.01), torch.zeros(())
        for _ in range(25):
            optimizer.zero_grad()
            with autocast(low):
                value = loss.forward(model.forward(x), x)
            model.backward(loss.backward(scaler.scale), input_gradient=False)
            assert scaler.step(optimizer)
        ends.append(float(value))
    assert ends[0] == pytest.approx(ends[1], rel=0.05)


def test_a_captured_call_casts_as_it_did_when_it_was_recorded():
    model, x = model_of(), torch.rand(2, 1, 8, 8)
    with autocast(torch.bfloat16):
        expected = model.infer(x)
        captured = capture(model.infer, torch.zeros_like(x))
        assert torch.equal(captured(x), expected)


def test_a_gradient_that_is_not_finite_halves_the_scale_and_changes_no_weight():
    weight = torch.ones(2)
    weight.grad = torch.zeros(2)
    optimizer, scaler = SGD([weight], lr=1.0), LossScaler(8.0, patience=2)
    weight.grad[0] = float("inf")
    assert not scaler.step(optimizer)
    assert scaler.scale == 4
    assert weight.tolist() == [1, 1]
    for scale in (4, 8):
        weight.grad[:] = 2.0
        assert scaler.step(optimizer, clip_norm=100.0)
        assert scaler.scale == scale
    assert weight.tolist() == [0, 0]


@pytest.mark.parametrize(("scale", "patience"), [(0.0, 1), (float("inf"), 1), (1.0, 0)])
def test_a_scaler_that_can_not_be_is_refused(scale, patience):
    with pytest.raises(ValueError, match="got"):
        LossScaler(scale, patience)

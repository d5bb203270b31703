"""What `test_triton.py` runs: each kernel on small odd shapes against the reference in float64.

On a machine with a GPU `pytest tests/chainrule/triton_cases.py` runs the kernels there.
"""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor

from chainrule.backends import reference as theirs
from chainrule.backends.block import ACTIVATIONS, Block, Epilogue
from chainrule.geometry import Window

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not (INTERPRETED or torch.cuda.is_available()):
    pytest.skip("needs a GPU, or TRITON_INTERPRET=1", allow_module_level=True)
kernels: Any = pytest.importorskip("chainrule.backends.triton")

reference: Any = theirs
DEVICE = "cpu" if INTERPRETED else "cuda"
CLOSE = {torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Largest error beside the largest value."""
DTYPES = [torch.float32, torch.float16, *([] if INTERPRETED else [torch.bfloat16])]
# bfloat16 products come out wrong in the interpreter.


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def close(found: Any, expected: Any, dtype: torch.dtype) -> None:
    if isinstance(expected, tuple):
        for one, other in zip(found, expected, strict=True):
            close(one, other, dtype)
        return
    assert found.shape == expected.shape
    assert found.dtype == dtype
    error = float((found.double() - expected.double()).abs().max())
    assert error <= CLOSE[dtype] * max(float(expected.double().abs().max()), 1e-3), error


def doubled(*values: Any) -> list[Any]:
    return [value.double() if isinstance(value, Tensor) else value for value in values]


def laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last)
    if layout == "sliced":
        wide = torch.zeros(*x.shape[:3], 2 * x.shape[3], dtype=x.dtype, device=x.device)
        wide[..., ::2] = x
        return wide[..., ::2]
    return x


BLOCKS = {
    "plain": (Block(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))), (2, 3, 5, 7), 4),
    "strided": (Block(Window((4, 3), (2, 3), (1, 1), (1, 1, 0, 0))), (1, 5, 9, 8), 18),
    "dilated": (Block(Window((2, 3), (1, 2), (2, 1), (0, 0, 2, 2))), (1, 2, 7, 6), 3),
    "one-sided": (Block(Window((2, 2), (1, 1), (1, 1), (0, 1, 0, 1))), (1, 2, 4, 5), 3),
    "groups": (Block(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), groups=2), (1, 4, 5, 5), 6),
    "depthwise": (Block(Window((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)), groups=3), (2, 3, 6, 5), 3),
    "pointwise": (Block(Window((1, 1), (1, 1), (1, 1), (0, 0, 0, 0))), (2, 17, 3, 3), 5),
    "fours": (Block(Window((3, 2), (1, 1), (1, 1), (1, 1, 0, 1))), (2, 20, 4, 3), 12),
    "upsampled": (
        Block(Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1)), scale=(2, 3)),
        (1, 3, 4, 3),
        2,
    ),
    "transposed": (
        Block(Window((4, 4), (2, 2), (1, 1), (1, 1, 1, 1)), transposed=True),
        (2, 3, 4, 5),
        4,
    ),
    "transposed-odd": (
        Block(
            Window((3, 2), (2, 3), (1, 2), (1, 1, 0, 0)),
            groups=2,
            transposed=True,
            output_padding=(1, 1),
        ),
        (1, 4, 4, 3),
        6,
    ),
}


def blocks(name: str, activation: str, dtype: torch.dtype) -> tuple[Block, Tensor, Tensor, Tensor]:
    layers, shape, outputs = BLOCKS[name]
    layers = layers._replace(epilogue=Epilogue(activation, 0.1))
    x = random(*shape, dtype=dtype)
    channels = (shape[1], outputs) if layers.transposed else (outputs, shape[1])
    weight = random(channels[0], channels[1] // layers.groups, *layers.window.kernel, dtype=dtype)
    return layers, x, weight, random(outputs, dtype=dtype)


def check(name: str, activation: str, dtype: torch.dtype, layout: str) -> None:
    layers, x, weight, bias = blocks(name, activation, dtype)
    x = laid_out(x, layout)
    size = layers.output_size((x.shape[2], x.shape[3]))
    y = kernels.block(x, weight, bias, size, layers)
    expected = reference.block(*doubled(x, weight, bias), size, layers)
    close(y, expected, dtype)
    close(
        kernels.block(x, weight, None, size, layers),
        reference.block(*doubled(x, weight), None, size, layers),
        dtype,
    )
    gy = laid_out(random(*y.shape, dtype=dtype, seed=1), layout)
    close(
        kernels.block_input_grad(gy, y, weight, tuple(x.shape[2:]), layers),
        reference.block_input_grad(*doubled(gy, y, weight), tuple(x.shape[2:]), layers),
        dtype,
    )
    close(
        kernels.block_parameter_grads(x, gy, y, layers),
        reference.block_parameter_grads(*doubled(x, gy, y), layers),
        dtype,
    )


@pytest.mark.parametrize("name", BLOCKS)
def test_convolutions_and_their_gradients(name):
    check(name, "relu", torch.float32, "contiguous")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_merged(activation):
    check("plain", activation, torch.float32, "contiguous")


@pytest.mark.parametrize("layout", ["channels_last", "sliced"])
@pytest.mark.parametrize("name", ["strided", "transposed"])
def test_any_strides(name, layout):
    check(name, "leaky_relu", torch.float32, layout)


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("name", ["plain", "transposed-odd"])
def test_half_precision_adds_up_in_float32(name, dtype):
    check(name, "", dtype, "channels_last")


def test_filters_are_rounded_to_tf32_and_not_cut():
    from chainrule.backends.triton.convolution import _packed

    odd = torch.tensor([0x7FFFFFFF, 0x7F800000, -0x00800000], dtype=torch.int32, device=DEVICE)
    kept = _packed(odd.view(torch.float32).reshape(3, 1, 1, 1), 1, False, "tf32")
    assert kept[0].isnan()
    assert kept[1:].tolist() == [float("inf"), -float("inf")]
    weight = random(6, 4, 3, 2)
    packed = _packed(weight, 2, False, "tf32").view(2, 3, 3, 2, 4).permute(0, 1, 4, 2, 3)
    error = (packed.reshape(weight.shape) - weight) / weight.abs()
    assert float(error.abs().max()) <= 2**-11
    assert float(error.abs().min()) < 2**-13
    assert abs(float(error.mean())) < 2**-13  # cut off, it would be three times as far from zero
    cut = (weight.view(torch.int32) & ~0x1FFF).view(torch.float32)
    assert abs(float(((cut.abs() - weight.abs()) / weight.abs()).mean())) > 2**-12


def test_a_weight_gradient_in_parts_is_the_same_each_time(monkeypatch):
    monkeypatch.setattr("chainrule.backends.triton.convolution._PARTS", 5)
    layers, _, weight, _ = blocks("plain", "", torch.float32)
    x, gy = random(3, 3, 20, 20), random(3, 4, 20, 20, seed=1)
    found = kernels.block_parameter_grads(x, gy, gy, layers)
    close(found, reference.block_parameter_grads(*doubled(x, gy, gy), layers), torch.float32)
    again = kernels.block_parameter_grads(x, gy, gy, layers)
    assert all(map(torch.equal, found, again))
    assert found[0].shape == weight.shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations(kind, dtype):
    epilogue = Epilogue(kind, 0.2)
    for x in (random(1030, dtype=dtype), laid_out(random(2, 3, 4, 5, dtype=dtype), "sliced")):
        y = kernels.activation(x, epilogue)
        close(y, reference.activation(x.double(), epilogue), dtype)
        gy = random(*x.shape, dtype=dtype, seed=1)
        found = kernels.activation_grad(gy, y, epilogue)
        close(found, reference.activation_grad(*doubled(gy, y), epilogue), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_and_squared_errors(dtype):
    a, b = random(2, 3, 20, 20, dtype=dtype), random(2, 3, 20, 20, dtype=dtype, seed=1)
    last = laid_out(b, "channels_last")
    for other in (b, last):
        close(kernels.add(a, other), a.double() + b.double(), dtype)
        expected = reference.squared_error(*doubled(a, b))
        close(kernels.squared_error(a, other), expected, dtype)
        found = kernels.squared_error_grad(a, other, 0.5)
        close(found, reference.squared_error_grad(*doubled(a, b), 0.5), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_absolute_errors(dtype):
    a, b = random(2, 3, 20, 20, dtype=dtype), random(2, 3, 20, 20, dtype=dtype, seed=1)
    b[0, 0] = a[0, 0]  # no gradient where there is no difference
    for other in (b, laid_out(b, "channels_last")):
        close(kernels.absolute_error(a, other), reference.absolute_error(*doubled(a, b)), dtype)
        for scale in (0.5, torch.tensor(0.5, device=DEVICE)):
            found = kernels.absolute_error_grad(a, other, scale)
            close(found, reference.absolute_error_grad(*doubled(a, b), 0.5), dtype)


WINDOWS = {
    "halving": Window((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)),
    "overlapping": Window((3, 2), (1, 2), (1, 1), (1, 1, 0, 0)),
    "dilated": Window((2, 2), (2, 1), (2, 3), (1, 1, 1, 1)),
}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("name", WINDOWS)
def test_pooling(name, layout):
    window = WINDOWS[name]
    x = laid_out(random(2, 3, 7, 6).round(decimals=1), layout)  # with values that are met twice
    size = (x.shape[2], x.shape[3])
    y, places = kernels.max_pool2d(x, window)
    expected, theirs_at = reference.max_pool2d(x.double(), window)
    close(y, expected, torch.float32)
    assert torch.equal(places, theirs_at)
    gy = laid_out(random(*y.shape, seed=1), layout)
    found = kernels.max_pool2d_grad(gy, places, size, window)
    close(found, reference.max_pool2d_grad(gy.double(), places, size, window), torch.float32)
    for padded in (True, False):
        mean = kernels.avg_pool2d(x, window, padded)
        close(mean, reference.avg_pool2d(x.double(), window, padded), torch.float32)
        found = kernels.avg_pool2d_grad(gy, size, window, padded)
        close(found, reference.avg_pool2d_grad(gy.double(), size, window, padded), torch.float32)


def test_what_is_no_number_is_the_largest():
    x = random(1, 1, 4, 4)
    x[0, 0, 1, 2] = float("nan")
    y, places = kernels.max_pool2d(x, WINDOWS["halving"])
    expected, theirs_at = reference.max_pool2d(x.double(), WINDOWS["halving"])
    assert torch.equal(y.isnan(), expected.isnan())
    assert torch.equal(places, theirs_at)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nearest_resampling(dtype):
    x, scale = random(2, 3, 4, 5, dtype=dtype), (2, 3)
    for each in (x, laid_out(x, "channels_last")):
        y = kernels.upsample_nearest2d(each, scale)
        close(y, reference.upsample_nearest2d(x.double(), scale), dtype)
        gy = random(*y.shape, dtype=dtype, seed=1)
        found = kernels.upsample_nearest2d_grad(gy, scale)
        close(found, reference.upsample_nearest2d_grad(gy.double(), scale), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("shape", "dims"), [((2, 3, 5), (-1,)), ((2, 3, 4, 5), (2, 3)), ((2, 1100), (1,))]
)
@pytest.mark.parametrize("name", ["standardize", "rms_normalize"])
def test_normalization_of_rows(name, shape, dims, dtype):
    x, gy = random(*shape, dtype=dtype) + 0.5, random(*shape, dtype=dtype, seed=1)
    there, back = getattr(kernels, name), getattr(kernels, f"{name}_grad")
    theirs, back_theirs = getattr(reference, name), getattr(reference, f"{name}_grad")
    y, scale = there(x, dims, 1e-5)
    expected, their_scale = theirs(x.double(), dims, 1e-5)
    assert scale.shape == their_scale.shape
    close((y, scale), (expected, their_scale), dtype)
    close(back(gy, y, scale, dims), back_theirs(*doubled(gy, y, scale), dims), dtype)
    apart = torch.stack((x, x), -1)[..., 0]  # which are no rows
    close(there(apart, dims, 1e-5)[0], expected, dtype)


def parameters(dtype: torch.dtype) -> list[Tensor]:
    images = random(3, 4, 5, 5, dtype=dtype).contiguous(memory_format=torch.channels_last)
    wide = random(6, 6, dtype=dtype)
    return [random(2100, dtype=dtype), random(1, dtype=dtype), images, wide[:, ::2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "settings",
    [
        (0.1, 0.0, 0.0, 0.0, False),
        (0.1, 0.9, 0.0, 0.01, False),
        (0.1, 0.9, 0.0, 0.0, True),
        (0.1, 0.9, 0.3, 0.0, False),
    ],
)
def test_steps_of_sgd(settings, dtype):
    lists = [[x.clone() for x in parameters(dtype)] for _ in range(3)]
    if not settings[1]:
        lists[2] = []
    exact = [[x.double() for x in each] for each in lists]
    for first in (True, False):
        flags = [first] * len(lists[0])
        kernels.sgd_step(*lists, flags, *settings)
        reference.sgd_step(*exact, flags, *settings)
    for found, expected in zip((*lists[0], *lists[2]), (*exact[0], *exact[2]), strict=True):
        close(found, expected, dtype)


@pytest.mark.parametrize("decay", [(0.0, 1.0), (0.1, 1.0), (0.0, 0.99)])
def test_steps_of_adam(decay):
    lists = [[x.clone() for x in parameters(torch.float32)] for _ in range(4)]
    lists[3] = [x.square() for x in lists[3]]
    exact = [[x.double() for x in each] for each in lists]
    for steps in (1, 2):
        settings = (0.1, (0.9, 0.999), 1e-8, *decay, steps)
        kernels.adam_step(*lists, *settings)
        reference.adam_step(*exact, *settings)
    for found, expected in zip(chain(*lists), chain(*exact), strict=True):
        close(found, expected, torch.float32)


@pytest.mark.parametrize("limit", [1e-3, 1e3])
def test_clipping(limit):
    values = parameters(torch.float32)
    exact = [value.double() for value in values]
    norms = kernels.clip(values, limit), reference.clip(exact, limit)
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)
    for value, expected in zip(values, exact, strict=True):
        close(value, expected, torch.float32)


def test_zero_and_accumulate():
    values = parameters(torch.float32)
    others = [random(*x.shape, seed=1) for x in values]
    for value, other in zip(values, others, strict=True):
        expected = value + other
        kernels.accumulate(value, other)
        close(value, expected, torch.float32)
    kernels.zero(values)
    assert all(not x.any() for x in values)


def test_a_model_trains_by_them_as_by_the_reference():
    from chainrule import MSE, Adam, Conv2d, ReLU, Sequential, fuse, use_backend

    curves = []
    for backend in ("reference", kernels):
        torch.manual_seed(0)
        model = fuse(Sequential(Conv2d(2, 4, 3, padding=1), ReLU(), Conv2d(4, 2, 3, padding=1)))
        model.to(DEVICE)
        loss, optimizer = MSE(), Adam(model.parameters(), lr=0.01)
        x, y = random(2, 2, 6, 6), random(2, 2, 6, 6, seed=1)
        losses = []
        with use_backend(backend):
            for _ in range(3):
                optimizer.zero_grad()
                losses.append(float(loss.forward(model.forward(x), y)))
                model.backward(loss.backward(), input_gradient=False)
                optimizer.step()
        curves.append(losses)
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)

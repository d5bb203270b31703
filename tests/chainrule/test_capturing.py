"""Captured calls: the same numbers as the call itself, to the bit, or one sentence."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

import chainrule
from chainrule import (
    GELU,
    MSE,
    SGD,
    AvgPool2d,
    BatchNorm2d,
    CaptureError,
    Conv2d,
    ConvTranspose2d,
    CrossEntropy,
    Dropout,
    Embedding,
    Flatten,
    GroupNorm,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogMSE,
    Loss,
    MaxPool2d,
    Module,
    MultiHeadAttention,
    NearestUpsampling,
    PixelShuffle,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SkipConcat,
    capture,
    fuse,
    ops,
    use_backend,
    winograd,
)
from chainrule.backends import table

MODELS = {
    "strided": lambda: [Conv2d(3, 8, 3, stride=2, padding=1), ReLU(), ConvTranspose2d(8, 3, 2, 2)],
    "fused": lambda: [Conv2d(3, 8, 3, padding=1), LeakyReLU(0.1), Conv2d(8, 3, 1), Sigmoid()],
    "upsampled": lambda: [MaxPool2d(2), NearestUpsampling(2), Conv2d(3, 3, 3, padding="same")],
    "averaged": lambda: [AvgPool2d(2), Conv2d(3, 12, 3, padding=1), PixelShuffle(2)],
    "joined": lambda: [SkipConcat(Conv2d(3, 4, 3, padding=1)), Residual(Conv2d(7, 7, 1))],
    "normalized": lambda: [Conv2d(3, 4, 3), BatchNorm2d(4), GroupNorm(2, 4), ReLU()],
    "flat": lambda: [Flatten(), Linear(3 * 64, 5)],
}


def model_of(name: str) -> Module:
    torch.manual_seed(0)
    return fuse(Sequential(*MODELS[name]()))


def passes_of(model: Module, loss: Loss):
    def passes(x: Tensor, y: Tensor) -> Tensor:
        model.zero_grad()
        value = loss.forward(model.forward(x), y)
        model.backward(loss.backward(), input_gradient=False)
        return value

    return passes


def batches(model: Module, count: int = 4) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(1)
    x = torch.rand(count, 2, 3, 8, 8, generator=random)
    shape = chainrule.Sequential(model).infer(x[0]).shape
    return [(each, torch.rand(shape, generator=random)) for each in x]


@pytest.fixture(params=["reference", "native"])
def each_backend(request):
    if request.param == "native":
        pytest.importorskip("chainrule._native")
    with use_backend(request.param):
        yield


@pytest.mark.usefixtures("each_backend")
@pytest.mark.parametrize("loss", [MSE, LogMSE])
@pytest.mark.parametrize("name", MODELS)
def test_captured_passes_equal_the_passes_to_the_bit(name, loss):
    plain, captured = model_of(name), model_of(name)
    data = batches(model_of(name))
    expected = passes_of(plain, loss())
    found = capture(passes_of(captured, loss()), *data[0])
    assert torch.equal(found.outputs, expected(*data[0]))
    for x, y in [*data[1:], data[0]]:
        assert torch.equal(found(x, y), expected(x, y))
        for mine, theirs in zip(captured.parameters(), plain.parameters(), strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            assert torch.equal(mine.grad, theirs.grad)
        for name_, mine in captured.named_tensors():
            assert torch.equal(mine, dict(plain.named_tensors())[name_]), name_


def reader_of_words() -> Module:
    torch.manual_seed(0)
    looks = Sequential(LayerNorm(8), MultiHeadAttention(8, 2, batch_first=True, causal=True))
    return Sequential(Embedding(9, 8, 0), Residual(looks), GELU(), Linear(8, 5), Flatten(0, 1))


@pytest.mark.usefixtures("each_backend")
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_integers_are_checked_each_time(dtype):
    """What a layer or a loss refuses by its value, the captured call refuses in the same words."""
    plain, captured = reader_of_words(), reader_of_words()
    loss = CrossEntropy(ignore_index=7)
    x, classes = torch.randint(9, (4, 2, 6)).to(dtype), torch.randint(5, (4, 12)).to(dtype)
    classes[:, 3] = 7
    expected = passes_of(plain, CrossEntropy(ignore_index=7))
    found = capture(passes_of(captured, loss), x[0], classes[0])
    for words, target in [*zip(x, classes, strict=True), (x[0], torch.full_like(classes[0], 7))]:
        assert found(words, target).isnan() == (target == 7).all()
        value = expected(words, target)
        assert torch.equal(found(words, target).nan_to_num(), value.nan_to_num())
        for mine, theirs in zip(captured.parameters(), plain.parameters(), strict=True):
            assert mine.grad is not None
            assert theirs.grad is not None
            assert torch.equal(mine.grad.nan_to_num(), theirs.grad.nan_to_num())
    for wrong in (9, -1):
        with pytest.raises(ValueError, match=f"the index must lie in 0 to 8, got {wrong}"):
            found(torch.full_like(x[0], wrong), classes[0])
    for wrong in (5, -7):
        with pytest.raises(ValueError, match=f"the target must lie in 0 to 4, got {wrong}"):
            found(x[0], torch.full_like(classes[0], wrong))
    assert torch.equal(found(x[1], classes[1]), expected(x[1], classes[1]))


def test_integers_that_are_refused_at_first_are_not_captured():
    with pytest.raises(ValueError, match="the index must lie in 0 to 8, got 9"):
        capture(Embedding(9, 8).infer, torch.tensor([9]))
    with pytest.raises(CaptureError, match="reads a value"):  # nothing but the check may
        capture(lambda x: Embedding(9, 8).infer(x) * float(x.sum()), torch.tensor([1]))


@pytest.mark.usefixtures("each_backend")
def test_what_is_random_is_drawn_anew():
    torch.manual_seed(0)
    layer = Dropout(0.5)
    x = torch.ones(1, 100)
    found = capture(layer.forward, x)
    torch.manual_seed(1)
    first, second = found(x), found(x)
    torch.manual_seed(1)
    assert torch.equal(first, layer.forward(x))
    assert torch.equal(second, layer.forward(x))
    assert not torch.equal(first, second)


@pytest.mark.usefixtures("each_backend")
def test_layouts_of_inputs_are_the_same_to_it():
    model = model_of("fused")
    x = torch.rand(2, 3, 8, 8)
    found = capture(model.infer, x)
    y = torch.rand(2, 8, 8, 3).permute(0, 3, 1, 2)
    assert torch.equal(found(y), model.infer(y.contiguous()))
    negative = torch.complex(torch.zeros_like(x), x).conj().imag
    assert negative.is_neg()
    assert torch.equal(found(negative), model.infer(-x))


def test_outputs_have_memory_of_their_own_and_inputs_can_be_filled():
    model = model_of("fused")
    x, z = torch.rand(2, 2, 3, 8, 8)
    found = capture(model.infer, x)
    first = found(x)
    kept = first.clone()
    found.inputs[0][:] = z
    assert torch.equal(found(*found.inputs), model.infer(z))
    assert torch.equal(first, kept)


def test_several_outputs_come_as_a_tuple():
    found = capture(lambda x: (x + 1, x * 2), torch.zeros(3))
    one, two = found(torch.ones(3))
    assert (one.tolist(), two.tolist()) == ([2, 2, 2], [2, 2, 2])


def test_weights_that_were_changed_in_place_count():
    model = model_of("fused")
    x = torch.rand(1, 3, 8, 8)
    found = capture(model.infer, x)
    model.load_state_dict({name: value * 2 for name, value in model.state_dict().items()})
    assert torch.equal(found(x), model.infer(x))


def replace_weight(model: Module) -> None:
    layer = next(each for each in model.modules() if isinstance(each, Conv2d))
    layer.weight = chainrule.parameter(layer.weight.clone())


CHANGES = {
    "was replaced": replace_weight,
    "has another gradient": lambda model: model.zero_grad(set_to_none=True),
    "was frozen": lambda model: model.requires_grad_(False),
    "set to another mode": lambda model: model.eval(),
}


@pytest.mark.parametrize("words", CHANGES)
def test_what_it_rests_on_may_not_change(words):
    model = model_of("fused")
    (x, y), *_ = batches(model)
    found = capture(passes_of(model, MSE()), x, y)
    CHANGES[words](model)
    with pytest.raises(CaptureError, match=words):
        found(x, y)


def test_conditions_may_not_change():
    found = capture(model_of("fused").infer, torch.rand(1, 3, 8, 8))
    before = winograd()
    winograd(not before)
    try:
        with pytest.raises(CaptureError, match="Winograd's algorithm now; capture it again"):
            found(torch.rand(1, 3, 8, 8))
    finally:
        winograd(before)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((torch.zeros(1, 3, 9, 8),), r"an input of shape \(1, 3, 8, 8\).* got \(1, 3, 9, 8\)"),
        ((torch.zeros(1, 3, 8, 8, dtype=torch.float64),), "torch.float64"),
        ((), "with 1 inputs, and got 0"),
    ],
)
def test_other_inputs_are_refused(inputs, words):
    found = capture(model_of("fused").infer, torch.rand(1, 3, 8, 8))
    with pytest.raises(CaptureError, match=words):
        found(*inputs)


def test_what_python_decides_is_refused():
    with pytest.raises(CaptureError, match="reads a value"):
        capture(lambda x: x * float(x.sum()), torch.ones(3))
    with pytest.raises(CaptureError, match="the shape of what"):
        capture(lambda x: x[x > 0], torch.ones(3))
    with pytest.raises(TypeError, match="a tensor or a tuple of them, got float"):
        capture(lambda x: 1.0, torch.ones(3))
    with pytest.raises(TypeError, match="to be tensors, got list"):
        capture(lambda x: x, [1, 2])  # pyright: ignore[reportArgumentType]


def test_an_optimizer_steps_outside():
    model = model_of("fused")
    optimizer = SGD(model.parameters(), lr=0.1)
    before = [value.clone() for value in model.parameters()]
    with pytest.raises(CaptureError, match="call it after the recorded call"):
        capture(lambda x: optimizer.step(), torch.ones(1))
    assert all(map(torch.equal, model.parameters(), before))


def test_gradients_must_be_there():
    model = model_of("fused")
    (x, y), *_ = batches(model)
    for value in model.parameters():
        value.grad = None
    loss = MSE()

    def passes(x: Tensor, y: Tensor) -> Tensor:
        value = loss.forward(model.forward(x), y)
        model.backward(loss.backward())
        return value

    with pytest.raises(CaptureError, match=r"call model.zero_grad\(\) before"):
        capture(passes, x, y)


def test_one_recording_at_a_time():
    x = torch.ones(2)
    with pytest.raises(CaptureError, match="can't record another one"):
        capture(lambda x: capture(lambda y: y + 1, x)(x), x)


def test_a_backend_that_computes_unseen_is_refused(monkeypatch):
    monkeypatch.setattr(table, "_backends", dict(table._backends))
    monkeypatch.setattr(table, "_standard", None)

    class Theirs:
        @staticmethod
        def add(a: Tensor, b: Tensor) -> Tensor:
            return a + b

    table.register("theirs", Theirs())
    with use_backend("theirs"):
        with pytest.raises(CaptureError, match="'theirs' computes unseen"):
            capture(lambda x: ops.add(x, x), torch.ones(2))
        assert capture(lambda x: x + 1, torch.ones(2))(torch.ones(2)).tolist() == [2, 2]


def test_other_threads_compute_as_ever_meanwhile():
    model = model_of("fused")
    x = torch.rand(1, 3, 8, 8)
    expected = model.infer(x)
    found: list[Tensor] = []

    def function(x: Tensor) -> Tensor:
        thread = threading.Thread(target=lambda: found.append(model.infer(x * 1)))
        thread.start()
        thread.join()
        return x + 1

    assert len(capture(function, x)) == 1
    assert torch.equal(found[0], expected)


def test_memory_is_what_is_alive_at_once():
    """Of a chain of convolutions that is one's input and output, however long it is."""
    pytest.importorskip("chainrule._native")
    x = torch.rand(1, 8, 64, 64)
    chains = [Sequential(*[Conv2d(8, 8, 3, padding=1) for _ in range(n)]) for n in (1, 10, 20)]
    with use_backend("native"):
        needed = [capture(chain.infer, x).nbytes for chain in chains]
    image = x.nbytes
    assert needed == [image, 2 * image, 2 * image]


def test_memory_of_layers_of_rows_is_what_is_alive_at_once():
    pytest.importorskip("chainrule._native")
    x = torch.rand(64, 64)
    chains = [Sequential(*[Sequential(Linear(64, 64), GELU()) for _ in range(n)]) for n in (5, 10)]
    with use_backend("native"):
        assert [capture(chain.infer, x).nbytes for chain in chains] == [2 * x.nbytes] * 2


def test_what_is_freed_meanwhile_is_nobody_elses():
    """Between two calls others compute; what they are given must not be what the call writes to."""
    model = Sequential(*[Conv2d(8, 8, 3, padding=1) for _ in range(4)])
    x = torch.rand(1, 8, 32, 32)
    found = capture(model.infer, x)
    others = [model.infer(x + each) for each in range(8)]
    kept = [each.clone() for each in others]
    assert torch.equal(found(x), model.infer(x))
    assert all(map(torch.equal, others, kept))

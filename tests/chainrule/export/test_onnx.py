"""Exported models compute in onnxruntime what they compute here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from chainrule import Conv2d, Module, ReLU, Residual, Sequential, Tape, fuse, layers, ops, parameter
from chainrule.export import ExportError, Writer, save_onnx, to_onnx, translates
from chainrule.export.onnx import OPSETS
from chainrule.recording import Call
from tests.chainrule.export.cases import (
    IMAGES,
    NAMES,
    OF_INTEGERS,
    ON_IMAGES,
    OTHERS,
    SEQUENCES,
    SPLINES,
    attention,
)

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def shaken(model: Module) -> Module:
    """The model with no weight at its first value, in evaluation."""
    torch.manual_seed(0)
    for name, value in model.named_tensors():
        if value.is_floating_point():
            value.add_(torch.rand_like(value) * (0.5 if name.endswith("var") else 1))
    return model.eval()


def ran(proto: Any, *inputs: Tensor) -> list[np.ndarray]:
    session = runtime.InferenceSession(proto.SerializeToString())
    names = [each.name for each in session.get_inputs()]
    given = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
    return session.run(None, given)


def assert_alike(proto: Any, model: Module, *inputs: Tensor) -> None:
    """Within 1e-5 of the largest value."""
    expected = model.infer(*inputs)
    for ours, theirs in zip(
        expected if isinstance(expected, tuple) else (expected,), ran(proto, *inputs), strict=True
    ):
        assert ours.shape == theirs.shape
        scale = max(1.0, float(ours.abs().max()))
        assert float((ours - torch.from_numpy(theirs)).abs().max()) <= 1e-5 * scale


@pytest.mark.parametrize(("name", "make"), ON_IMAGES, ids=[name for name, _ in ON_IMAGES])
def test_a_layer_of_images_computes_the_same_at_any_size(name, make):
    model = shaken(make())
    proto = to_onnx(model, IMAGES)
    for size in (IMAGES, (1, 4, 4, 20), (3, 4, 24, 8)):
        assert_alike(proto, model, torch.randn(size))


@pytest.mark.parametrize(("name", "make", "shape"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_a_layer_of_vectors_computes_the_same_for_any_batch(name, make, shape):
    model = shaken(make())
    proto = to_onnx(model, shape)
    for batch in (shape[0], 1, 5):
        assert_alike(proto, model, torch.randn(batch, *shape[1:]))


@pytest.mark.parametrize(("name", "make", "shape"), SEQUENCES, ids=[name for name, *_ in SEQUENCES])
def test_a_layer_of_sequences_or_volumes_computes_the_same_at_any_length(name, make, shape):
    model = shaken(make())
    proto = to_onnx(model, shape)
    assert_alike(proto, model, torch.randn(shape))
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    free = [place for place, dim in enumerate(dims) if dim.dim_param]
    assert len(free) >= 2
    for more in (1, 4):
        other = [size + more if place in free else size for place, size in enumerate(shape)]
        assert_alike(proto, model, torch.randn(other))


MASKS = {
    "none": lambda: (),
    "padding": lambda: (torch.arange(12).reshape(2, 6) % 5 == 1,),
    "bool": lambda: (torch.arange(12).reshape(2, 6) > 5, torch.rand(4, 6) < 0.3),
    "each": lambda: (torch.zeros(2, 6).bool(), torch.rand(4, 4, 6) < 0.3),
    "float": lambda: (torch.zeros(2, 6).bool(), torch.randn(4, 6)),
}


@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"kdim": 3, "vdim": 5}])
def test_attention_to_others_computes_the_same(masks, options):
    """Of the second sample no key is seen, where there is a mask of two kinds."""
    torch.manual_seed(0)
    model = shaken(attention(**options))
    widths = 8, options.get("kdim", 8), options.get("vdim", 8)
    inputs = [torch.randn(2, size, width) for size, width in zip((4, 6, 6), widths, strict=True)]
    inputs += MASKS[masks]()
    names = [f"i{place}" for place in range(len(inputs))]
    assert_alike(to_onnx(model, *inputs, inputs=names), model, *inputs)


@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True}])
@pytest.mark.parametrize(("kind", "states"), [(layers.LSTM, 2), (layers.GRU, 1)])
def test_states_go_in_and_out(kind, states, options):
    model = shaken(kind(3, 4, **options))
    count = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    inputs = [torch.randn(5, 2, 3), *(torch.randn(count, 2, 4) for _ in range(states))]
    names, ends = ["x", "h", "c"][: states + 1], ["y", "h_n", "c_n"][: states + 1]
    assert_alike(to_onnx(model, *inputs, inputs=names, outputs=ends), model, *inputs)


class Place(Module):
    """y = x + the same for every sample."""

    def __init__(self) -> None:
        self.weight = parameter(torch.randn(5, 8))

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return ops.shift(x, self.weight)


def test_what_is_added_to_every_sample_computes_the_same():
    model = Sequential(Place(), layers.Linear(8, 3))
    proto = to_onnx(model, torch.zeros(2, 5, 8))
    assert_alike(proto, model, torch.randn(4, 5, 8))


def test_a_transformer_computes_the_same_at_any_length():
    block = Sequential(layers.LayerNorm(8), attention(causal=True))
    model = shaken(Sequential(layers.Embedding(9, 8), Residual(block), layers.Linear(8, 9)))
    proto = to_onnx(model, torch.zeros(2, 5, dtype=torch.int64))
    for size in ((2, 5), (1, 12), (3, 1)):
        assert_alike(proto, model, torch.randint(9, size))
    dims = proto.graph.output[0].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in dims] == ["batch", "length", 9]


@pytest.mark.parametrize(("name", "make"), OF_INTEGERS, ids=[name for name, _ in OF_INTEGERS])
def test_a_layer_of_integers_computes_the_same(name, make):
    model = shaken(make())
    proto = to_onnx(model, torch.zeros(2, 3, dtype=torch.int64))
    assert_alike(proto, model, torch.tensor([[1, 6, 0]]))


def test_every_layer_is_exported():
    """A new layer gets a line in cases.py."""
    classes = {getattr(layers, name).__name__ for name in layers.__all__}
    assert classes <= NAMES | {name.partition(" ")[0] for name, _ in SPLINES}


@pytest.mark.parametrize(("name", "make"), SPLINES, ids=[name for name, _ in SPLINES])
def test_a_function_of_one_value_computes_the_same(name, make):
    model = shaken(make())
    proto = to_onnx(model, (2, 3))
    for shape in ((2, 3), (4, 3)):
        assert_alike(proto, model, 4 * torch.randn(shape))
    assert_alike(to_onnx(Sequential(model), IMAGES), model, 4 * torch.randn(IMAGES))


@pytest.mark.parametrize("opset", [OPSETS[0], OPSETS[-1]])
def test_the_oldest_and_the_newest_operators_do_the_same(opset):
    for _, make in ON_IMAGES:
        model = shaken(make())
        proto = to_onnx(model, IMAGES, opset=opset)
        assert proto.opset_import[0].version == opset
        assert_alike(proto, model, torch.randn(IMAGES))


def test_a_fused_model_is_exported_as_it_runs():
    model = shaken(fuse(Sequential(layers.NearestUpsampling(2), Conv2d(4, 4, 3), ReLU())))
    proto = to_onnx(model, IMAGES)
    assert [node.op_type for node in proto.graph.node] == ["Resize", "Conv", "Relu"]
    assert_alike(proto, model, torch.randn(IMAGES))


def test_a_module_that_computes_with_ops_needs_no_translation():
    class Twice(Module):
        def __init__(self) -> None:
            self.inner = Conv2d(4, 4, 1)

        def run(self, x: Tensor, tape: Tape) -> Tensor:
            y = self.inner.run(x, tape)
            return ops.add(y, self.inner.run(y, tape))

    model = shaken(Twice())
    assert_alike(to_onnx(model, IMAGES), model, torch.randn(IMAGES))


class Square(Module):
    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return x * x


class Cube(Square):
    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return x * x * x


@pytest.mark.parametrize("model", [Sequential(ReLU(), Square()), Residual(Sequential(Square()))])
def test_a_module_that_computes_with_torch_is_named(model):
    with pytest.raises(ExportError, match=r"^Square \(.*\) can't be exported.*translates"):
        to_onnx(model, IMAGES)


def test_an_op_without_translation_is_named():
    class Scores(Module):
        def run(self, x: Tensor, tape: Tape) -> Tensor:
            return ops.squared_error(x, x)

    with pytest.raises(ExportError, match=r"^Scores can't be .* no translation of its op squared"):
        to_onnx(Scores(), IMAGES)


def test_a_translation_is_for_its_class_alone(monkeypatch):
    monkeypatch.setattr("chainrule.export.graph.LAYERS", table := {})
    monkeypatch.setattr("chainrule.export.onnx.LAYERS", table)

    @translates(Square)
    def square(write: Writer, call: Call, inputs: tuple[str, ...]) -> str:
        return write.node("Mul", inputs[0], inputs[0])

    x = torch.randn(IMAGES)
    assert_alike(to_onnx(Square(), IMAGES), Square(), x)
    with pytest.raises(ExportError, match="Cube"):
        to_onnx(Cube(), IMAGES)


class TwoWays(Module):
    def run(self, a: Tensor, b: Tensor, tape: Tape) -> tuple[Tensor, Tensor]:
        return ops.add(a, b), ops.relu(b)


def test_several_inputs_and_outputs_have_their_names():
    proto = to_onnx(
        TwoWays(), IMAGES, IMAGES, inputs=("a", "b"), outputs=("sum", "part"), metadata={"k": "v"}
    )
    assert [each.name for each in proto.graph.input] == ["a", "b"]
    assert [each.name for each in proto.graph.output] == ["sum", "part"]
    assert [(each.key, each.value) for each in proto.metadata_props] == [("k", "v")]
    assert_alike(proto, TwoWays(), torch.randn(IMAGES), torch.randn(IMAGES))
    with pytest.raises(ExportError, match="2 inputs; name each once, got x"):
        to_onnx(TwoWays(), IMAGES, IMAGES)


def test_what_is_free_is_said_and_weights_keep_their_names():
    model = Sequential(Conv2d(4, 4, 3, padding=1), layers.MaxPool2d(2))
    proto = to_onnx(model, IMAGES)
    kind = proto.graph.input[0].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in kind] == ["batch", 4, "height", "width"]
    assert {each.name for each in proto.graph.initializer} == set(model.state_dict())


def test_the_model_stays_as_it_is_and_is_exported_in_evaluation():
    model = Sequential(layers.Dropout(0.5), layers.BatchNorm2d(4))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    proto = to_onnx(model, IMAGES)
    assert model.training
    assert model[1].training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert_alike(proto, model.eval(), torch.randn(IMAGES))


def test_a_deep_model_is_exported():
    model = Sequential(*(Residual(ReLU()) for _ in range(700)))
    assert len(to_onnx(model, IMAGES).graph.node) == 1400


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: to_onnx(ReLU(), IMAGES, opset=7), "20 to 28, got 7"),
        (lambda: to_onnx(Conv2d(4, 4, 1).to(torch.float16), IMAGES), "float16"),
    ],
)
def test_what_is_refused(make: Callable[[], object], sentence):
    with pytest.raises(ExportError, match=sentence):
        make()


def test_a_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"pip install 'noise2noise\[export\]'"):
        to_onnx(ReLU(), IMAGES)


def test_a_file_appears_whole_and_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "model.onnx"
    save_onnx(path, Conv2d(4, 4, 1), IMAGES)
    whole = path.read_bytes()
    onnx.checker.check_model(onnx.load(path))
    with pytest.raises(FileExistsError):
        save_onnx(path, ReLU(), IMAGES)
    assert path.read_bytes() == whole
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]

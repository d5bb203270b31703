"""The lines build a network of `torch.nn` that computes the same."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chainrule import Conv2d, Module, ReLU, Sequential, Tape, layers
from chainrule.export import ExportError, save_torch, to_torch
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
from tests.chainrule.export.test_onnx import shaken


def built(model: Module) -> nn.Module:
    lines, state = to_torch(model)
    names: dict[str, Any] = {"torch": torch, "nn": nn}
    exec(compile(lines, "lines", "exec"), names)
    network = names["build"]()
    network.load_state_dict(state)
    return network.eval()


def assert_alike(model: Module, x: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(model.infer(x), built(model)(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "make"), ON_IMAGES, ids=[name for name, _ in ON_IMAGES])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_a_layer_of_images_computes_the_same(name, make):
    assert_alike(shaken(make()), torch.randn(IMAGES))


@pytest.mark.parametrize(("name", "make", "shape"), OTHERS, ids=[name for name, *_ in OTHERS])
def test_a_layer_of_vectors_computes_the_same(name, make, shape):
    assert_alike(shaken(make()), torch.randn(shape))


@pytest.mark.parametrize(("name", "make", "shape"), SEQUENCES, ids=[name for name, *_ in SEQUENCES])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_a_layer_of_sequences_or_volumes_computes_the_same(name, make, shape):
    assert_alike(shaken(make()), torch.randn(shape))


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"kdim": 3, "vdim": 5, "dropout": 0.1}])
@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_attention_to_others_computes_the_same(options, mask):
    model = shaken(attention(**options))
    widths = 8, options.get("kdim", 8), options.get("vdim", 8)
    inputs = [torch.randn(2, size, width) for size, width in zip((4, 6, 6), widths, strict=True)]
    masks: list[Tensor] = []
    if mask == "bool":
        masks = [torch.arange(12).reshape(2, 6) % 5 == 1, torch.eye(4, 6) == 1]
    if mask == "float":
        masks = [torch.zeros(2, 6), torch.randn(4, 6)]  # PyTorch asks for two of a kind
    expected = built(model)(*inputs, *masks)
    ours = [masks[0].bool(), masks[1]] if masks else []
    torch.testing.assert_close(model.infer(*inputs, *ours), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "states"), [(layers.LSTM, 2), (layers.GRU, 1)])
def test_states_go_in_and_out(kind, states):
    model = shaken(kind(3, 4, 2))
    inputs = [torch.randn(5, 2, 3), *(torch.randn(2, 2, 4) for _ in range(states))]
    got = built(model)(*inputs)
    for ours, theirs in zip(model.infer(*inputs), got, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "make"), OF_INTEGERS, ids=[name for name, _ in OF_INTEGERS])
def test_a_layer_of_integers_computes_the_same(name, make):
    assert_alike(shaken(make()), torch.tensor([[1, 6, 0]]))


def test_every_layer_is_exported():
    """A new layer gets a line in cases.py."""
    classes = {getattr(layers, name).__name__ for name in layers.__all__}
    assert classes <= NAMES | {name.partition(" ")[0] for name, _ in SPLINES}


@pytest.mark.parametrize(("name", "make"), SPLINES, ids=[name for name, _ in SPLINES])
def test_a_function_of_one_value_is_refused(name, make):
    with pytest.raises(ExportError, match=rf"^{name.partition(' ')[0]} can't be exported"):
        to_torch(make())


class Square(Module):
    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return x * x


class Backwards(Sequential):
    def run(self, *arguments: Any) -> Any:
        return arguments[0]


@pytest.mark.parametrize("module", [Square(), Backwards(ReLU())])
def test_what_has_no_counterpart_is_named(module):
    with pytest.raises(ExportError, match=rf"^{type(module).__name__} \(1\) can't be exported"):
        to_torch(Sequential(ReLU(), module))


def test_the_state_dict_has_the_models_names():
    model = Sequential(Conv2d(1, 1, 1), layers.BatchNorm2d(1))
    assert to_torch(model)[1].keys() == model.state_dict().keys()


def test_two_files_are_written_that_fit(tmp_path: Path):
    model = shaken(Sequential(Conv2d(4, 4, 3), ReLU()))
    weights, code = save_torch(tmp_path / "model.pth", model, 'a """title""" \\')
    network = runpy.run_path(str(code))["build"]()
    network.load_state_dict(torch.load(weights, weights_only=True))
    x = torch.randn(IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(model.infer(x), network(x))
    assert "a title" in code.read_text()
    with pytest.raises(FileExistsError):
        save_torch(weights, model)
    weights.unlink()
    with pytest.raises(FileExistsError):
        save_torch(weights, model)
    assert [each.name for each in tmp_path.iterdir()] == ["model.py"]

"""The ops that a recording lists, against what the model does and costs by hand."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from chainrule import (
    MSE,
    SGD,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    MaxPool2d,
    Module,
    NearestUpsampling,
    ReLU,
    Residual,
    Sequential,
    SkipConcat,
    Tape,
    fuse,
    ops,
    record,
    summary,
    use_backend,
)
from chainrule.backends import reference
from chainrule.backends.record import Recorder

SHAPE = (2, 3, 8, 6)


def small() -> Sequential:
    return Sequential(
        {
            "in": Conv2d(3, 4, 3, padding=1),
            "act": ReLU(),
            "skip": SkipConcat(Sequential(MaxPool2d(3, 1, 1), Residual(Conv2d(4, 4, 1)))),
        }
    )


def test_ops_come_in_order_with_layers_shapes_and_costs():
    area = 2 * 8 * 6
    listed = [
        (op.layer, op.name, [x.shape for x in op.inputs.values()], op.multiply_adds)
        for op in record(small(), SHAPE).ops
    ]
    inside, joined = (2, 4, 8, 6), (2, 8, 8, 6)
    assert listed == [
        ("in", "block", [SHAPE, (4, 3, 3, 3), (4,)], area * 4 * 27),
        ("act", "activation", [inside], 0),
        ("skip.inner.0", "max_pool2d", [inside], 0),
        ("skip.inner.1.inner", "block", [inside, (4, 4, 1, 1), (4,)], area * 4 * 4),
        ("skip.inner.1", "add", [inside, inside], 0),
        ("skip", "concatenate", [inside, inside], 0),
    ]
    assert [y.shape for y in record(small(), SHAPE).ops[2].outputs] == [inside, inside]  # places
    assert record(small(), SHAPE).outputs[0].shape == joined


def test_bytes_are_those_of_the_tensors():
    first, activation, pool, *_ = record(small(), SHAPE).ops
    assert first.bytes_read == 4 * (2 * 3 * 48 + 4 * 27 + 4)
    assert first.bytes_written == activation.bytes_read == 4 * (2 * 4 * 48)
    assert pool.bytes_written == 2 * pool.bytes_read  # int32 places beside float32 values
    assert record(small().to(torch.float64), SHAPE).ops[0].bytes_read == 2 * first.bytes_read


def test_what_an_op_reads_twice_is_counted_once():
    class Double(Module):
        def run(self, x: Tensor, tape: Tape) -> Tensor:
            return ops.add(x, x)

    (op,) = record(Double(), SHAPE).ops
    assert (op.bytes_read, op.bytes_written) == (4 * 288, 4 * 288)


def test_numbers_and_names_are_the_edges_of_the_graph():
    recording = record(small(), SHAPE)
    conv, act, pool, inner, add, join = recording.ops
    assert conv.inputs["x"] == recording.inputs[0]
    assert [conv.inputs[name].name for name in ("x", "weight", "bias")] == [
        "",
        "in.weight",
        "in.bias",
    ]
    assert act.inputs["x"] == conv.outputs[0]
    assert pool.inputs["x"] == join.inputs["a"] == act.outputs[0]
    assert inner.inputs["x"] == add.inputs["a"] == pool.outputs[0]
    assert add.inputs["b"] == inner.outputs[0]
    assert join.inputs["b"] == add.outputs[0]
    assert join.outputs == recording.outputs
    made = [y.number for op in recording.ops for y in op.outputs]
    assert len({*made}) == len(made)  # not handed on when a tensor dies


def test_attributes_hold_the_geometry():
    model = Sequential(Conv2d(3, 4, 3, stride=2, dilation=2), MaxPool2d(2))
    conv, pool = record(model, (1, 3, 20, 20)).ops
    assert conv.attributes["layers"] == model[0].block  # type: ignore[attr-defined]
    assert pool.attributes["window"].kernel == (2, 2)
    assert all(not isinstance(each, Tensor) for each in conv.attributes.values())


def test_a_fused_model_lists_what_really_runs():
    model = Sequential(NearestUpsampling(2), Conv2d(3, 4, 3, padding=1), ReLU(), BatchNorm2d(4))
    apart, merged = record(model, SHAPE), record(fuse(model), SHAPE)
    assert [op.name for op in apart.ops[:3]] == ["upsample_nearest2d", "block", "activation"]
    first, *others = merged.ops
    assert (first.layer, first.name) == ("0+1+2", "block")
    assert first.attributes["layers"].scale == (2, 2)
    assert first.attributes["layers"].epilogue == ops.Epilogue("relu")
    assert first.multiply_adds == apart.ops[1].multiply_adds
    assert [op.name for op in others] == ["channel_statistics", "normalize", "affine"]
    assert merged.outputs[0].shape == apart.outputs[0].shape


def test_costs_of_a_strided_grouped_convolution():
    model = Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), groups=2)
    (op,) = record(model, (2, 4, 17, 12)).ops
    # 9 x 6 output pixels of 6 channels, each a sum over 2 channels and 3 x 5 places.
    assert op.multiply_adds == 2 * 9 * 6 * 6 * (2 * 3 * 5)


def test_costs_of_a_transposed_convolution():
    model = ConvTranspose2d(6, 8, 4, stride=(2, 3), padding=1, output_padding=(1, 2), groups=2)
    (op,) = record(model, (2, 6, 9, 6)).ops
    # Each of 9 x 6 input pixels of 6 channels is added to 4 channels at 4 x 4 places.
    assert op.multiply_adds == 2 * 9 * 6 * 6 * (4 * 4 * 4)
    assert op.outputs[0].shape == (2, 8, 19, 19)


@pytest.mark.parametrize(
    "layer", [Conv2d(4, 6, 3, stride=2, groups=2), ConvTranspose2d(4, 6, 3, stride=2, groups=2)]
)
def test_each_gradient_costs_as_much_as_the_forward_pass(layer: Module):
    recorder = Recorder()
    with use_backend(recorder):
        layer.backward(torch.ones_like(layer.forward(torch.randn(2, 4, 9, 7))))
    costs = {op.name: op.multiply_adds for op in recorder.ops if op.multiply_adds}
    assert [*costs] == ["block", "block_parameter_grads", "block_input_grad"]
    assert len({*costs.values()}) == 1


def test_a_training_step_is_recorded_and_computed():
    def step() -> list[Tensor]:
        torch.manual_seed(0)
        model, loss = Sequential(Conv2d(3, 3, 3, padding=1), ReLU()), MSE()
        loss.forward(model.forward(torch.randn(SHAPE)), torch.randn(SHAPE))
        model.backward(loss.backward(), input_gradient=False)
        SGD(model.parameters(), lr=0.1, momentum=0.9).step()
        return [value.clone() for value in model.parameters()]

    recorder = Recorder()
    with use_backend(recorder):
        recorded = step()
    with use_backend("reference"):
        expected = step()
    assert all(torch.equal(a, b) for a, b in zip(recorded, expected, strict=True))
    names = [op.name for op in recorder.ops]
    assert names[:3] == ["block", "activation", "squared_error"]
    stepped = [op for op in recorder.ops if op.name == "sgd_step"]
    assert len(stepped) == 1, "one op for all parameters"
    names = ["values.0", "values.1", "velocities.0", "velocities.1"]
    assert stepped[0].outputs == tuple(stepped[0].inputs[name] for name in names)


class Gate(Module):
    """y = (a + b)[index], the index an integer input."""

    def run(self, a: Tensor, b: Tensor, index: Tensor, tape: Tape) -> Any:
        total = ops.add(a, b)
        return total, total.index_select(0, index)


def test_a_module_of_several_inputs():
    recording = record(Gate(), SHAPE, torch.zeros(SHAPE), torch.tensor([1]))
    assert [x.dtype for x in recording.inputs] == [torch.float32, torch.float32, torch.int64]
    assert [*recording.ops[0].inputs.values()] == [*recording.inputs[:2]]
    assert [y.shape for y in recording.outputs] == [SHAPE, (1, *SHAPE[1:])]
    assert recording.outputs[0] == recording.ops[0].outputs[0]


def test_other_threads_compute_on():
    recorder = Recorder()
    x = torch.randn(1, 2, 4, 4)
    with use_backend(recorder), ThreadPoolExecutor(1) as pool:
        pool.submit(ops.add, x, x).result()
        assert recorder.ops == []
        ops.relu(x)
    ops.relu(x)
    assert [op.name for op in recorder.ops] == ["activation"]


def test_two_recordings_at_once_keep_to_themselves():
    with ThreadPoolExecutor(2) as pool:
        told = [pool.submit(record, small(), SHAPE) for _ in range(4)]
    assert {len(each.result().ops) for each in told} == {6}
    assert len({str(each.result()) for each in told}) == 1


def test_it_has_every_op_and_no_other():
    assert all(callable(getattr(Recorder(), op)) for op in reference.__all__)
    with pytest.raises(AttributeError, match="there is no op 'telepathy'"):
        _ = Recorder().telepathy


def test_a_recording_keeps_no_tensor_alive(live_bytes):
    before = live_bytes()
    recorder = Recorder()
    with use_backend(recorder):
        ops.relu(torch.randn(2, 3))
    assert live_bytes() == before
    assert recorder.alive_bytes() == 0
    assert recorder.ops[0].alive_bytes == 2 * 24


def test_a_line_an_op():
    model = Sequential(Conv2d(3, 8, 3), ReLU())
    assert str(record(model, (1, 3, 64, 64))).splitlines() == [
        "0: block(x (1, 3, 64, 64), weight (8, 3, 3, 3), bias (8,)) -> (1, 8, 62, 62) float32: "
        "830,304 multiply-adds, 50,048 bytes read, 123,008 written",
        "1: activation(x (1, 8, 62, 62)) -> (1, 8, 62, 62) float32: "
        "0 multiply-adds, 123,008 bytes read, 123,008 written",
    ]


class Doubled(Module):
    """A convolution of its own around another module: y = conv(f(x))."""

    def __init__(self, inner: Module) -> None:
        self.inner, self.weight = inner, torch.zeros(3, 3, 1, 1)

    def run(self, x: Tensor, tape: Tape) -> Tensor:
        return ops.conv2d(self.inner.run(x, tape), self.weight)


class Told(Conv2d):
    def multiply_adds(self, x_shape: torch.Size, y_shape: torch.Size) -> int:
        return 7


def test_a_summary_counts_the_sums_of_containers_and_believes_layers_that_tell():
    told = summary(Sequential(Doubled(ReLU()), Told(3, 3, 1)), SHAPE)
    assert [(row.name, row.layer, row.multiply_adds) for row in told.rows] == [
        ("0.inner", "ReLU", 0),
        ("0", "Doubled", 96 * 9),
        ("1", "Told", 7),
    ]

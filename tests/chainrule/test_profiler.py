"""What `profile` tells of a pass: each op, who computed it, its cost and its time."""

import json
import threading
from contextlib import nullcontext

import pytest
import torch

import chainrule
from chainrule import MSE, SGD, Conv2d, ReLU, Sequential, profile, use_backend


def model() -> Sequential:
    return Sequential(Conv2d(3, 8, 3), ReLU())


@pytest.fixture(params=["reference", "native"])
def name(request):
    if request.param == "native":
        pytest.importorskip("chainrule._native")
    with use_backend(request.param):
        yield request.param


def test_ops_are_counted_with_their_shapes_costs_and_backend(name):
    net, x = model(), torch.rand(2, 3, 6, 6)
    expected = net.infer(x)
    with profile() as found:
        for _ in range(3):
            assert torch.equal(net.infer(x), expected)
    assert [call.op.name for call in found.calls] == ["block", "activation"] * 3
    block = next(line for line in found.lines if line.op == "block")
    assert (block.calls, block.backend) == (3, name)
    assert block.shapes == "2x3x6x6, 8x3x3x3, 8 -> 2x8x4x4"
    assert block.multiply_adds == 3 * (2 * 8 * 4 * 4) * (3 * 3 * 3)
    assert block.nbytes == 3 * 4 * (2 * 3 * 36 + 8 * 27 + 8 + 2 * 8 * 16)
    assert 0 < block.seconds <= sum(line.seconds for line in found.lines) <= found.seconds
    assert block.gflops == pytest.approx(2e-9 * block.multiply_adds / block.seconds)


def test_a_training_step_is_seen_whole_and_computes_the_same(name):
    results = []
    for seen in (False, True):
        torch.manual_seed(0)
        net, loss = model(), MSE()
        optimizer = SGD(net.parameters(), lr=0.1)
        x, y = torch.rand(2, 3, 6, 6), torch.rand(2, 8, 4, 4)
        with profile() if seen else nullcontext() as found:
            loss.forward(net.forward(x), y)
            net.backward(loss.backward())
            optimizer.step()
        results.append(net.parameters())
    assert all(map(torch.equal, *results))
    assert isinstance(found, chainrule.Profile)
    ops = {call.op.name for call in found.calls}
    assert ops >= {"block", "block_parameter_grads", "squared_error", "sgd_step", "accumulate"}


def test_the_table_has_a_line_for_each_and_for_what_is_between(name):
    with profile() as found:
        model().infer(torch.rand(1, 3, 8, 8))
    first, *lines, between, told = str(found).splitlines()
    assert first.split()[:3] == ["op", "calls", "ms"]
    assert {line.split()[0] for line in lines} == {"block", "activation"}
    assert between.startswith("between ops")
    assert f"with {torch.get_num_threads()} threads" in told
    assert str(chainrule.Profile()).startswith("op")


def test_a_trace_and_json_have_what_was_found(name, tmp_path):
    with profile() as found:
        model().infer(torch.rand(1, 3, 8, 8))
    found.write_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [event["name"] for event in events] == ["block", "activation"]
    assert events[0]["ts"] + events[0]["dur"] <= events[1]["ts"]
    told = json.loads(json.dumps(found.as_json()))
    assert {line["op"] for line in told["ops"]} == {"block", "activation"}
    if name == "native":
        assert told["peak_gflops"] > 0


def test_other_threads_are_not_seen_and_nothing_is_afterwards():
    net, x = model(), torch.rand(1, 3, 8, 8)
    with profile() as found:
        thread = threading.Thread(target=net.infer, args=(x,))
        thread.start()
        thread.join()
    net.infer(x)
    assert found.calls == []

"""Sums over real processes: what travels, when, and that everybody has the same afterwards."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from chainrule import distributed

SCRIPT = """
import json, os, sys, torch
from torch.profiler import ProfilerActivity, profile
from chainrule import MSE, SGD, Adam, BatchNorm2d, Conv2d, ReLU, Sequential, distributed

def network(seed):
    torch.manual_seed(seed)
    layers = [Conv2d(2, 8, 3, padding=1), ReLU(), *(Conv2d(8, 8, 3, padding=1) for _ in range(3))]
    return Sequential(*layers, Conv2d(8, 2, 3, padding=1))

def curve(model, steps, sums):
    optimizer, loss, losses = Adam(model.parameters(), 1e-3), MSE(), []
    for step in range(steps):
        torch.manual_seed(step)
        x, y = torch.rand(8, 2, 8, 8), torch.rand(8, 2, 8, 8)
        part = slice(*(distributed._start(8, distributed.rank() + i) for i in (0, 1)))
        if sums is None:
            part = slice(0, 8)
        share = (part.stop - part.start) / 8
        optimizer.zero_grad()
        value = share * float(loss.forward(model.forward(x[part]), y[part]))
        listener = None if sums is None else sums.ready
        model.backward(loss.backward(share), listener=listener)
        if sums is not None:
            sums.wait()
            (value,) = distributed.sums(value)
        optimizer.step()
        losses.append(value)
    return losses

def told(rank, processes, port):
    os.environ |= {"WORLD_SIZE": str(processes), "MASTER_PORT": port}
    distributed.join()
    norm = BatchNorm2d(3)
    norm.running_mean += rank
    distributed.same_everywhere(norm)
    model = distributed.same_everywhere(network(rank))
    sums = distributed.GradientSums(model.parameters(), 4000)
    told = {"mean": norm.running_mean.tolist(), "share": list(distributed.share(range(10)))}
    told["losses"] = curve(model, 200, sums)
    told["bytes"] = sums.bytes_sent / 200
    told["weights"] = [float(x.double().sum()) for x in model.parameters()]
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        curve(model, 1, sums)
    events = sorted((event.time_range.start, event.name) for event in trace.events())
    names = [name for _, name in events if name == "c10d::allreduce_" or "grad" in name]
    told["trace"] = [name for name in names if not name.startswith("aten")]
    distributed.leave()
    return told

torch.set_num_threads(1)
rank = int(os.environ["RANK"])
found = {4: told(rank, 4, sys.argv[2])}
if rank < 2:
    found[2] = told(rank, 2, sys.argv[3])
if rank == 0:
    found[1] = curve(network(0), 200, None)
json.dump(found, open(f"{sys.argv[1]}/{rank}.json", "w"))
"""


def launched(folder: Path) -> list[dict[str, Any]]:
    """What each of four processes tells, the first two of which were a pair, too."""
    ports = [str(free_port()) for _ in range(2)]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder), *ports],
            env={**common, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(4)
    ]
    for each in started:
        _, errors = each.communicate(timeout=300)
        assert each.returncode == 0, errors
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(4)]


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def test_two_and_four_processes_have_the_curve_of_one_over_200_steps(tmp_path):
    found = launched(tmp_path)
    two, four = [each["2"] for each in found[:2]], [each["4"] for each in found]
    for told in (two, four):
        torch.testing.assert_close(told[0]["losses"], found[0]["1"], rtol=1e-5, atol=0)
        for other in told[1:]:
            assert other["losses"] == told[0]["losses"]
            assert other["weights"] == told[0]["weights"]
            assert other["mean"] == [0, 0, 0]
        assert [item for each in told for item in each["share"]] == [*range(10)]
    parameters = 2 * 8 * 9 + 8 + 3 * (8 * 8 * 9 + 8) + 8 * 2 * 9 + 2
    assert two[0]["bytes"] == 4 * parameters
    # Gradients leave while others are still computed.
    sent = [place for place, name in enumerate(two[0]["trace"]) if "allreduce" in name]
    computed = [place for place, name in enumerate(two[0]["trace"]) if "grad" in name]
    assert sent[0] < computed[-1]
    assert len(sent) >= 3


@pytest.mark.parametrize(
    ("gpus", "here", "carrier"), [(0, 2, "gloo"), (1, 2, "gloo"), (2, 2, "cpu:gloo,cuda:nccl")]
)
def test_each_process_of_a_machine_has_a_gpu_of_its_own_or_none(monkeypatch, gpus, here, carrier):
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here))
    assert distributed._carrier() == carrier
    assert taken == ([1] if "nccl" in carrier else [])

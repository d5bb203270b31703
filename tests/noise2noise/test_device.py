"""Where networks compute. There is no GPU in tests: what PyTorch says of them is made up, and the
meta device, whose tensors refuse to meet the CPU's, stands for one where values don't matter."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule import MSE, Adam, backend, fuse
from noise2noise import denoise, networks, train
from noise2noise.denoiser import Denoiser
from noise2noise.device import CPU, batches_on, home, resolved
from noise2noise.errors import UserError
from noise2noise.fit import stored_config
from noise2noise.fit.checkpoint import Checkpoint
from noise2noise.inference import Network
from noise2noise.inference import network as inference_network

META = torch.device("meta")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"Fast {place}")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_auto_is_the_gpu_that_this_process_has(two_gpus):
    assert resolved() == torch.device("cuda", 1)
    assert resolved("cuda:0") == torch.device("cuda", 0)
    assert resolved("cpu") == CPU


def test_auto_is_the_cpu_where_there_is_no_gpu(no_gpu):
    assert resolved("auto") == CPU


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "meta", "cuda:-1"])
def test_what_is_no_device_is_refused_with_those_that_are(name):
    with pytest.raises(
        UserError, match=r"there is no device .*; choose auto, cpu, cuda, or cuda:1"
    ):
        resolved(name)


def test_a_gpu_that_is_not_there_is_refused_with_what_was_found(no_gpu):
    told = "cuda can't be used: PyTorch .*, finds no GPU; choose --device cpu, or install NVIDIA's"
    with pytest.raises(UserError, match=told):
        resolved("cuda")


def test_a_gpu_too_many_is_refused_with_those_that_are_there(two_gpus):
    with pytest.raises(UserError, match=r"no device cuda:2, but .* cuda:0 \(Fast 0\), cuda:1 \(F"):
        resolved("cuda:2")


def test_python_and_the_loader_refuse_it_alike(no_gpu):
    image = np.zeros((32, 32), np.uint8)
    for asked in (lambda: Denoiser.load("grey", "cuda"), lambda: denoise(image, device="cuda")):
        with pytest.raises(UserError, match="finds no GPU"):
            asked()
    cpu = denoise(image, device="cpu")
    assert np.array_equal(cpu, denoise(image, Denoiser.load("grey", "cpu")))
    with pytest.raises(UserError, match="computes where it was loaded"):
        denoise(image, Denoiser.load("grey", "cpu"), device="cpu")


@pytest.mark.parametrize("name", ["compact", "hilsberg"])
def test_a_training_step_stays_on_its_device(name):
    with META:
        model = fuse(networks.build(name))
    for value in model.parameters():
        value.grad = torch.zeros_like(value)
    inputs = networks.ARCHITECTURES[name].inputs(networks.sizes_of(name, {}))
    loss, optimizer = MSE(), Adam(model.parameters(), 1e-3)
    y = model.forward(torch.empty(2, inputs, 32, 32, device=META))
    value = loss.forward(y, torch.empty(y.shape, device=META))
    model.backward(loss.backward(), input_gradient=False)
    optimizer.step()
    assert home(model) == y.device == value.device == META


def test_a_batch_leaves_while_the_one_before_it_is_computed_with_and_none_is_lost():
    made = [threading.Event() for _ in range(4)]

    def source() -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
        for size in range(1, 4):
            made[size - 1].set()
            yield torch.zeros(size), torch.zeros(size, 1)
        made[3].set()

    sizes = []
    for x, y in batches_on(META, source()):
        assert made[len(x)].wait(10)  # the next one is made although this one is still here
        sizes.append((len(x), y.shape, x.device))
    assert sizes == [(1, (1, 1), META), (2, (2, 1), META), (3, (3, 1), META)]


def test_batches_that_are_not_asked_for_any_more_end_with_those_who_make_them():
    ended = threading.Event()

    def source() -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
        try:
            while True:
                yield torch.zeros(1), torch.zeros(1)
        finally:
            ended.set()

    ahead = batches_on(META, source())
    next(ahead)
    ahead.close()
    assert ended.is_set()


def test_an_error_of_a_batch_on_its_way_is_raised():
    def source() -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
        yield torch.zeros(1), torch.zeros(1)
        raise UserError("no more")

    ahead = batches_on(META, source())
    next(ahead)
    with pytest.raises(UserError, match="no more"):
        next(ahead)


def test_on_the_cpu_batches_are_the_source_itself():
    source = ((torch.zeros(1), torch.zeros(1)) for _ in range(2))
    assert batches_on(CPU, source) is source


def test_a_tile_is_as_large_as_the_free_memory_of_a_gpu_lets_it_be(monkeypatch):
    sizes = {"width": 32, "channels": 1}
    network = Network(networks.build("compact", **sizes), networks.needs_of("compact", sizes))
    best = {}
    for free in (None, 0, 2**28, 2**29, 2**40):
        monkeypatch.setattr(inference_network, "free_memory", lambda device, free=free: free)
        best[free] = network.best_tile
    assert best[0] == network.least_tile < best[2**28] < best[2**29] < best[2**40]
    assert best[None] == inference_network.TILE
    assert best[2**40] == inference_network.GPU_TILE
    assert network.tile_bytes(best[2**29], best[2**29]) < 2**29


def test_a_run_goes_on_without_the_device_that_it_was_begun_on(tmp_path: Path, no_gpu):
    pairs, options = tmp_path / "pairs.pkl", {"sizes": {"width": 4, "depth": 0}, "crop": 16}
    torch.save([torch.randint(256, (8, 1, 16, 16), dtype=torch.uint8) for _ in range(2)], pairs)
    run = tmp_path / "run"
    train(run, pairs_file=pairs, epochs=1, device="cpu", **options)
    assert json.loads((run / "config.json").read_text())["device"] == "cpu"
    checkpoint = Checkpoint.read(run / "last.safetensors")
    assert checkpoint.conditions["device"] == "cpu"
    assert checkpoint.conditions["backend"] == backend()
    config = json.loads(checkpoint.facts["config"]) | {"device": "cuda:7"}
    checkpoint.facts["config"] = json.dumps(config)  # pyright: ignore[reportIndexIssue]
    checkpoint.conditions["device"] = "Fast 7"  # pyright: ignore[reportIndexIssue]
    checkpoint.write(run / "last.safetensors")
    assert stored_config(run).device == "cuda:7"
    assert "device from Fast 7 to cpu" in checkpoint.warning(CPU)
    train(run, resume=True, epochs=2)
    assert len((run / "history.csv").read_text().splitlines()) == 3
    with pytest.raises(UserError, match="finds no GPU"):
        train(run, resume=True, epochs=3, device="cuda")

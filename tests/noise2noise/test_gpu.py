"""What only a machine with a CUDA device can show; `benchmarks/gpu.py` runs it there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule import MSE, Adam, fuse
from noise2noise import denoise, networks, train
from noise2noise.denoiser import Denoiser
from noise2noise.device import home, resolved
from noise2noise.fit import Steps
from noise2noise.fit.checkpoint import Checkpoint

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)

CLOSE = 1e-4  # of the unit scale


def test_an_image_is_denoised_as_on_the_cpu():
    image = np.random.default_rng(0).random((150, 90, 3), np.float32)
    found, expected = (denoise(image, "fast", device=name) for name in ("cuda", "cpu"))
    np.testing.assert_allclose(found, expected, atol=CLOSE)


def test_where_its_memory_is_not_enough_tiles_become_smaller():
    denoiser = Denoiser.load("fast", "cuda")
    device = home(denoiser.model)
    image = np.random.default_rng(0).random((1500, 1500), np.float32)
    expected = denoiser.denoise(image)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    taken = torch.cuda.memory_allocated(device)
    torch.cuda.set_per_process_memory_fraction((taken + 2**28) / total, device)
    try:
        np.testing.assert_allclose(denoiser.denoise(image), expected, atol=CLOSE)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.mark.parametrize("name", ["zhao", "coldenhoff", "hilsberg", "mery-skip"])
def test_a_network_learns_as_on_the_cpu_captured_or_not(name):
    random = torch.Generator().manual_seed(0)
    x, y = (torch.rand(4, 3, 32, 32, generator=random) for _ in range(2))
    curves = []
    for device in ("cpu", "cuda"):
        with networks.seeded(0):
            model = fuse(networks.build(name)).to(device)
        steps = Steps(model, MSE(), Adam(model.parameters(), lr=1e-4))
        curves.append([steps(x.to(device), y.to(device)) for _ in range(8)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_a_run_is_gone_on_with_on_another_device(tmp_path: Path):
    pairs = tmp_path / "pairs.pkl"
    torch.save([torch.randint(256, (8, 1, 16, 16), dtype=torch.uint8) for _ in range(2)], pairs)
    options = {"pairs_file": pairs, "sizes": {"width": 4, "depth": 0}, "crop": 16, "ema": 0.9}
    run = tmp_path / "run"
    assert home(train(run, epochs=1, device="cuda", **options).model) == resolved("cuda")
    told = Checkpoint.read(run / "last.safetensors").warning(torch.device("cpu"))
    assert "device from" in told
    assert home(train(run, resume=True, epochs=2, device="cpu").model) == torch.device("cpu")
    train(run, resume=True, epochs=3, device="cuda")
    assert len((run / "history.csv").read_text().splitlines()) == 4

"""Fixtures for what denoises: small models, untrained, in the form that training saves them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from chainrule.serialization import save_tensors
from noise2noise import networks
from noise2noise.files import Image, write_image

MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """make_model("a.safetensors", "compact", channels=1, width=8): a model file with random weights
    that all do something, at a place below the test's folder or at an absolute one."""

    def make(name: str = "model.safetensors", architecture: str = "compact", **sizes: int) -> Path:
        if architecture == "compact":
            sizes = {"width": 8, **sizes}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = networks.build(architecture, **sizes)
            for weight in network.parameters():  # those that begin at zero too
                weight += 0.05 * torch.randn(weight.shape)
        metadata = {
            "architecture": architecture,
            "sizes": json.dumps(sizes),
            "title": "a stand-in",
            "noise": "gaussian:25",
        }
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(path, network.state_dict(), metadata)
        return path

    return make


@pytest.fixture
def stand_ins(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins under the shipped models' names, which takes the place of theirs."""
    sizes = {"width": 8, "depth": 1, "blocks": 1}  # all of them, as the shipped ones tell
    folder = make_model("weights/photo.safetensors", channels=3, **sizes).parent
    make_model("weights/grey.safetensors", channels=1, **sizes)
    make_model("weights/camera.safetensors", channels=3, **sizes)
    for module in ("shipped", "denoiser"):
        monkeypatch.setattr(f"noise2noise.{module}.WEIGHTS", folder)
    return folder


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    """picture(height, width, channels=3, dtype="uint8", seed=0): a smooth image with some noise."""

    def make(
        height: int, width: int, channels: int = 3, dtype: str = "uint8", seed: int = 0
    ) -> np.ndarray:
        rng = np.random.default_rng((seed, height, width))
        y, x = np.mgrid[:height, :width] / 9
        waves = [np.sin(a * x + b * y) for a, b in rng.uniform(-1, 1, (channels, 2))]
        unit = 0.5 + 0.3 * np.stack(waves, -1) + rng.normal(0, 0.05, (height, width, channels))
        unit = (unit[..., 0] if channels == 1 else unit).clip(0, 1)
        if np.dtype(dtype).kind == "f":
            return unit.astype(dtype)
        return np.rint(unit * np.iinfo(dtype).max).astype(dtype)

    return make


@pytest.fixture
def folder_of(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """folder_of("photos", {"a.png": (40, 60, 3)}): a folder of such pictures, all different."""

    def make(name: str, files: dict[str, tuple[int, int, int]], seed: int = 0) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, (file, (height, width, channels)) in enumerate(files.items()):
            pixels = picture(height, width, channels, seed=1000 * seed + number)
            write_image(folder / file, Image(pixels))
        return folder

    return make

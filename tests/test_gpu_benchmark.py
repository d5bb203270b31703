"""The two commands of `benchmarks/gpu.py`, at toy size on the CPU, by Triton's interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from noise2noise.denoiser import Denoiser
from noise2noise.fit import stored_config

pytest.importorskip("triton")

ROOT = Path(__file__).resolve().parents[1]


def gpu(*arguments: object) -> str:
    command = [sys.executable, "-m", "benchmarks.gpu", *map(str, arguments), "--toy"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_speed_tests_times_compares_and_goes_on_where_it_was(tmp_path: Path):
    machine = {
        "card": "cpu",
        "backend": "chainrule.backends.triton",
        "PyTorch": torch.__version__,
        "Triton": version("triton"),
    }
    known = {"microseconds": {"chainrule": 0.5}, "bytes": {}, "failures": {}, "multiply_adds": 1}
    rows = {"coldenhoff inference 1 tf32": known}
    out = tmp_path / "gpu.json"
    out.write_text(json.dumps({"machine": machine, "date": "today", "peak": {}, "rows": rows}))
    told = gpu("speed", "--out", out, "--minutes", 30)
    assert "tests: passed: 1 passed" in told
    assert "begins with a loss" not in told  # ours is PyTorch's
    found = json.loads(out.read_text())["rows"]
    assert found.keys() == {"coldenhoff training 1 tf32", "coldenhoff inference 1 tf32"}
    for row in found.values():
        assert row["microseconds"].keys() == {"chainrule", "eager"}
        assert not row["failures"]
    assert found["coldenhoff inference 1 tf32"]["microseconds"]["chainrule"] == 0.5
    assert {*found["coldenhoff training 1 tf32"]["losses"]} == {"chainrule", "eager"}


def test_training_leaves_a_checkpoint_and_says_what_each_side_makes(tmp_path: Path):
    photos, run = tmp_path / "photos", tmp_path / "run"
    photos.mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(256, size=(12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{seed}.png")
    told = gpu(
        *("train", ROOT / "recipes/photo.toml", "--photos", photos, "--out", run),
        *("--minutes", 30),
    )
    assert "crops a second: the host's" in told
    assert f"checkpoint: {run / 'last.safetensors'}" in told
    assert stored_config(run).photos == photos
    assert Denoiser.load(run).channels == 3

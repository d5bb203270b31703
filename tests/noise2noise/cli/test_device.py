"""`--device` of every command that computes: refused before anything is read or written."""

from pathlib import Path

import pytest
import torch

COMMANDS = [
    ("denoise", "photo.png"),
    ("train", "--generated", "8", "--corruption", "gaussian:25", "--out", "run"),
    ("evaluate", "clean", "--corruption", "gaussian:25"),
    ("benchmark", "quality", "clean", "--corruption", "gaussian:25"),
    ("reproduce", "report", "--out", "reproduction"),
    ("demo", "--out", "demo"),
    ("web", "--no-open", "--port", "0"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_a_device_that_is_not_there_is_refused_at_once(
    refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "clean").mkdir()
    assert "the device cuda can't be used: PyTorch" in refused(*command, "--device", "cuda")
    assert [path.name for path in tmp_path.iterdir()] == ["clean"]


def test_the_cpu_can_be_asked_for(done, tmp_path: Path):
    from skimage.io import imsave

    photo = tmp_path / "photo.png"
    imsave(photo, (torch.rand(32, 32) * 255).byte().numpy(), check_contrast=False)
    assert "->" in done("denoise", photo, "--device", "cpu", "--quality", "fast")

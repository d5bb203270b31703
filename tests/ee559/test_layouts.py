"""The folders are found the way the course's harness looks for them, and autograd goes off."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import importlib, sys
import torch
sys.path.append({path!r})
first = importlib.import_module("{package}Miniproject_1.model")
assert torch.is_grad_enabled()
second = importlib.import_module("{package}Miniproject_2.model")
assert not torch.is_grad_enabled()
for module in (first, second):
    model = module.Model()
    model.load_pretrained_model()
    assert model.predict(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
"""


@pytest.mark.parametrize(("path", "package"), [("handed_in", ""), (".", "handed_in.")])
def test_both_projects_are_found_whatever_their_folder_is_called(tmp_path, path, package):
    shutil.copytree(ROOT / "ee559", tmp_path / "handed_in")
    empty = tmp_path / "empty"
    empty.mkdir()
    script = SCRIPT.format(path=str(tmp_path / path), package=package)
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=empty, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["Miniproject_1", "Miniproject_2"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "course_model.py is not beside this folder; copy the whole of ee559/"),
        (
            ["-S"],
            'noise2noise, which this folder is built on, is not installed; run "pip install .',
        ),
    ],
)
def test_a_folder_alone_says_what_is_missing(tmp_path, name, options, sentence):
    shutil.copytree(ROOT / "ee559" / name, tmp_path / name)
    result = subprocess.run(
        [sys.executable, *options, "-c", f"import {name}.model"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert sentence in result.stderr.splitlines()[-1]

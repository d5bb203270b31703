"""`noise2noise doctor`: what was found, and what to do about what is missing."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import subprocess
import sys

import pytest
import torch

import chainrule
from noise2noise.cli import examination


def test_it_tells_versions_backend_and_threads(done):
    lines = dict(line.split(maxsplit=1) for line in done("doctor").splitlines() if line)
    assert lines["noise2noise"] == importlib.metadata.version("noise2noise")
    assert lines["PyTorch"] == torch.__version__
    assert lines["backend"].startswith(chainrule.backend())
    assert f"{torch.get_num_threads()} threads used" in lines["processor"]


def test_missing_kernels_are_named_with_what_to_do(tmp_path):
    code = (
        "import sys; sys.modules['chainrule._native'] = None; sys.argv = ['noise2noise', 'doctor'];"
        "from noise2noise.cli import main; main()"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    environment.pop("CHAINRULE_BACKEND", None)
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    (sentence,) = (line for line in said.splitlines() if line.startswith("Everything works"))
    assert "without its compiled kernels" in sentence
    assert "install noise2noise again" in sentence


def test_kernels_that_are_switched_off_are_told(done, monkeypatch):
    pytest.importorskip("chainrule._native")
    monkeypatch.setenv("CHAINRULE_BACKEND", "reference")
    with chainrule.use_backend("reference"):
        said = json.loads(done("doctor", "--json"))
    assert "CHAINRULE_BACKEND in the environment is 'reference'; unset it" in said["advice"][0]


def test_extras_that_are_not_installed_are_told_with_the_command(done, monkeypatch):
    asked = ["numpy", "absent-package>=1; extra == 'raw'", "numpy; extra == 'raw'"]
    asked += ["absent-tool ; extra == 'dev'", 'numpy>=1 ; extra == "web"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: asked)
    assert examination.extras() == {"raw": ["absent-package"], "web": []}
    text = done("doctor")
    assert "lacks absent-package" in text
    assert "pip install 'noise2noise[raw]'" in text
    assert "absent-tool" not in text


def test_the_hint_without_kernels_is_said_once(tmp_path, monkeypatch, caplog, done):
    monkeypatch.setattr("typer.get_app_dir", lambda name: str(tmp_path / "config" / name))
    for _ in range(2):
        done("models")
        logging.getLogger("chainrule").warning("no kernels")
    assert caplog.messages == ["no kernels"]

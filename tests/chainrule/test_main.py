"""`python -m chainrule`."""

import os
import subprocess
import sys

import torch

import chainrule


def printed(**environment: str) -> dict[str, str]:
    command = [sys.executable, "-m", "chainrule"]
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    return {line[:9].strip(): line[10:] for line in result.stdout.splitlines()}


def test_it_prints_what_computes_here():
    lines = printed(OMP_NUM_THREADS="1")
    assert lines["PyTorch"] == torch.__version__
    assert lines["threads"] == "1"
    assert lines["backend"].split()[0] == chainrule.backend()


def test_it_follows_the_environment():
    lines = printed(CHAINRULE_BACKEND="reference", CHAINRULE_WINOGRAD="0")
    assert lines["backend"] == "reference"
    assert lines["Winograd"] == "off"

"""The short form of `make torture`, by the same seed each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

if not hasattr(os, "fork") or not Path("/proc/self/status").exists():
    pytest.skip("processes are forked and measured as Linux does it", allow_module_level=True)


@pytest.mark.parametrize("knock", ["kills", "disks", "sharing", "memory", "kernels"])
def test_everything_stands_hard_knocks(tmp_path, knock):
    command = [sys.executable, "-m", "tests.torture", "--short", "--seed=1", f"--knock={knock}"]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""


def test_a_finding_is_told_with_the_line_to_repeat_it(tmp_path):
    code = (
        "import sys, tests.torture.__main__ as it\n"
        "from tests.torture.knock import check\n"
        "def knock(place, seed, short, size):\n"
        "    yield 'one went well'\n"
        "    check(False, 'the other did not')\n"
        "it.KNOCKS['kills'] = knock\n"
        "sys.argv = ['torture', '--knock=kills', '--seed=7']\n"
        "sys.exit(it.main())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    lines = result.stdout.splitlines()
    assert "kills: FOUND the other did not" in lines
    assert "again: make torture KNOCK=kills SEED=7" in lines

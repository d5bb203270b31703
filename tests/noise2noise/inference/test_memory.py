"""The promise of --memory, measured in toy size by the benchmark that measures the real one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[3] / "benchmarks" / "memory.py"


@pytest.mark.skipif(sys.platform == "win32", reason="resident memory is told otherwise there")
def test_no_more_memory_is_taken_than_allowed():
    sizes = ["--megapixels", "1.5", "--width", "3000", "--planes", "3", "--side", "300"]
    command = [sys.executable, BENCHMARK, *sizes, "--memory", "250MB", "--model", "fast"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout
    rows = re.findall(r"(\d+) MB +(\d+) MB", done.stdout)
    assert len(rows) == 2
    for allowed, taken in rows:
        assert 0 < int(taken) <= int(allowed) == 250

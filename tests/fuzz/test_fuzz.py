"""The same damaged files on every change; `make fuzz` tries others without end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

if not Path("/proc/self/status").exists():
    pytest.skip("time and memory are limited as Linux does it", allow_module_level=True)


def fuzz(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path):
    done = fuzz(tmp_path, "-m", "tests.fuzz", "--seed=0", "--cases=60")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": 60 files") > 10


FAULTS = {
    "KeyError": "raise KeyError('width')",
    "MemoryError": "bytearray(2**33)",
    "took more than 1 s": "time.sleep(60)",
    "wants memory": "raise UserError('damaged') from MemoryError('wants memory')",
    "no sentence": "raise UserError('one line\\nand another')",
    "ended by signal 6": "os.abort()",
}
PROGRAM = """
import os, sys, time
from noise2noise.errors import UserError
from tests.fuzz import __main__ as fuzz, readers

def at_fault(code):
    def read(path):
        if path.stem == "damaged":
            exec(code)
    return lambda folder: read

readers.READERS.clear()
for number, code in enumerate(FAULTS.values()):
    samples = lambda folder: [b"123"]
    readers.READERS[f"r{number}"] = readers.Reader(".odd", samples, at_fault(code))
fuzz.PATIENCE = 1
sys.exit(fuzz.main())
"""


def test_every_kind_of_fault_is_found_and_how_to_repeat_it_said(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(f"FAULTS = {FAULTS!r}\n{PROGRAM}")
    done = fuzz(tmp_path, str(program), "--seed=3", "--cases=5")
    assert done.returncode == 1
    assert "seed 3: the same again with SEED=3" in done.stdout
    for number, fault in enumerate(FAULTS):
        assert fault in done.stdout
        crashed = "signal" in fault
        kept = tmp_path / "build/fuzz" / (f"r{number}.odd" if crashed else f"r{number}-3-0.odd")
        assert kept.exists()
        again = f"again: make fuzz SEED=3 READER=r{number} CASE=0"
        assert (again in done.stdout) != crashed

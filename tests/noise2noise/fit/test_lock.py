"""A run's folder has one writer at a time, and a dead one keeps nobody out."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from noise2noise.errors import UserError
from noise2noise.fit import Checkpoint
from noise2noise.fit.folder import RunFolder
from noise2noise.fit.lock import locked, refuse_locked

HOLD = """
import sys, time
from pathlib import Path
from noise2noise.fit.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_writer_is_refused_until_the_first_has_left(tmp_path):
    with locked(tmp_path):
        for attempt in (lambda: locked(tmp_path).__enter__(), lambda: refuse_locked(tmp_path)):
            with pytest.raises(UserError, match=f"another process is training in {tmp_path}"):
                attempt()
    assert list(tmp_path.iterdir()) == []
    refuse_locked(tmp_path)
    with locked(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_no_lock(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training"):
            refuse_locked(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    refuse_locked(tmp_path)
    with locked(tmp_path):
        pass


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    leftovers = [".curves-abc123.png", ".last-x.safetensors", ".history-y_z.csv"]
    others = [".hidden.png", "curves.png", "notes.txt", ".curves-abc123.txt"]
    for name in leftovers + others:
        (tmp_path / name).touch()
    with RunFolder(tmp_path).open():
        names = {path.name for path in tmp_path.iterdir()}
    assert names == {*others, ".lock"}


def test_a_folder_that_another_process_went_on_with_is_not_written(tmp_path):
    """One process reads the run, another one trains on, and only then does the first begin."""
    trained, late = RunFolder(tmp_path), RunFolder(tmp_path)
    checkpoint = Checkpoint({}, {}, {"epoch": 1}, {})
    with trained.open():
        trained.write_checkpoint(checkpoint)
    late.read_checkpoint()
    with trained.open():
        trained.write_checkpoint(checkpoint)
    with pytest.raises(UserError, match="another process has gone on with the run"):
        _enter(late)
    late.read_checkpoint()
    _enter(late)


def _enter(folder: RunFolder) -> None:
    with folder.open():
        pass


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path):
    (tmp_path / "run").touch()
    with pytest.raises(UserError, match="can't write"):
        _enter(RunFolder(tmp_path / "run"))

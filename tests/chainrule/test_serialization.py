"""Files appear whole or not at all, and give back what was written."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from chainrule import BatchNorm2d, Conv2d, ReLU, Sequential, StateDictError, load, save
from chainrule.serialization import load_tensors, replacing, save_tensors


def net() -> Sequential:
    conv = Conv2d(3, 3, 3)
    return Sequential(conv, BatchNorm2d(3), ReLU(), conv)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow beyond 1000 bytes: the system itself refuses, as on a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


# -- replacing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("existing", [True, False])
def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path, existing):
    path = tmp_path / "notes.txt"
    if existing:
        path.write_text("old")
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        assert path.exists() is existing
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")
    with (
        pytest.raises(FileExistsError, match=r"notes\.txt exists already; choose another name"),
        replacing(path),
    ):
        pytest.fail("the block must not run")
    assert path.read_text() == "old"


def test_a_missing_folder_is_named_before_any_work(tmp_path):
    with (
        pytest.raises(NotADirectoryError, match=r"the folder .*nowhere does not exist"),
        replacing(tmp_path / "nowhere" / "notes.txt"),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_middle_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path, overwrite=True) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks that end with a process")
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "model[1].txt"
    writing = f"""
import signal, sys
from chainrule.serialization import replacing
with replacing({str(path)!r}) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    signal.pause()
"""
    process = subprocess.Popen([sys.executable, "-c", writing], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    half = Path(process.stdout.readline().strip())
    others = tmp_path / ".model[1]-of-another.txt"
    others.touch()
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert half.read_text() == "half"  # it lives
    process.kill()
    process.communicate()
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text("whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, others])


def test_the_file_is_readable_as_any_other_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with replacing(tmp_path / "replaced") as temporary:
        temporary.write_text("")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "replaced")]
    assert modes[0] == modes[1]


# -- weights ------------------------------------------------------------------------------------


def test_a_model_and_its_metadata_come_back(path, tmp_path):
    first, second = net(), net()
    first.forward(torch.randn(2, 3, 8, 8))
    save(path, first, {"architecture": "net", "sigma": "25", "author": "Zoë"})
    assert load(path, second) == {"architecture": "net", "sigma": "25", "author": "Zoë"}
    state = second.state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(state[name], value)
        assert state[name].dtype == value.dtype
    assert int(state["1.num_batches_tracked"]) == 1
    assert os.listdir(tmp_path) == [path.name]


def test_the_file_is_read_by_safetensors_itself(path):
    model = net().to(torch.float64)
    save(path, model)
    assert load(path, net()) == {}
    read = load_file(path)
    assert read.keys() == model.state_dict().keys()
    assert all(torch.equal(read[name], value) for name, value in model.state_dict().items())


def test_tensors_of_any_layout_and_kind_come_back(path):
    tensors = {
        "strided": torch.randn(4, 6)[:, ::2],
        "transposed": torch.randn(2, 3).T,
        "scalar": torch.tensor(3),
        "half": torch.randn(2).half(),
        "learned": torch.randn(2, requires_grad=True),
        "empty": torch.zeros(0, 3),
    }
    save_tensors(path, tensors)
    read, metadata = load_tensors(path)
    assert metadata == {}
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        assert torch.equal(read[name], value)
        assert read[name].dtype == value.dtype


def test_an_older_model_is_kept_unless_overwriting_was_asked(path):
    save(path, net())
    content = path.read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        save(path, net())
    assert path.read_bytes() == content
    newer = net()
    save(path, newer, overwrite=True)
    assert torch.equal(load_tensors(path)[0]["0.weight"], newer.state_dict()["0.weight"])


def test_a_full_disk_leaves_the_older_model_and_nothing_else(path, full_disk):
    save_tensors(path, {"old": torch.ones(3)})
    with pytest.raises(OSError, match="File too large"):
        save_tensors(path, {"new": torch.ones(10_000)}, overwrite=True)
    assert load_tensors(path)[0]["old"].tolist() == [1, 1, 1]
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_told_and_the_model_unchanged(path, share):
    save(path, net())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
        load(path, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("content", [b"once upon a time\n" * 50, b"\x89PNG\r\n", b"\0" * 64])
def test_a_file_of_another_kind_is_told(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
        load_tensors(path)


def test_a_missing_file_is_told(path, tmp_path):
    for missing in (path, tmp_path):
        with pytest.raises(FileNotFoundError, match=f"there is no file {missing}$"):
            load_tensors(missing)


def test_a_file_of_another_model_is_told(path):
    save(path, Conv2d(3, 4, 3))
    with pytest.raises(StateDictError, match=r"missing: .*; extra: bias, weight$"):
        load(path, net())

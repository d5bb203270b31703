"""What `torch.save` wrote, from strangers: no code runs, and no file grows beyond its bytes."""

import collections
import io
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import torch

from noise2noise.errors import UserError
from noise2noise.untrusted import load_torch


def load(path: Path) -> object:
    return load_torch(path, "make it again")


def refusal(path: Path) -> str:
    with pytest.raises(UserError, match=f"{path.name} can't be opened: .*; make it again") as error:
        load(path)
    return str(error.value.__cause__)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_texts_and_numbers_in_containers_come_back(tmp_path, zipped):
    path = tmp_path / "plain.pth"
    weights = collections.OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.ones(2).half())
    content = {"weights": weights, "sizes": {"width": 8}, "more": [1.5, (None, True)]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    loaded = load(path)
    assert isinstance(loaded, dict)
    assert torch.equal(loaded["weights"]["a"], weights["a"])
    assert loaded["weights"]["b"].dtype == torch.float16
    assert (loaded["sizes"], loaded["more"]) == (content["sizes"], content["more"])


class Calls:
    """What has a function called when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
def test_code_never_runs(tmp_path, zipped):
    fired, path = tmp_path / "fired", tmp_path / "hostile.pth"
    bomb = Calls(os.mkdir, str(fired))
    for content in (bomb, {"weights": torch.zeros(2), "more": bomb}, [bomb]):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        assert "mkdir" in refusal(path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(bomb, protocol))
        refusal(path)
    assert not fired.exists()
    pickle.loads(pickle.dumps(bomb))
    assert fired.exists()  # the trap does snap


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("call", [Calls(bytearray, 2**40), Calls(torch.Tensor, 2**33)])
def test_even_what_weights_only_allows_is_not_called(tmp_path, zipped, call):
    path = tmp_path / "hungry.pth"
    torch.save([torch.zeros(2), call], path, _use_new_zipfile_serialization=zipped)
    assert "it names" in refusal(path)


def test_a_file_that_unpacks_to_more_is_refused(tmp_path):
    stored, path = tmp_path / "stored.pth", tmp_path / "packed.pth"
    torch.save((torch.zeros(1_000_000), torch.zeros(1)), stored)
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert path.stat().st_size < 10_000
    assert refusal(path) == "an entry is compressed"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_that_repeats_its_memory_is_refused(tmp_path, zipped):
    path = tmp_path / "expanded.pth"
    huge = torch.zeros(1).expand(2**20, 2**20)
    inner: list[object] = [huge]
    inner.append(inner)  # a list that holds itself ends the search all the same
    for content in (huge, (torch.zeros(3), huge), {"a": {"b": [huge]}}, inner):
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        assert "repeats its memory" in refusal(path)


def test_an_endless_pickle_is_left(tmp_path):
    content = io.BytesIO()
    pickle.dump([None] * 3_000_000, content, 2)
    path = tmp_path / "long.pth"
    path.write_bytes(content.getvalue())
    assert refusal(path) == "the pickle is too long"


def test_a_text_that_claims_to_be_long_takes_no_memory(tmp_path):
    path = tmp_path / "claims.pth"
    torch.save([torch.zeros(2), "text"], path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(b"X\x04\0\0\0text") == 1
    path.write_bytes(content.replace(b"X\x04\0\0\0text", b"X\xff\xff\xff\xfftext"))
    tracemalloc.start()
    assert "expected 4294967295 bytes" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_a_file_too_large_is_refused_unread(tmp_path):
    path = tmp_path / "large.pth"
    with open(path, "wb") as file:
        file.truncate(2**33 + 1)  # takes no room on the disk
    with pytest.raises(UserError, match=r"large\.pth has 8589934593 bytes, and at most"):
        load(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match=r"there is no file"):
            load(path)


def test_an_older_torch_is_refused_before_the_file_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(UserError, match=r"PyTorch 2\.6 or newer only, and this is 2\.5\.1"):
        load(tmp_path / "not even there.pth")

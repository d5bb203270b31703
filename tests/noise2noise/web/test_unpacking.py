"""OME-Zarr on the page: zipped, or as the tar that the page makes of a folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from noise2noise.errors import UserError
from noise2noise.files import Header, open_stack, write_stack
from noise2noise.web.limits import RefusedError
from noise2noise.web.unpacking import is_archive, unpacked
from tests.noise2noise.web.conftest import Browser

pytest.importorskip("zarr", reason="the extra zarr is not installed")

MOST = 2**20


@pytest.fixture
def store(tmp_path, picture) -> Path:
    planes = np.stack([picture(70, 80, 1, "uint16", seed) for seed in range(2)])
    path = tmp_path / "cells.ome.zarr"
    write_stack(path, Header("ZYX", planes.shape, planes.dtype), iter(planes[..., None]))
    return path


def files_of(store: Path) -> Iterable[tuple[Path, str]]:
    return (
        (each, each.relative_to(store).as_posix()) for each in store.rglob("*") if each.is_file()
    )


def zipped(store: Path, above: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, name in files_of(store):
            archive.write(path, above + name)
    return data.getvalue()


def tarred(store: Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, name in files_of(store):
            archive.add(path, name)
    return data.getvalue()


def zip_of(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["zip", "zip of a folder", "tar"])
def test_a_store_is_shown_and_saved_as_a_zip_of_what_the_command_writes(
    kind, browser: Browser, store, tmp_path
):
    data = {
        "zip": lambda: zipped(store),
        "zip of a folder": lambda: zipped(store, "cells.ome.zarr/"),
        "tar": lambda: tarred(store),
    }[kind]()
    name = "cells.ome.zarr.tar" if kind == "tar" else "cells.ome.zarr.zip"
    facts = browser.send(name, data).json()
    assert (facts["name"], facts["axes"], facts["width"]) == ("cells.ome.zarr", [["Z", 2]], 80)
    page = browser.open_page()
    assert [each.name for each in page.folder.glob("in/*/*")] == ["cells.ome.zarr"]
    assert browser.tile(facts["file"], plane=1)
    (job,) = browser.save(facts["file"])
    assert (job["state"], job["result"]) == ("done", "cells_denoised.ome.zarr")
    answer = browser.client.get(f"/results/{browser.page}/{job['id']}")
    assert "cells_denoised.ome.zarr.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "saved")
    from noise2noise.denoiser import Denoiser

    with open_stack(store) as noisy:
        Denoiser.load("grey").denoise_stack(noisy, tmp_path / "by_hand.ome.zarr")
    with (
        open_stack(tmp_path / "saved" / "cells_denoised.ome.zarr") as saved,
        open_stack(tmp_path / "by_hand.ome.zarr") as expected,
    ):
        np.testing.assert_array_equal(np.asarray(saved), np.asarray(expected))


def put(tmp_path: Path, data: bytes, name: str = "a.zip") -> Path:
    path = tmp_path / "dropped" / name
    path.parent.mkdir()
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "name", ["../zarr.json", "/zarr.json", "a/../../zarr.json", "a\\..\\zarr.json", "c:zarr.json"]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    path = put(tmp_path, zip_of(**{"zarr.json": b"{}", name: b"{}"}))
    with pytest.raises(UserError, match="whose names no folder can have"):
        unpacked(path, MOST)
    assert sorted(each.name for each in tmp_path.rglob("*.json")) == []


def test_links_and_devices_are_left_out(tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        held = tarfile.TarInfo("zarr.json")
        held.size = 2
        archive.addfile(held, io.BytesIO(b"{}"))
        for name, kind in (("0", tarfile.SYMTYPE), ("1", tarfile.LNKTYPE), ("2", tarfile.FIFOTYPE)):
            other = tarfile.TarInfo(name)
            other.type, other.linkname = kind, "/etc/passwd"
            archive.addfile(other)
    folder = unpacked(put(tmp_path, data.getvalue(), "a.tar"), MOST)
    assert folder.name == "a.zarr"
    assert [each.name for each in folder.iterdir()] == ["zarr.json"]


def test_what_unpacks_to_more_than_may_be_is_refused_and_gone(tmp_path):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", bytes(MOST + 1))
    path = put(tmp_path, data.getvalue())
    assert path.stat().st_size < 3000
    with pytest.raises(RefusedError, match=r"more than 1\.0 MB"):
        unpacked(path, MOST)
    lying = data.getvalue().replace((MOST + 1).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    path.write_bytes(lying)
    with pytest.raises((RefusedError, UserError)):
        unpacked(path, MOST)
    assert [each.name for each in path.parent.iterdir()] == ["a.zip"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"photo.png": b"x"}, "holds no OME-Zarr"),
        ({"a.zarr/zarr.json": b"{}", "b.zarr/zarr.json": b"{}"}, "holds 2 images"),
    ],
)
def test_archives_of_something_else_are_told(tmp_path, files, said):
    with pytest.raises(UserError, match=said):
        unpacked(put(tmp_path, zip_of(**files)), MOST)


def test_a_damaged_archive_is_told_and_nothing_stays(browser: Browser, store):
    whole = zipped(store)
    spoilt = bytearray(whole)
    spoilt[60:90] = bytes(30)
    for data in (whole[: len(whole) // 2], bytes(spoilt), tarred(store)[:900]):
        answer = browser.send("cells.zarr.zip", data)
        assert answer.status_code == 422
        assert answer.json()["error"].startswith("cells.zarr")
    assert list(browser.open_page().folder.glob("in/*")) == []


def test_an_image_is_no_archive(tmp_path):
    assert not is_archive(put(tmp_path, b"\x89PNG\r\n\x1a\n", "a.png"))

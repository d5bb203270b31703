"""`noise2noise denoise` over many files: which, where to, again, stopped, and on hard ground."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from chainrule import serialization
from noise2noise.batch import work as batch_work
from noise2noise.cli import main
from noise2noise.denoiser import Denoiser
from noise2noise.files import Image, Stack, read_image, write_image
from noise2noise.inference import network

SIZE = (20, 26, 3)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_ins: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def scans(folder_of: Callable[..., Path], here: Path) -> Path:
    """A folder scans/ with two pictures, one in deep/er/, a text file and a link in a circle."""
    folder_of("here/scans", {"a.png": SIZE, "b.tif": SIZE})
    folder_of("here/scans/deep/er", {"c.png": SIZE}, seed=1)
    Path("scans/notes.txt").write_text("no image")
    Path("scans/deep/circle").symlink_to(here / "scans")
    return Path("scans")


def files(folder: Path | str = ".") -> set[str]:
    root = Path(folder)
    return {
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".noise2noise")
    }


def outputs(out: str) -> set[str]:
    return {line.split(" -> ")[1].split("  (")[0] for line in out.splitlines()}


# Which files.


def test_subfolders_are_looked_into_when_asked_and_mirrored(run, scans):
    status, out, err = run("denoise", scans, "-o", "flat")
    assert (status, outputs(out)) == (0, {"flat/a.png", "flat/b.tif"})
    assert "1 subfolder; --recursive looks into them" in err
    assert "1 file of no image format (.txt)" in err
    status, out, err = run("denoise", scans, "-r", "-o", "tree")
    assert (status, files("tree")) == (0, {"a.png", "b.tif", "deep/er/c.png"})
    assert "1 link to folders that were looked into" in err


def test_results_in_a_folder_below_are_not_looked_at(done, scans):
    done("denoise", scans, "-r", "-o", "scans/clean")
    assert len(files("scans/clean")) == 3
    assert done("denoise", scans, "-r", "-o", "scans/clean") == ""
    assert len(files("scans/clean")) == 3


def test_patterns_are_known_without_a_shell(run, refused, scans):
    status, out, err = run("denoise", "scans/*", "-o", "clean")
    assert (status, outputs(out)) == (0, {"clean/a.png", "clean/b.tif"})
    assert "of no image format (.txt)" in err
    status, out, _ = run("denoise", "scans/deep/er/*.png", "scans/[b].tif", "-o", "other")
    assert (status, outputs(out)) == (0, {"other/c.png", "other/b.tif"})
    assert refused("denoise", "scans/*.jpg") == (
        "there is no file that matches scans/*.jpg; check the name"
    )
    Path("odd[1].png").write_bytes(Path("scans/a.png").read_bytes())
    assert outputs(run("denoise", "odd[1].png").out) == {"odd[1]_denoised.png"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\0"])
def test_a_list_of_names_is_read_and_its_folders_mirrored(run, scans, monkeypatch, end):
    names = ["scans/a.png", "scans/deep/er/c.png", "scans/missing.png"]
    stdin = io.TextIOWrapper(io.BytesIO(end.join(names).encode() + end.encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    status, _, err = run("denoise", "--files-from", "-", "-o", "clean")
    assert (status, files("clean")) == (2, {"scans/a.png", "scans/deep/er/c.png"})
    assert "there is no file scans/missing.png" in err
    Path("list").write_text(end.join(names[:2]))
    assert run("denoise", "--files-from", "list", "-o", "clean").out == ""  # done already


def test_an_empty_list_or_none_at_all_is_refused(refused):
    Path("list").write_text("\n")
    assert "the list of files is empty" in refused("denoise", "--files-from", "list")
    assert "could not be read" in refused("denoise", "--files-from", "nowhere")
    assert "no images are named" in refused("denoise")


def test_results_of_an_earlier_run_are_not_denoised_again(run, done, scans):
    done("denoise", scans)
    done("denoise", scans, "--name", "{stem}-{model}{suffix}")
    status, out, err = run("denoise", scans, "-o", "clean")
    assert (status, outputs(out)) == (0, {"clean/a.png", "clean/b.tif"})
    assert "4 results of earlier runs" in err


# Where results go.


def test_names_follow_a_template(done, scans):
    done("denoise", scans, "--name", "{stem}_{model}.png", "-o", "clean")
    assert files("clean") == {"a_photo.png", "b_photo.png"}
    done("denoise", "scans/a.png", "--name", "x{stem}{suffix}")
    assert Path("scans/xa.png").is_file()


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{name}.png", "has {name}, and only {stem}, {model} and {suffix} are known"),
        ("{stem", "is no template"),
        ("clean.png", "must hold {stem}"),
        ("../{stem}.png", "must hold {stem}, and no folder"),
        ("{stem}{suffix}", "would replace scans/a.png"),
        ("{stem[0]}.png", "has {stem[0]}"),
    ],
)
def test_templates_that_can_not_be_are_refused(refused, scans, template, reason):
    assert reason in refused("denoise", scans, "--name", template)


def test_a_dry_run_says_what_would_be_done_and_does_nothing(run, done, scans):
    done("denoise", "scans/a.png", "scans/b.tif")
    Path("scans/b.tif").write_bytes(Path("scans/b.tif").read_bytes() + b"\0")
    before = files()
    status, out, err = run("denoise", scans, "-r", "--dry-run", "--name", "{stem}_denoised{suffix}")
    assert status == 0
    assert outputs(out) == {"scans/b_denoised.tif", "scans/deep/er/c_denoised.png"}
    assert "skipped" in err
    assert files() == before
    records = json.loads(run("denoise", scans, "--dry-run", "--json").out)
    assert [record["status"] for record in records] == ["skipped", "planned"]


# Doing it again.


def test_a_second_run_does_only_what_changed(run, done, scans, make_model, picture):
    done("denoise", scans, "-o", "clean")
    status, out, err = run("denoise", scans, "-o", "clean")
    assert (status, out) == (0, "")
    assert "skipped          2  done by an earlier run" in err
    write_image("scans/a.png", Image(picture(*SIZE, seed=9)), overwrite=True)
    assert outputs(done("denoise", scans, "-o", "clean")) == {"clean/a.png"}
    assert len(outputs(done("denoise", scans, "-o", "clean", "--strength", 0.5))) == 2
    model = make_model("own.safetensors", width=4)
    assert len(outputs(done("denoise", scans, "-o", "clean", "-m", model))) == 2
    assert done("denoise", scans, "-o", "clean", "-m", model, "--tile", 100) == ""
    make_model("other.safetensors", width=8).replace(model)
    assert len(outputs(done("denoise", scans, "-o", "clean", "-m", model))) == 2
    assert len(outputs(done("denoise", scans, "-o", "clean", "-m", model, "--overwrite"))) == 2


def test_a_file_that_is_not_ours_is_never_replaced(run, done, scans):
    done("denoise", scans, "-o", "clean")
    Path("clean/a.png").write_bytes(b"retouched")
    status, out, err = run("denoise", scans, "-o", "clean", "--strength", 0.5)
    assert (status, outputs(out)) == (2, {"clean/b.tif"})
    assert "clean/a.png exists already" in err
    assert Path("clean/a.png").read_bytes() == b"retouched"


def test_a_damaged_ledger_is_no_reason_to_fail(run, done, scans):
    done("denoise", scans, "-o", "clean")
    ledger = Path("clean/.noise2noise.jsonl")
    good = ledger.read_bytes()
    junk = b'\xff\n[1]\n{"name": 3}\n{"name": "b.tif", "key": 1, "stamp": [[]], "beside": {}}\n'
    ledger.write_bytes(good.replace(b"\n", b"\n" + junk) + b'{"name": "a.p')
    status, out, err = run("denoise", scans, "-o", "clean")
    assert (status, out) == (2, "")
    assert "clean/b.tif exists already" in err
    assert "clean/a.png" not in err


# Pipes.


def as_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_an_image_goes_through_pipes(capsysbinary, monkeypatch, picture, suffix):
    image = io.BytesIO()
    kinds = {"tif": "TIFF", "jpg": "JPEG"}
    PIL.Image.fromarray(picture(*SIZE)).save(image, kinds.get(suffix, "PNG"))
    as_stdin(monkeypatch, image.getvalue())
    monkeypatch.setattr("sys.argv", ["noise2noise", "denoise", "-", "--model", "photo"])
    with contextlib.suppress(SystemExit):
        main()
    data = capsysbinary.readouterr().out
    expected = Denoiser.load("photo").denoise(np.asarray(PIL.Image.open(image)))
    with PIL.Image.open(io.BytesIO(data)) as result:
        assert result.format == PIL.Image.open(image).format
        if suffix == "jpg":  # which loses some
            assert result.size == (26, 20)
        else:
            np.testing.assert_array_equal(np.asarray(result), expected)
    assert files() == set()


def test_standard_input_can_be_written_to_a_file(done, monkeypatch, scans):
    as_stdin(monkeypatch, Path("scans/a.png").read_bytes())
    done("denoise", "-", "-o", "clean.png")
    expected = Denoiser.load("photo").denoise(read_image("scans/a.png").pixels)
    np.testing.assert_array_equal(read_image("clean.png").pixels, expected)


def test_what_can_not_go_through_pipes_is_refused(refused, monkeypatch, scans):
    assert "takes one image, and there are 2" in refused("denoise", scans, "-o", "-")
    assert "goes alone" in refused("denoise", "-", "scans/a.png")
    as_stdin(monkeypatch, b"no image")
    assert "is not an image" in refused("denoise", "-")


# What is said.


def test_json_has_every_file_with_errors(run, scans):
    Path("scans/bad.png").write_bytes(b"")
    status, out, _ = run("denoise", scans, "-r", "--json")
    records = json.loads(out)
    assert status == 2
    assert [(Path(record["input"]).name, record["status"]) for record in records] == [
        ("a.png", "done"),
        ("b.tif", "done"),
        ("bad.png", "failed"),
        ("c.png", "done"),
    ]
    assert "is empty (0 bytes)" in records[2]["error"]


def test_which_model_and_why_is_said(done, picture, scans):
    write_image("grey.png", Image(picture(20, 26, 1)))
    said = done("denoise", "grey.png", "scans/a.png")
    assert "(grey since it has no colours, " in said
    assert "(photo since its colours have noise of their own, " in said
    assert "(grey, " in done("denoise", "scans/a.png", "-m", "grey", "-o", "grey_a.png")


def test_quiet_says_nothing_but_errors(run, scans):
    assert run("denoise", scans, "-o", "clean", "--quiet") == (0, "", "")
    Path("scans/bad.png").write_bytes(b"")
    status, out, err = run("denoise", scans, "-o", "clean", "-q")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_qualities(done, refused, scans, make_model, stand_ins):
    make_model("weights/fast.safetensors", width=4)
    make_model("weights/fast-grey.safetensors", width=4, channels=1)
    pixels = read_image("scans/a.png").pixels
    done("denoise", "scans/a.png", "--quality", "fast", "-o", "fast.png")
    expected = Denoiser.load("fast").denoise(pixels)
    np.testing.assert_array_equal(read_image("fast.png").pixels, expected)
    done("denoise", "scans/a.png", "--quality", "best", "-o", "best.png")
    expected = Denoiser.load("photo").denoise(pixels, turns=True)
    np.testing.assert_array_equal(read_image("best.png").pixels, expected)
    assert "choose one of fast, balanced, best" in refused("denoise", scans, "--quality", "good")
    assert "leave --model photo out" in refused(
        "denoise", scans, "--quality", "fast", "-m", "photo"
    )


def test_the_quality_of_a_jpeg_can_be_said(done, scans):
    coarseness = []
    for quality in (40, 95):
        done("denoise", "scans/a.png", "-o", f"{quality}.jpg", "--jpeg-quality", quality)
        with PIL.Image.open(f"{quality}.jpg") as result:
            coarseness.append(result.quantization[0][0])  # type: ignore[attr-defined]
    assert coarseness[0] > 3 * coarseness[1]


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (500, 3), (101, 211)])
@pytest.mark.parametrize("model", ["photo", "grey", "fast", "fast-grey"])
def test_odd_tiny_and_prime_sizes(done, picture, monkeypatch, here, shape, model):
    """By the models that are shipped, in the smallest tiles and in one."""
    monkeypatch.undo()
    monkeypatch.chdir(here)
    np.save("cell.npy", picture(*shape, 1, "float32"))
    done("denoise", "cell.npy", "-m", model, "-o", "whole.npy")
    least = {"photo": 264, "grey": 264, "fast": 68, "fast-grey": 68}[model]
    done("denoise", "cell.npy", "-m", model, "--tile", least, "-o", "tiled.npy")
    whole = np.load("whole.npy")
    assert (whole.shape, whole.dtype) == (shape, np.float32)
    np.testing.assert_allclose(np.load("tiled.npy"), whole, atol=1e-5)


def test_pixels_that_are_no_numbers_and_impulses_are_counted(run, make_model, picture):
    told = make_model("told.safetensors", "guided", channels=1, width=4, depth=0, blocks=1)
    pixels = picture(60, 70, 1, "float32")
    pixels[5, 5:8], pixels[20, 20] = np.nan, 3
    np.save("cell.npy", pixels)
    (record,) = json.loads(run("denoise", "cell.npy", "-m", told, "--json").out)
    assert record["notes"] == ["3 NaN or infinite values stay as they are", "1 impulse removed"]
    np.testing.assert_array_equal(np.isnan(np.load("cell_denoised.npy")), np.isnan(pixels))


# Memory.


def test_memory_changes_no_result_and_too_little_is_said(done, refused, picture):
    write_image("large.tif", Image(picture(150, 180, 3)))
    done("denoise", "large.tif", "-o", "one.tif")
    words = refused("denoise", "large.tif", "-o", "two.tif", "--memory", "1MB")
    match = re.match(r"large.tif: (\d+ MB) of memory are needed at least, and 1 MB", words)
    assert match is not None
    done("denoise", "large.tif", "-o", "two.tif", "--memory", match[1])
    assert Path("one.tif").read_bytes() == Path("two.tif").read_bytes()
    assert "is no amount of memory" in refused("denoise", "large.tif", "--memory", "much")
    assert "leave --tile 70 out" in refused("denoise", "large.tif", "--memory", "1GB", "--tile", 70)


# Hard ground.


def no_temporary_left(folder: Path) -> bool:
    return not [path for path in folder.rglob(".*") if path.name != ".noise2noise.jsonl"]


def test_a_folder_of_troubles_ends_with_every_good_file_done(run, scans, here):
    whole = Path("scans/a.png").read_bytes()
    Path("scans/cut.png").write_bytes(whole[: len(whole) // 2])
    Path("scans/zero.png").write_bytes(b"")
    Path("scans/text.png").write_text("no image, whatever its name says")
    Path("scans/lost.png").symlink_to("nowhere.png")
    Path("scans/round.png").symlink_to("round.png")
    Path("clean").mkdir()
    Path("clean/b.tif").write_bytes(b"precious")
    status, out, err = run("denoise", scans, "-r", "-o", "clean")
    assert status == 2
    assert outputs(out) == {"clean/a.png", "clean/deep/er/c.png"}
    assert files("clean") == {"a.png", "b.tif", "deep/er/c.png"}
    assert Path("clean/b.tif").read_bytes() == b"precious"
    for name in ("cut.png", "zero.png", "text.png", "lost.png", "round.png", "b.tif"):
        assert len([line for line in err.splitlines() if f"/{name}" in line]) == 1, name
    assert "failed           6  see above" in err
    assert "done             2" in err
    assert no_temporary_left(here)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_fails_in_the_middle_leaves_nothing_half_written(
    run, scans, here, monkeypatch, number
):
    """For two of three files the disk is full when they are flushed to it."""
    flush, count = serialization._flush_to_disk, iter(range(9))

    def failing(path: Path) -> None:
        if next(count) % 2 == 0:
            raise OSError(number, os.strerror(number), str(path))
        flush(path)

    monkeypatch.setattr(serialization, "_flush_to_disk", failing)
    status, out, err = run("denoise", scans, "-r", "-o", "clean")
    assert (status, out.count("->")) == (2, 1)
    assert err.count(f"could not be written: {os.strerror(number)}") == 2
    assert len(files("clean")) == 1
    assert no_temporary_left(here)
    status, out, _ = run("denoise", scans, "-r", "-o", "clean")  # there is room again
    assert out.count("->") >= 1


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a tmpfs needs root"
)
def test_a_full_disk(run, folder_of, here, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs isn't permitted here")
    try:
        folder = folder_of("here/shots", {"a.png": SIZE, "big.tif": (200, 300, 3), "z.png": SIZE})
        status, _, err = run("denoise", folder, "-o", small / "clean")
        assert (status, files(small / "clean")) == (2, {"a.png", "z.png"})
        assert "big.tif could not be written: No space left on device" in err
        assert no_temporary_left(small)
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_folder_that_can_not_be_written_to(run, scans, here, monkeypatch):
    Path("closed").mkdir()
    mkstemp = serialization.tempfile.mkstemp

    def refusing(*rest: Any, dir: Any = None, **more: Any) -> Any:
        if dir is not None and Path(dir).name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))
        return mkstemp(*rest, dir=dir, **more)

    monkeypatch.setattr(serialization.tempfile, "mkstemp", refusing)
    status, out, err = run("denoise", scans, "-o", "closed")
    assert (status, out) == (2, "")
    for name in ("a.png", "b.tif"):
        assert f"closed/{name} could not be written: Permission denied" in err
    assert files("closed") == set()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes into any folder"
)
def test_nothing_is_computed_for_a_folder_that_is_closed(run, scans, monkeypatch):
    refuses_before_the_work(run, scans, monkeypatch, lambda: Path("closed").chmod(0o555))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a tmpfs needs root"
)
def test_nothing_is_computed_for_a_disk_that_is_read_only(run, scans, monkeypatch):
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", "closed"]
    Path("closed").mkdir()
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs isn't permitted here")
    try:
        refuses_before_the_work(run, scans, monkeypatch, lambda: None)
    finally:
        subprocess.run(["umount", "closed"], check=True)


def refuses_before_the_work(run, scans, monkeypatch, close: Callable[[], None]) -> None:
    Path("closed").mkdir(exist_ok=True)
    close()
    opened = []
    monkeypatch.setattr(batch_work, "open_stack", lambda path, **_: opened.append(path))
    status, out, err = run("denoise", scans, "-o", "closed", "--model", "photo")
    assert (status, out, opened) == (2, "", [])
    for name in ("a.png", "b.tif"):
        assert f"closed/{name} can't be written: the folder is read-only; name another" in err


# Stopped from outside.


def test_a_stop_leaves_nothing_half_written_and_the_next_run_goes_on(
    run, done, folder_of, here, monkeypatch
):
    folder = folder_of("here/shots", {f"{i}.png": SIZE for i in range(8)})
    denoise_stack, count = Denoiser.denoise_stack, iter(range(99))

    def then_a_signal(self: Denoiser, stack: Stack, *rest: Any, **more: Any) -> Any:
        if next(count) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
        return denoise_stack(self, stack, *rest, **more)

    monkeypatch.setattr(Denoiser, "denoise_stack", then_a_signal)
    status, out, err = run("denoise", folder, "-o", "clean")
    assert status == 130
    finished = len(files("clean"))
    assert 1 <= finished < 8
    assert out.count("->") == finished
    assert f"stopped; {8 - finished} of 8 images are left as they were" in err
    assert no_temporary_left(here)
    assert done("denoise", folder, "-o", "clean").count("->") == 8 - finished


def test_a_closed_pipe_ends_the_run_without_a_word(scans, stand_ins):
    command = [sys.executable, "-m", "noise2noise", "denoise", "scans", "-r", "-o", "clean"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (141, b"")
    assert no_temporary_left(Path("clean"))


def test_several_files_are_in_flight_and_one_network_computes_at_a_time(
    done, folder_of, here, monkeypatch
):
    folder = folder_of("here/shots", {f"{i}.png": SIZE for i in range(6)})
    both, busy, most = threading.Barrier(2, timeout=60), [], []
    opened = batch_work.open_stack

    def together(*rest: Any, **more: Any) -> Stack:
        if not both.broken and len(most) < 2:
            most.append(both.wait())  # passes only if another file is being opened
        return opened(*rest, **more)

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(batch_work, "open_stack", together)
    alone = network.infer

    def watched(*rest: Any) -> np.ndarray:
        busy.append(1)
        assert len(busy) == 1
        time.sleep(0.01)
        result = alone(*rest)
        busy.pop()
        return result

    monkeypatch.setattr(network, "infer", watched)
    assert done("denoise", folder, "-o", "clean").count("->") == 6
    assert most

"""The program as a whole: help, version, exit statuses, and that no traceback is ever shown."""

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule
from noise2noise.catalogue import CORRUPTIONS
from noise2noise.cli.program import COMMANDS, load
from noise2noise.files import Image, read_image, write_image


def program(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The installed package, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "noise2noise", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_photo_is_denoised_by_the_program(tmp_path, make_model, picture):
    model = make_model("elsewhere/model.safetensors")
    write_image(tmp_path / "photo.jpg", Image(picture(40, 60)))
    result = program("denoise", "photo.jpg", "--model", model, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("photo.jpg -> photo_denoised.jpg")
    assert read_image(tmp_path / "photo_denoised.jpg").pixels.shape == (40, 60, 3)


def test_a_bad_image_gets_one_sentence_from_the_program(tmp_path, make_model):
    (tmp_path / "text.png").write_text("no image")
    result = program("denoise", "text.png", "--model", make_model(), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    sentence = "error: text.png is not an image that can be read; use PNG, JPEG, TIFF, BMP, "
    assert result.stderr.startswith(sentence)
    assert result.stderr.count("\n") == 1


def test_the_version_tells_the_package_and_what_computes(done):
    version = importlib.metadata.version("noise2noise")
    assert done("--version") == f"noise2noise {version} ({chainrule.backend()} backend)\n"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_the_commands_and_where_to_start(done, flag):
    text = done(flag)
    for command in COMMANDS:
        assert command in text
    assert "noise2noise denoise photo.jpg" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(done, command):
    text = done(command, "--help")
    assert "Examples" in text
    assert f"noise2noise {command}" in text.split("Examples")[1]


@pytest.mark.parametrize("command", ["train", "make-pairs"])
def test_help_explains_the_corruptions(done, command):
    words = " ".join(done(command, "--help").split())
    for corruption in CORRUPTIONS.values():
        assert f"{corruption.example} {corruption.summary}" in words


def examples() -> list[str]:
    """Every example of every command's help."""
    epilogs = [
        load(name).epilog or "" for name in COMMANDS if name != "benchmark"
    ]  # begins at once
    lines = [line.strip("`") for epilog in epilogs for line in epilog.split("\n\n")]
    return [line for line in lines if line.startswith("noise2noise ")]


@pytest.mark.parametrize("example", examples())
def test_examples_are_understood(run, tmp_path, monkeypatch, stand_ins, example):
    """In an empty folder each fails for want of its files, and not of its options."""
    monkeypatch.chdir(tmp_path)
    arguments = shlex.split(example)[1:]
    if arguments[0] in ("demo", "web") or "--generated" in arguments:
        return  # would begin to train, or serve until it is stopped
    status, _, err = run(*arguments)
    if arguments[0] in ("models", "doctor") or arguments[:2] in (
        ["export", "photo"],
        ["export", "grey"],
    ):
        assert status == 0
        return
    assert status == 2
    assert re.match("error: (can't go on with this run: )?there is no (file|folder|model) ", err)


@pytest.mark.parametrize(
    ("arguments", "met"),
    [
        (["frobnicate"], "frobnicate"),
        (["denoise"], "images"),
        (["denoise", "a.png", "--frobnicate"], "--frobnicate"),
        (["denoise", "a.png", "--strength", "much"], "--strength"),
        (["train"], "--out"),
        (["make-pairs", "photos", "--out", "x", "--corruption", "text", "--count", "0"], "--count"),
    ],
)
def test_what_is_not_understood_ends_with_status_2(run, arguments, met):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert met in err
    assert "-h" in err
    assert "Traceback" not in err


def test_a_disk_that_refuses_gets_a_sentence_too(refused, monkeypatch, tmp_path):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    write_image(tmp_path / "a.png", Image(np.zeros((40, 40, 3), np.uint8)))
    monkeypatch.setattr("noise2noise.files.write_image", full)
    noise = ("--corruption", "gaussian:25")
    sentence = refused("make-pairs", tmp_path, *noise, "--out", tmp_path / "pairs")
    assert sentence == "somewhere: No space left on device"


def test_too_little_memory_gets_a_sentence_too(refused, tmp_path):
    wide = ["--size", f"width={10**14}"]  # more than any address space holds
    pictures = ["--generated", "2", "--corruption", "gaussian:25"]
    sentence = refused("train", "--out", tmp_path / "run", *pictures, *wide)
    assert sentence.startswith("the memory is not enough")
    assert not (tmp_path / "run").exists()

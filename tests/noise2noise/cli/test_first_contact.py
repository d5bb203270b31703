"""What people do first, and what they get: one line that helps, and no traceback."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from noise2noise.cli.program import COMMANDS
from noise2noise.files import Image, write_image

INTERRUPTED_WHILE = """
import os, signal, sys, threading

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})

sys.meta_path.insert(0, Finder())
sys.argv = ["noise2noise", "denoise", {image!r}]
from noise2noise.cli import main
main()
"""


SWALLOWED = """
import os, signal, sys, time
from noise2noise import model_file

def load_tensors(path):
    try:
        os.kill(os.getpid(), {number})
        time.sleep(1)
    except KeyboardInterrupt:
        raise ValueError("what a library made of it")

model_file.load_tensors = load_tensors
sys.argv = ["noise2noise", "denoise", {image!r}, "--model", {model!r}]
from noise2noise.cli import main
main()
"""


@pytest.fixture
def program(tmp_path):
    """program("denoise", "a.png", HOME="x"): run by a shell's rules, in a folder of its own."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "noise2noise", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.mark.parametrize(
    "module",
    [
        "typer",
        "noise2noise.cli.program",
        "noise2noise.cli.denoise",
        "numpy",
        "torch._C",
        "torch.nn",
        "chainrule.backends",
        "noise2noise.denoiser",
        "noise2noise.networks.table",
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_something_is_loaded_prints_one_line(module, number, tmp_path, picture):
    image = tmp_path / "a.png"
    write_image(image, Image(picture(20, 20)))
    code = INTERRUPTED_WHILE.format(module=module, number=int(number), image=str(image))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    status = 128 + number
    assert (result.returncode, result.stderr, result.stdout) == (status, "interrupted\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_none_of_the_users_errors(tmp_path, make_model, picture, number):
    write_image(tmp_path / "a.png", Image(picture(16, 16)))
    script = SWALLOWED.format(
        number=int(number), image=str(tmp_path / "a.png"), model=str(make_model())
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert (result.returncode, result.stderr) == (128 + number, "interrupted\n")


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["models", "--json"]])
def test_a_closed_pipe_ends_it_without_a_word(arguments):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "noise2noise", *arguments]
    with os.fdopen(write, "w") as pipe:
        result = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["photo.jpg"], "to remove its noise: noise2noise denoise photo.jpg"),
        (["my photos/"], "to remove its noise: noise2noise denoise 'my photos/'"),
        (["trian"], "there is no command trian; did you mean train? (noise2noise -h lists them)"),
        (["benchmark", "sped"], "did you mean speed? (noise2noise benchmark -h lists them)"),
        (["denoise", "a.png", "--outptu", "b"], "there is no option --outptu; did you mean --out"),
        (["denoise", "a.png", "--strength", "much"], "--strength: "),
        (["evaluate", "a", "--corruption", "gausian:25"], "did you mean gaussian:25?"),
        (["train"], "--output is missing (noise2noise train -h shows what there is)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gets_one_line_that_says_what_was_meant(run, arguments, said):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


def test_a_misspelt_model_gets_the_name_that_was_meant(run, tmp_path, picture):
    write_image(tmp_path / "a.png", Image(picture(20, 20)))
    assert "did you mean photo?" in run("denoise", tmp_path / "a.png", "--model", "foto").err


def test_a_value_that_is_none_is_shown(run):
    assert "much" in run("denoise", "a.png", "--strength", "much").err


def test_a_name_that_begins_with_a_dash_is_explained(run, tmp_path, monkeypatch, picture):
    monkeypatch.chdir(tmp_path)
    write_image("-photo.png", Image(picture(20, 20)))
    assert (
        "a file whose name begins with a dash is ./-photo.png" in run("denoise", "-photo.png").err
    )
    assert run("denoise", "./-photo.png").status == 0
    assert Path("-photo_denoised.png").exists()


def test_names_with_spaces_and_umlauts_are_names(done, tmp_path, monkeypatch, picture):
    monkeypatch.chdir(tmp_path)
    Path("Größe ß").mkdir()
    write_image("Größe ß/ein Bild.png", Image(picture(20, 20)))
    assert "ein Bild_denoised.png" in done("denoise", "Größe ß/ein Bild.png")


def test_a_missing_folder_is_not_called_a_file(run, tmp_path):
    assert "there is no file or folder" in run("denoise", tmp_path / "nofolder").err


def test_errors_have_no_colours_where_none_are_wanted(program):
    assert "\033" not in program("denois", NO_COLOR="1").stderr
    assert "\033" not in program("denois").stderr


EVERY_COMMAND = ["", *COMMANDS, "benchmark speed", "benchmark quality"]


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_help_fits_a_narrow_window_and_breaks_no_word(done, monkeypatch, command):
    for columns in (80, 60):
        monkeypatch.setenv("COLUMNS", str(columns))
        text = done(*command.split(), "--help")
        assert max(map(len, text.splitlines())) <= columns
    assert "<bool>" not in text


def test_an_example_that_is_broken_is_the_same_to_a_shell(done, monkeypatch):
    examples = []
    for columns in ("60", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        text = done("train", "--help").partition("Examples:\n")[2].partition("\n\n")[0]
        examples.append([shlex.split(line) for line in text.replace("\\\n", "").splitlines()])
    assert examples[0] == examples[1]

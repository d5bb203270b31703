"""What is loaded for a command: nothing that it doesn't use, so that help and errors come at once.

Processor time isn't measured here. PyTorch alone takes a second to load; what stands in `HEAVY` is
what takes tenths of one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from noise2noise.cli.program import COMMANDS

HEAVY = {
    "PIL",
    "chainrule",
    "imagecodecs",
    "matplotlib",
    "numpy",
    "rich",
    "safetensors",
    "scipy",
    "skimage",
    "tifffile",
    "torch",
}

LOADED = """
import atexit, sys
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
from noise2noise.cli import main
main()
"""


def loaded(*arguments: object, **environment: str) -> set[str]:
    """The packages that are there when the command ends."""
    result = subprocess.run(
        [sys.executable, "-c", LOADED, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("loaded "))
    return {name.partition(".")[0] for name in line.split()[1:]} | set(line.split()[1:])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(command):
    assert loaded(command, "--help") & HEAVY == set()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version"],
        ["models"],
        ["denois"],
        ["photo.jpg"],
        ["train"],
        ["denoise", "photo.jpg", "--outptu", "clean/"],
        ["denoise", "photo.jpg", "--strength", "much"],
        ["make-pairs", "photos/", "--out", "x", "--corruption", "text", "--count", "0"],
    ],
    ids=" ".join,
)
def test_errors_of_usage_and_what_only_tells_load_nothing_heavy(arguments):
    assert loaded(*arguments) & HEAVY == set()


@pytest.mark.parametrize(
    ("line", "completed"),
    [("noise2noise tr", "train"), ("noise2noise train --lo", "--loss")],
)
def test_a_shell_completes_and_loads_nothing_heavy(line, completed):
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    asked = {"_NOISE2NOISE_COMPLETE": "complete_bash", **words}
    program = [sys.executable, "-m", "noise2noise"]
    result = subprocess.run(program, env={**os.environ, **asked}, capture_output=True, text=True)
    assert (result.stdout.split(), result.stderr) == ([completed], "")
    assert loaded(**asked) & HEAVY == set()


def test_importing_the_package_loads_no_pytorch_until_a_name_is_asked_for():
    code = "import sys, noise2noise; assert 'torch' not in sys.modules; noise2noise.Denoiser"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_photo_is_denoised_without_figures_and_statistics(tmp_path, make_model, picture):
    from noise2noise.files import Image, write_image

    write_image(tmp_path / "photo.png", Image(picture(40, 60)))
    used = loaded("denoise", tmp_path / "photo.png", "--model", make_model())
    assert (tmp_path / "photo_denoised.png").exists()
    unused = {"matplotlib", "rich", "scipy", "skimage", "noise2noise.fit"}
    unused |= {"noise2noise.data", "noise2noise.benchmark", "noise2noise.studies"}
    assert used & unused == set()


def test_the_folder_of_commands_holds_no_command_that_nobody_is_told_of():
    folder = Path(sys.modules["noise2noise.cli"].__path__[0])
    with_door = {path.stem for path in folder.glob("*.py") if "def register(" in path.read_text()}
    assert with_door == {name.replace("-", "_") for name in COMMANDS}

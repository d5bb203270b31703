"""Each example learns, as its twin in torch.nn does, at a size that takes seconds."""

import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "examples"
SIZES = {
    "digits": (60, {"BATCH": 16}),
    "sine": (25, {"HEARD": 20}),
    "autoencoder": (60, {}),
    "transformer": (40, {"BATCH": 4, "LENGTH": 32, "WIDTH": 32, "BLOCKS": 1}),
}
"""Steps, and what is smaller than it is for real."""


@pytest.mark.parametrize("name", SIZES)
def test_an_example_learns_as_its_twin_does(
    name: str,
    example: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (steps, smaller), module = SIZES[name], example(name)
    for constant, value in smaller.items():
        monkeypatch.setattr(module, constant, value)
    ours, theirs = module.main(["--steps", str(steps), "--twin"])
    assert len(ours) == len(theirs) == steps
    half = steps // 2
    assert ours[:3] == pytest.approx(theirs[:3], rel=1e-5)
    assert ours[:half] == pytest.approx(theirs[:half], rel=1e-2)  # rounding errors grow
    assert statistics.fmean(ours[-5:]) == pytest.approx(statistics.fmean(theirs[-5:]), rel=5e-2)
    assert statistics.fmean(ours[-5:]) < 0.9 * statistics.fmean(ours[:5])
    assert "in torch.nn" in capsys.readouterr().out
    assert module.main(["--steps", "1"]).ours == ours[:1]  # the twin draws nothing of the batches'


def test_every_example_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*SIZES, "beside"}


@pytest.mark.parametrize("name", SIZES)
def test_the_first_lines_say_how_it_is_run(name: str) -> None:
    head = (FOLDER / f"{name}.py").read_text("utf-8").split('"""')[1]
    assert re.search(rf"python examples/{name}\.py +# .*\d", head)
    assert f"python examples/{name}.py --twin" in head


def test_an_example_runs_without_its_twin_from_anywhere(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "sine.py"), "--steps", "2"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "torch.nn" not in run.stdout
    assert "30 values further" in run.stdout


def test_no_steps_are_refused(
    example: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        example("sine").main(["--steps", "0"])
    assert "--steps must be at least 1, got 0" in capsys.readouterr().err


def test_what_is_drawn_stays_within_its_bounds(example: Callable[[str], ModuleType]) -> None:
    """The batches are what the examples' first lines say."""
    ((images, labels),) = example("digits").batches(
        torch.ones(4, 1, 8, 8), torch.arange(4), steps=1
    )
    assert images.shape[1:] == (1, 8, 8)
    assert images.sum((1, 2, 3)).ge(49).all()  # moved by a pixel at most
    assert labels.shape == images.shape[:1]
    waves = example("sine").waves(50, 400)
    assert waves.abs().max() <= 1
    turns = (waves[:, 1:] * waves[:, :-1] < 0).float().mean(1) / 2  # two zeros a period
    assert turns.max() < 1 / 11
    assert turns.min() > 1 / 25

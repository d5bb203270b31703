"""What is kept of a run to look at, and stopping it from another process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from noise2noise.fit import Trainer, TrainingStopped, configure
from noise2noise.fit.folder import RunFolder
from noise2noise.fit.lock import is_locked, locked
from noise2noise.fit.observer import Observer, Position
from noise2noise.fit.pictures import MOST, SIDE, Pictures

TINY = {"generated": 3, "corruption": "gaussian:25", "crop": 16, "batch_size": 4}
SIZES = {"width": 4, "depth": 0, "channels": 1}


def pair(side: int = 20, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    clean = np.linspace(0.2, 0.3, channels * side * side, dtype=np.float32)
    clean = clean.reshape(channels, side, side)
    return clean + np.float32(0.02), clean


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [(1, [1]), (3, [1, 2, 3]), (MOST, [*range(1, MOST + 1)]), (130, [1, *range(3, 130, 3), 130])],
)
def test_epochs_are_kept_evenly_and_the_last(tmp_path, epochs, kept):
    pictures = Pictures(tmp_path / "validation")
    for epoch in range(1, epochs + 1):
        pictures.keep(epoch, epochs, pair(), pair()[1])
    assert [each["epoch"] for each in pictures.as_json()["epochs"]] == kept
    assert len(kept) <= MOST + 2


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_small_and_have_the_references_black_and_white(tmp_path, channels):
    noisy, clean = pair(SIDE + 44, channels)
    pictures = Pictures(tmp_path)
    pictures.keep(1, 1, (noisy, clean), clean)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"noisy.jpg", "reference.jpg", "epoch-0001.jpg"}
    with PIL.Image.open(tmp_path / "reference.jpg") as image:
        assert image.size == (SIDE, SIDE)
        shown = np.asarray(image)
    assert shown.max() - shown.min() > 100  # of a tenth of the scale, before
    with PIL.Image.open(tmp_path / "epoch-0001.jpg") as image:
        np.testing.assert_array_equal(np.asarray(image), shown)


def test_only_pictures_are_found_and_cleared(tmp_path):
    pictures = Pictures(tmp_path)
    pictures.keep(1, 1, pair(), pair()[1])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "mine.jpg").write_text("mine")
    assert pictures.find("epoch-0001.jpg")
    for name in ("notes.txt", "mine.jpg", "../config.json", "epoch-1.jpg/..", "epoch-0009.jpg"):
        assert pictures.find(name) is None
    pictures.clear()
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "mine.jpg"}


def test_a_run_keeps_pictures_of_its_epochs_and_a_new_one_its_own(tmp_path):
    for epochs in (3, 2):
        Trainer(configure(**TINY, sizes=SIZES, epochs=epochs), tmp_path).fit()
        shown = Pictures(tmp_path / "validation").as_json()
        assert [each["epoch"] for each in shown["epochs"]] == [*range(1, epochs + 1)]
        assert (shown["noisy"], shown["reference"]) == ("noisy.jpg", "reference.jpg")


class _Asks(Observer):
    """Asks for the run to stop as another process would, after so many steps."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps

    def on_step(self, position: Position) -> None:
        self.steps -= 1
        if self.steps == 0:
            assert is_locked(self.folder)
            RunFolder(self.folder).ask_to_stop()


def test_a_run_is_stopped_from_outside_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("noise2noise.fit.folder._LOOK_SECONDS", 0)
    config = configure(**TINY, sizes=SIZES, epochs=2)
    trainer = Trainer(config, tmp_path / "stopped", _Asks(tmp_path / "stopped", 3))
    with pytest.raises(TrainingStopped):
        trainer.fit()
    assert not is_locked(tmp_path / "stopped")
    again = Trainer(config, tmp_path / "stopped")
    again.resume()
    again.fit()  # the wish was for the process before it
    assert again.position.epoch == 2
    whole = Trainer(config, tmp_path / "whole")
    whole.fit()
    assert [row.training_loss for row in again.position.history] == [
        row.training_loss for row in whole.position.history
    ]


def test_whether_somebody_trains_is_told_without_leaving_a_trace(tmp_path):
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        assert is_locked(tmp_path)
    (tmp_path / ".lock").touch()  # of a process that was killed
    assert not is_locked(tmp_path)

"""A run in a terminal: Ctrl-C asks it to stop, and each epoch has its line."""

from __future__ import annotations

import csv
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from noise2noise.cli.stopping import requests_to_stop


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """As in a terminal; a run in the background begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number):
    requested = threading.Event()
    with requests_to_stop(requested):
        assert not requested.is_set()
        signal.raise_signal(number)
        assert requested.is_set()


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_the_second_ctrl_c_interrupts_at_once_and_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with requests_to_stop(threading.Event()):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_thread_trains_without_signals():
    requested = threading.Event()
    failures: list[BaseException] = []

    def attend() -> None:
        try:
            with requests_to_stop(requested):
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=attend)
    thread.start()
    thread.join()
    assert failures == []


def test_a_line_names_the_epoch_and_what_came_of_it(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("--crop", 16, "--size", "width=4", "--epochs", 2)
    status, _, err = run(
        "train", "--generated", 3, "--corruption", "gaussian:25", "--out", "run", *small
    )
    assert status == 0, err
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    with open(Path("run/history.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(lines) == 2
    for line, row in zip(lines, rows, strict=True):
        assert line.startswith(f"epoch {row['epoch']}/2  loss {float(row['training_loss']):.5f}")
        assert f"validation {float(row['validation_psnr']):.2f} dB" in line

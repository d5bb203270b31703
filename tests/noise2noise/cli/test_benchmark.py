"""`noise2noise benchmark speed`: what it prints. How fast anything is, no test asks."""

import json

import pytest
import torch

from noise2noise.benchmark.machine import Machine
from noise2noise.benchmark.speed import PhotoRow, Result
from noise2noise.benchmark.steps import CONTENDERS


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which torch.compile finds no C++ compiler, and fails at once."""
    import torch._inductor.config as config

    monkeypatch.setattr(config.cpp, "cxx", (None, "/nowhere/c++"))


def test_json_has_every_contender_or_why_it_could_not_run(done, no_compiler):
    threads = torch.get_num_threads()
    options = ["--quick", "--networks", "zhao", "--batch", "2", "--rounds", "1", "--threads", "1"]
    result = json.loads(done("benchmark", "speed", *options, "--json"))
    assert result["rounds"] == 1
    assert result["photos"] == []
    assert result["machine"]["threads"] == 1
    assert torch.get_num_threads() == threads
    assert [row["task"] for row in result["networks"]] == ["training", "inference"]
    for row in result["networks"]:
        assert (row["network"], row["batch"]) == ("zhao", 2)
        assert [*row["timings"], *row["failures"]] == [*CONTENDERS]
        assert "/nowhere/c++" in row["failures"]["compile"]
        times = {name: timing["milliseconds"] for name, timing in row["timings"].items()}
        best = min(times["eager"], times["channels_last"])
        assert row["ratio"] == pytest.approx(times["chainrule"] / best)
        for timing in row["timings"].values():
            done_per_ms = 2 * row["multiply_adds"] / timing["milliseconds"]
            share = done_per_ms * 1000 / result["machine"]["peak"]
            assert timing["peak_share"] == pytest.approx(share)
    memory = result["networks"][0]["memory"]
    assert [*memory] == ["chainrule", "channels_last"]
    assert all(count is None or count > 0 for count in memory.values())


@pytest.fixture
def photographed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement of a photograph that takes no time."""
    machine = Machine("Some CPU", 2, "AVX2", "2.13", "2026-01-02", "native", 1e11, "measured")
    photo = PhotoRow(1000, 1500, {"a": 0.75, "b": 3.0}, {"a": 2**30, "b": 2**31})
    result = Result(machine, 3, [], [photo])
    monkeypatch.setattr("noise2noise.benchmark.speed.measure", lambda *ignored: result)


def test_the_table_is_for_people(done, photographed):
    lines = done("benchmark", "speed").splitlines()
    assert lines[0].startswith("Some CPU, 2 threads, AVX2")
    assert lines[-1].split() == ["1.5", "0.750", "0.500", "3.00", "0.25", "1024", "2048"]


def test_markdown_is_for_documents(done, photographed):
    lines = done("benchmark", "speed", "--markdown").splitlines()
    assert lines[-1] == "| 1.5 | 0.750 | 0.500 | 3.00 | 0.25 | 1024 | 2048 |"


def test_an_unknown_network_is_refused(refused):
    assert refused("benchmark", "speed", "--networks", "zhao,vgg") == (
        "can't measure 'vgg'; choose from zhao, hilsberg, coldenhoff, mery, mery-skip, unet, photo"
    )


def test_one_form_of_output_at_a_time(refused):
    sentence = refused("benchmark", "speed", "--json", "--markdown")
    assert sentence == "give either --markdown or --json: there is one result to print"


@pytest.mark.parametrize("arguments", [["benchmark"], ["benchmark", "speed"]])
def test_help_shows_examples(done, monkeypatch, arguments):
    monkeypatch.setenv("COLUMNS", "200")
    text = done(*arguments, "--help")
    assert "noise2noise benchmark speed --quick" in text.split("Examples")[1]

"""Every field of the configuration is an option of `train`, with its own default and text."""

from __future__ import annotations

import re

import pytest

from noise2noise.fit import TrainingConfig


@pytest.fixture
def help_text(run, monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERMINAL_WIDTH", "300")
    return " ".join(run("train", "--help").out.split())


@pytest.mark.parametrize("name", TrainingConfig.model_fields)
def test_each_field_is_an_option_with_its_text(help_text, name):
    field = TrainingConfig.model_fields[name]
    flag = {"sizes": "--size", "registration": "--register"}.get(
        name, f"--{name.replace('_', '-')}"
    )
    assert re.search(rf"{flag}\b", help_text)
    assert field.description is not None
    words = field.description.split(".")[0]
    assert words in re.sub(r"[│\s]+", " ", help_text)

"""The job scripts of docs/scale.md: what can be told of them without a cluster."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from noise2noise.cli.program import COMMANDS

yaml = pytest.importorskip("yaml")

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scale.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in FENCE.finditer(PAGE)]
SCRIPTS = [text for language, text in BLOCKS if language in ("bash", "sh")]
MANIFESTS = [text for language, text in BLOCKS if language == "yaml"]
JOBS = [each for text in MANIFESTS for each in yaml.safe_load_all(text)]


def assert_parses(script: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    read = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True)
    assert read.stderr == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=range(len(SCRIPTS)))
def test_scripts_are_bash(script):
    assert_parses(script)


def test_python_is_python():
    for language, text in BLOCKS:
        if language == "py":
            compile(text, "docs/scale.md", "exec")


def containers() -> list[dict[str, Any]]:
    templates = [each["spec"]["template"] for each in JOBS if "template" in each["spec"]]
    return [own for each in templates for own in each["spec"]["containers"]]


def test_manifests_fit_together():
    assert {each["kind"] for each in JOBS} == {"Service", "Deployment", "Job"}
    for job in JOBS:
        template = job["spec"].get("template")
        if job["kind"] == "Deployment":
            assert template["metadata"]["labels"] == job["spec"]["selector"]["matchLabels"]
        if template is None:
            continue
        volumes = {each["name"] for each in template["spec"].get("volumes", ())}
        for own in template["spec"]["containers"]:
            assert {each["name"] for each in own.get("volumeMounts", ())} == volumes
    services = {each["metadata"]["name"] for each in JOBS if each["kind"] == "Service"}
    assert {"dask", "photos"} == services
    for own in containers():
        if own.get("command", [""])[0] == "bash":
            assert_parses(own["args"][0])


def test_the_commands_have_these_options(run_help):
    told = ["noise2noise " + " ".join(own["args"]) for own in containers() if "args" in own]
    lines = "\n".join([*SCRIPTS, *told]).replace("\\\n", " ").splitlines()
    for command in ("train", "denoise"):
        assert command in COMMANDS
        called = f"noise2noise {command}"
        given = " ".join(line.partition(called)[2] for line in lines if called in line)
        options = {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", given)}
        assert options
        assert options <= {*re.findall(r"--[a-z][a-z-]+", run_help(command))}


@pytest.fixture
def run_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    from noise2noise.cli import main

    def run(command: str) -> str:
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr("sys.argv", ["noise2noise", command, "--help"])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out

    return run

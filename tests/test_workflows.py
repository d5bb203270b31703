"""The workflows run what is here: their YAML is whole, and their commands exist."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")


def read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text("utf-8"))
    content["on"] = content.pop(True)  # YAML 1.1 takes the word `on` for a truth value
    return content


def commands(job: dict[str, Any]) -> list[str]:
    """What its steps run, once for each value of the matrix."""
    matrix = job.get("strategy", {}).get("matrix", {})
    found = [step["run"] for step in job["steps"] if "run" in step]
    for name, values in matrix.items():
        mark = f"${{{{ matrix.{name} }}}}"
        found = [each.replace(mark, value) for each in found for value in values]
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_what_the_service_asks_for(path):
    workflow = read(path)
    assert {"name", "on", "permissions", "jobs"} <= workflow.keys()
    for job in workflow["jobs"].values():
        assert {"runs-on", "timeout-minutes", "steps"} <= job.keys()
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), step
            assert "@v" in step.get("uses", "@v"), step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_command_of_a_workflow_exists(path):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for job in read(path)["jobs"].values():
        for command in commands(job):
            program, *words = command.split()
            if program == "make":
                assert {word for word in words if "=" not in word} <= targets, command
            elif program != "python":
                assert (ROOT / program).is_file(), command


def test_what_is_asked_of_those_who_report_something():
    for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")):
        form = yaml.safe_load(path.read_text("utf-8"))
        assert {"name", "description", "body"} <= form.keys(), path.name
        questions = [field for field in form["body"] if field["type"] != "markdown"]
        assert len({field["id"] for field in questions}) == len(questions), path.name
        for field in questions:
            assert field["attributes"]["label"], path.name


def test_the_hooks_before_a_commit_run_tools_that_make_installs():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    installed = (ROOT / "pyproject.toml").read_text("utf-8")
    tools = {"lint-imports": "import-linter"}
    for hook in hooks["repos"][0]["hooks"]:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert f'"{tools.get(program, program)}==' in installed, program


def test_one_version_everywhere():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    version = re.findall(r"^version = \"(.+)\"", project, re.MULTILINE)[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == version


def test_wheels_are_built_for_all_promised_pythons():
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    promised = re.findall(r"Python :: 3\.(\d+)\"", project)
    built = re.findall(r"cp3(\d+)-\*", project)
    assert built == promised


def test_all_promised_pythons_are_tested_on_every_system():
    job = read(ROOT / ".github" / "workflows" / "checks.yml")["jobs"]["tests"]
    promised = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert job["strategy"]["matrix"]["python"] == promised
    assert {name.split("-")[0] for name in job["strategy"]["matrix"]["os"]} == {
        "ubuntu",
        "macos",
        "windows",
    }


def test_a_release_has_addresses_where_the_readme_names_files():
    spec = importlib.util.spec_from_file_location("address", ROOT / ".ci" / "address.py")
    assert spec is not None
    assert spec.loader is not None
    address = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(address)
    place = ("https://example.org/o/n", "v0.2.0")
    readme = address.absolute((ROOT / "README.md").read_text("utf-8"), *place)
    targets = re.findall(r"\]\(([^()\s]+)\)", readme)
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    assert f"{place[0]}/raw/v0.2.0/docs/images/before-after.png" in targets
    assert f"{place[0]}/blob/v0.2.0/docs/formats.md" in targets
    project = address.addressed((ROOT / "pyproject.toml").read_text("utf-8"), *place)
    assert f'\n[project.urls]\nSource = "{place[0]}"\n' in project
    for job in ("compiled", "plain"):
        steps = read(ROOT / ".github" / "workflows" / "release.yml")["jobs"][job]["steps"]
        assert any(".ci/address.py" in step.get("run", "") for step in steps)

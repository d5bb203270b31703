"""The documents are true: their Python runs and prints what they show, their links lead on."""

from __future__ import annotations

import code
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from noise2noise.cli import main
from tests.docs.outputs import same_output

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "ee559" / "README.md"])
PICTURES = ROOT / "docs" / "images"
RUN = [page for page in PAGES if page.parent != ROOT or page.name == "README.md"]

FENCE = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*$", re.MULTILINE)
LINK = re.compile(r"\]\(<?([^()\s<>]+)>?(?:\s+\"[^\"]*\")?\)|(?:src|href)=\"([^\"]+)\"")
MENTION = re.compile(r"docs/[\w./-]+\.md(?:#[\w-]+)?")


class Block(NamedTuple):
    """A fenced block of a document; `line` is the document's line on which its text begins."""

    language: str
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)))
        for match in FENCE.finditer(text)
    ]


def anchors(text: str) -> set[str]:
    """The anchors GitHub gives to the headings of a document."""
    found: dict[str, int] = {}
    names = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = "".join(mark for mark in words if _in_slug(mark)).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        names.add(f"{slug}-{count}" if count else slug)
    return names


def _in_slug(mark: str) -> bool:
    return mark in " -_" or unicodedata.category(mark)[0] in "LNM"


class Prompt(code.InteractiveConsole):
    """Python's prompt, which reads what is pasted line by line and runs nothing of it.

    A blank line ends a class or a function there: what follows is a mistake. So is a line that
    ends one without a blank line before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mistakes: list[str] = []

    def runcode(self, code: object) -> None:
        pass

    def showsyntaxerror(self, filename: str | None = None, **details: object) -> None:
        self.mistakes.append(self.buffer[-1])

    def paste(self, text: str) -> list[str]:
        """The lines of `text` that are refused."""
        for line in [*text.splitlines(), ""]:
            self.push(line)
        return self.mistakes


def commands(text: str) -> list[list[str]]:
    """The words of the commands after a shell's prompt."""
    lines = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return [shlex.split(line) for line in lines]


def status_of(program: Callable[[], None]) -> int | str | None:
    """What a program exits with."""
    try:
        program()
    except SystemExit as stop:
        return stop.code or 0
    return 0


def broken_links(page: Path, text: str) -> Iterator[str]:
    """The relative links and images of a document that lead nowhere."""
    for match in LINK.finditer(FENCE.sub("", text)):
        target = match[1] or match[2]
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if file.resolve().is_relative_to(PICTURES) and not PICTURES.exists():
            continue  # a source distribution, which goes without
        if not file.exists():
            yield f"{target} (no such file)"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text("utf-8")):
            yield f"{target} (no such heading)"


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_python_of_a_document_runs_and_prints_what_is_shown(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A block marked `output` holds what the Python block before it prints.

    Where a page says how something is done, its commands run too.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(page.parent)  # the course's folders stand beside their README
    namespace: dict[str, Any] = {"__name__": "__document__"}
    printed = ""
    for block in blocks(page.read_text("utf-8")):
        if block.language == "output":
            where = f"{page.name}, line {block.line + 1}: not what the block before prints"
            assert same_output(block.text, printed), f"{where}:\n{printed}"
        if block.language == "python":
            source = "\n" * block.line + block.text  # a traceback then names the document's line
            with torch.enable_grad():  # the course's second folder turns it off for good
                exec(compile(source, str(page), "exec"), namespace)
            printed = capsys.readouterr().out
        if block.language == "console" and page.parent.name == "how-to":
            for command in commands(block.text):
                monkeypatch.setattr("sys.argv", command)
                assert status_of(main) == 0, f"{page.name}: {command}\n{capsys.readouterr().err}"
            capsys.readouterr()


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_python_of_a_document_can_be_pasted_into_the_prompt(page: Path) -> None:
    found = [
        (block.line + 1, line)
        for block in blocks(page.read_text("utf-8"))
        if block.language == "python"
        for line in Prompt().paste(block.text)
    ]
    assert found == []


def test_what_the_prompt_refuses_is_found() -> None:
    assert Prompt().paste("class A:\n    x = 1\n\n    y = 2\n") == ["    y = 2"]
    assert Prompt().paste("for i in [1]:\n    print(i)\nprint(2)\n") == ["print(2)"]
    assert Prompt().paste("class A:\n    x = 1\n    y = 2\n\nprint(A)\n") == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_document_lead_somewhere(page: Path) -> None:
    assert list(broken_links(page, page.read_text("utf-8"))) == []


def test_documents_that_the_source_mentions_exist() -> None:
    missing = []
    for file in sorted((ROOT / "src").rglob("*.py")):
        for mention in MENTION.findall(file.read_text("utf-8")):
            name, _, anchor = mention.partition("#")
            page = ROOT / name
            if not page.exists() or (anchor and anchor not in anchors(page.read_text("utf-8"))):
                missing.append(f"{file.relative_to(ROOT)}: {mention}")
    assert missing == []


def test_anchors_are_those_of_github() -> None:
    text = "# The `Tape`, in 2 steps\n## A [link](b.md) & more\n## Same\n```\n# no\n```\n## Same\n"
    assert anchors(text) == {"the-tape-in-2-steps", "a-link--more", "same", "same-1"}


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = (
        "# Here\n[a](#here) [b](#there) [c](none.md) ![d](none.png 'x') [e](https://x.org/y#z)\n"
        '<img src="lost.svg"> [f](page.md#here)\n'
    )
    page.write_text(text)
    found = [link.partition(" ")[0] for link in broken_links(page, text)]
    assert found == ["#there", "none.md", "lost.svg"]


def test_output_may_differ_by_rounding_only() -> None:
    assert same_output("loss 0.1234567 at (0, 1)\n", "loss 0.1234568 at (0, 1)")
    assert not same_output("loss 0.1234567 at (0, 1)", "loss 0.12346 at (0, 2)")
    assert not same_output("loss 0.1", "cost 0.1")


def test_every_extra_is_told_to_those_who_install() -> None:
    table = (ROOT / "docs" / "installing.md").read_text("utf-8").partition("## More formats")[2]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    named = set(re.findall(r"^(\w+) = \[", extras, re.MULTILINE)) - {"dev"}
    assert named == set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.M))))

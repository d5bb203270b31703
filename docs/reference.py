"""What MkDocs is given beside the documents: a first page, and the API reference.

The reference has a page for each module of chainrule, which mkdocstrings fills from its docstrings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCUMENTS = Path(__file__).resolve().parent
SOURCES = DOCUMENTS.parent / "src"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    for name, content in _pages():
        files.append(File.generated(config, name, content=content))
    return files


def _pages() -> Iterator[tuple[str, str]]:
    first = [(path.name, _heading(path)) for path in sorted(DOCUMENTS.glob("*.md"))]
    first.append(("reference/index.md", "API"))
    modules = [*_modules(SOURCES / "chainrule")]
    yield "index.md", _list("noise2noise and chainrule", first)
    yield "reference/index.md", _list("API", [(f"{name}.md", f"`{name}`") for name in modules])
    for name in modules:
        yield f"reference/{name}.md", f"# {name}\n\n::: {name}\n"


def _list(title: str, pages: list[tuple[str, str]]) -> str:
    lines = [f"- [{text}]({path})" for path, text in pages]
    return "\n".join([f"# {title}", "", *lines, ""])


def _heading(path: Path) -> str:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ")


def _modules(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        *folders, name = path.relative_to(SOURCES).with_suffix("").parts
        if name == "__init__" and len(folders) > 1:
            yield ".".join(folders)
        elif not name.startswith("_"):
            yield ".".join([*folders, name])

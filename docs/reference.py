"""What MkDocs is given beside the documents: the API reference, and the end of the navigation.

The reference has a page for each module of chainrule, which mkdocstrings fills from its docstrings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCUMENTS = Path(__file__).resolve().parent
SOURCES = DOCUMENTS.parent / "src"


def on_config(config: Any) -> Any:
    """List the modules under the last heading of the navigation, and before it what has none."""
    modules = [*_modules(SOURCES / "chainrule")]
    config.nav[-1]["API"].extend({name: f"reference/{name}.md"} for name in modules)
    named = set(_pages_of(config.nav))
    pages = sorted(path.relative_to(DOCUMENTS).as_posix() for path in DOCUMENTS.rglob("*.md"))
    more = [page for page in pages if page not in named]
    if more:
        config.nav.insert(-1, {"More": more})
    return config


def _pages_of(nav: Any) -> Iterator[str]:
    """The pages that a part of the navigation names."""
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _pages_of(each)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    for name, content in _pages():
        files.append(File.generated(config, name, content=content))
    return files


def _pages() -> Iterator[tuple[str, str]]:
    modules = [*_modules(SOURCES / "chainrule")]
    yield "reference/index.md", _list("API", [(f"{name}.md", f"`{name}`") for name in modules])
    for name in modules:
        yield f"reference/{name}.md", f"# {name}\n\n::: {name}\n"


def _list(title: str, pages: list[tuple[str, str]]) -> str:
    lines = [f"- [{text}]({path})" for path, text in pages]
    return "\n".join([f"# {title}", "", *lines, ""])


def _modules(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        *folders, name = path.relative_to(SOURCES).with_suffix("").parts
        if name == "__init__" and len(folders) > 1:
            yield ".".join(folders)
        elif not name.startswith("_"):
            yield ".".join([*folders, name])

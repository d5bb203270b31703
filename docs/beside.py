"""Links of the documents that leave docs/ lead on in the site, too.

What they name becomes a page under code/: a document as it is, a folder as a list, another file in
a block of code. These documents' own links are followed the same way. So every link can be checked,
and the site is whole on a machine without the repository.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCUMENTS = Path(__file__).resolve().parent
ROOT = DOCUMENTS.parent

LINK = re.compile(r"(\]\()([^()\s<>]+)(?=[)\s])|((?:src|href)=\")([^\"]+)(?=\")")
LANGUAGES = {".py": "python", ".cpp": "cpp", ".hpp": "cpp", ".toml": "toml", ".yml": "yaml"}
HIDDEN = re.compile(r"(^|/)(__pycache__|\.[^/]*|[^/]*\.(pth|so|pyc))(/|$)")
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file beside docs/ that a document leads to, by way of others too."""
    waiting = sorted(DOCUMENTS.rglob("*.md"))
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        for found in _linked(path):
            if found not in seen and DOCUMENTS not in found.parents:
                seen.add(found)
                waiting.append(found)
    places = {_uri(path): path for path in sorted(seen)}  # a folder is its README, too
    for uri, path in places.items():
        files.append(File.generated(config, uri, content=UNSEARCHED + _content(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead a document's links to these pages."""
    path = DOCUMENTS / page.file.src_uri
    return _led(markdown, path) if path.is_file() else markdown


def _linked(path: Path) -> Iterator[Path]:
    """What a document links to, or what a folder holds."""
    if path.is_dir() and not (path / "README.md").is_file():
        yield from _inside(path)
    elif path.is_dir():
        yield path / "README.md"
    elif path.suffix == ".md":
        for match in LINK.finditer(path.read_text("utf-8")):
            target = _target(path, match[2] or match[4])
            if target is not None:
                yield target


def _target(path: Path, link: str) -> Path | None:
    """The file or folder of the repository that a link in a file leads to."""
    name = link.partition("#")[0]
    if not name or ":" in name:
        return None
    target = Path(posixpath.normpath((path.parent / name).as_posix()))
    return target if ROOT in target.parents and target.exists() else None


def _uri(path: Path) -> str:
    """Where a file of the repository is in the site's sources."""
    if DOCUMENTS in path.parents:
        path = path / "index.md" if path.is_dir() else path
        path = path.with_suffix(".md") if path.suffix == ".ipynb" else path  # docs/notebooks.py
        return path.relative_to(DOCUMENTS).as_posix()
    if path.is_dir() and (path / "README.md").is_file():
        path = path / "README.md"
    return f"code/{path.relative_to(ROOT).as_posix()}.md"


def _led(text: str, path: Path) -> str:
    """A document of the repository with links as the site has them."""
    here = posixpath.dirname(_uri(path))

    def lead(match: re.Match[str]) -> str:
        link, target = match[2] or match[4], _target(path, match[2] or match[4])
        if target is None:
            return match[0]
        anchor = link.partition("#")[1:]
        return (match[1] or match[3]) + posixpath.relpath(_uri(target), here) + "".join(anchor)

    return LINK.sub(lead, text)


def _content(path: Path) -> str:
    """The page of a file or folder beside docs/."""
    if path.is_dir():
        here = posixpath.dirname(_uri(path))
        lines = [
            f"- [{each.name}]({posixpath.relpath(_uri(each), here)})" for each in _inside(path)
        ]
        return "\n".join([f"# {path.relative_to(ROOT)}", "", *lines, ""])
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return _led(text, path)
    fence = "`" * max([3, *(len(each) + 1 for each in re.findall("`+", text))])
    language = LANGUAGES.get(path.suffix, "text")
    return f"# {path.relative_to(ROOT)}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _inside(folder: Path) -> list[Path]:
    """The files that are shown of a folder, without those that are made."""
    return sorted(
        each
        for each in folder.iterdir()
        if each.is_file() and not HIDDEN.search(each.relative_to(ROOT).as_posix())
    )

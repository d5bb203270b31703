"""The tutorials are notebooks: each becomes a page of the site, with what it printed and drew."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

TUTORIALS = Path(__file__).resolve().parent / "tutorials"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each notebook, and its pictures beside it."""
    for path in sorted(TUTORIALS.glob("*.ipynb")):
        pictures: dict[str, bytes] = {}
        cells = nbformat.read(path, 4).cells
        parts = [part for cell in cells for part in _parts(cell, path.stem, pictures)]
        note = f"*This page is a [notebook]({path.name}): download it, and run it in Jupyter.*"
        title, _, rest = parts[0].partition("\n")
        text = "\n\n".join([title, note, rest, *parts[1:]])
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def _parts(cell: Any, stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """A cell as Markdown; its pictures are added to `pictures`, which begin with `stem`."""
    if cell.cell_type == "markdown":
        yield cell.source
        return
    yield f"```python\n{cell.source}\n```"
    for output in cell.outputs:
        if output.output_type == "stream":
            yield f"```text\n{output.text.rstrip()}\n```"
        elif "image/jpeg" in output.get("data", {}):
            name = f"{stem}-{len(pictures)}.jpg"
            pictures[name] = base64.b64decode(output.data["image/jpeg"])
            yield f"![What the cell above shows.]({name})"

"""The site leads on where the documents do, to pages that are made of what they name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mkdocs", reason="MkDocs is not installed")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def beside() -> Any:
    """docs/beside.py."""
    spec = importlib.util.spec_from_file_location("beside", ROOT / "docs/beside.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("link", "led"),
    [
        ("[a](../../src/chainrule/tape.py)", "[a](../code/src/chainrule/tape.py.md)"),
        ("[a](../../ee559/)", "[a](../code/ee559/README.md.md)"),
        ("[a](../../examples/)", "[a](../code/examples.md)"),
        ("[a](../../README.md#b 'c')", "[a](../code/README.md.md#b 'c')"),
        ('<img src="../images/napari.png">', '<img src="../images/napari.png">'),
        ("[a](../python.md#files)", "[a](../python.md#files)"),
        ("[a](https://arxiv.org/abs/1803.04189)", "[a](https://arxiv.org/abs/1803.04189)"),
        ("[a](../none.md) [b](#c)", "[a](../none.md) [b](#c)"),
        ("model[0](x)", "model[0](x)"),
    ],
)
def test_a_link_leads_to_where_the_site_has_it(beside: Any, link: str, led: str) -> None:
    assert beside._led(link, ROOT / "docs/for/student.md") == led


def test_a_file_of_code_is_shown_as_it_is(beside: Any) -> None:
    path = ROOT / "src/chainrule/tape.py"
    text = path.read_text("utf-8").rstrip()
    assert beside._content(path) == f"# src/chainrule/tape.py\n\n```python\n{text}\n```\n"

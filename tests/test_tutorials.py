"""The tutorials run, and print what is kept in them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.docs.outputs import same_output

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "docs/tutorials").glob("*.ipynb"))


def printed(cell: Any) -> str:
    """What a cell of code has printed."""
    return "".join(each["text"] for each in cell.outputs if each["output_type"] == "stream")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_prints_what_it_shows(path: Path, tmp_path: Path) -> None:
    kept = nbformat.read(path, 4)
    run = copy.deepcopy(kept)
    nbclient.NotebookClient(run, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    code = [
        (shown, again)
        for shown, again in zip(kept.cells, run.cells, strict=True)
        if shown.cell_type == "code"
    ]
    assert code
    for shown, again in code:
        assert shown.execution_count is not None, "docs/tutorials/execute.py keeps the outputs"
        assert same_output(printed(shown), printed(again)), printed(again)


def test_there_are_tutorials() -> None:
    assert len(NOTEBOOKS) >= 3

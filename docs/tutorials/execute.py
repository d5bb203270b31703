"""Executes the tutorials, and keeps what they print and draw in them.

Run from the repository, after a change: .venv/bin/python docs/tutorials/execute.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

for path in sorted(Path(__file__).parent.glob("*.ipynb")):
    notebook = nbformat.read(path, 4)
    with tempfile.TemporaryDirectory() as place:
        NotebookClient(notebook, resources={"metadata": {"path": place}}).execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for cell in notebook.cells:
        cell.metadata = {}  # when each was executed
        for output in cell.get("outputs", ()):
            if "image/jpeg" in output.get("data", {}):  # of the same picture, the smallest form
                output["data"] = {"image/jpeg": output["data"]["image/jpeg"]}
    nbformat.write(notebook, path)
    print(path.name)

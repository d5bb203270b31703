"""How the house writes docstrings, told to griffe, which reads them for the API reference."""

from __future__ import annotations

from typing import Any

import griffe


class Examples(griffe.Extension):
    """`Example:` holds code, as what griffe calls `Examples:` does."""

    def on_object(self, *, obj: griffe.Object, **details: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")

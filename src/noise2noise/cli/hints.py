"""The hint that the kernels are missing, said with the first command and not with every one."""

from __future__ import annotations

import logging
from pathlib import Path

import typer


def say_once() -> None:
    """From now on what `chainrule` warns of is said once for each user; `doctor` says it again."""
    logging.getLogger("chainrule").addFilter(_once)


def _once(record: logging.LogRecord) -> bool:
    said = Path(typer.get_app_dir("noise2noise")) / "kernels-missing"
    if said.exists():
        return False
    try:
        said.parent.mkdir(parents=True, exist_ok=True)
        said.write_text(f"{record.getMessage()}\n", encoding="utf-8")
    except OSError:
        pass  # nowhere to remember it: said each time
    return True

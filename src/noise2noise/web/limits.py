"""How much one page, and all pages together, may take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


class RefusedError(Exception):
    """What can't be answered.

    Arguments:
        status: that HTTP has for it.
        sentence: what is wrong, in English.
        reason: the name of a sentence that the page has in other languages (`static/words`), where
            people meet it; "" for none.
        things: that are put into that.
    """

    def __init__(self, status: int, sentence: str, reason: str = "", **things: Any) -> None:
        super().__init__(sentence)
        self.status, self.reason, self.things = status, reason, things

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {"error": str(self), "reason": self.reason, "things": self.things}


@dataclass(frozen=True)
class Limits:
    """What is refused beyond.

    Attributes:
        file_bytes: of a file that is dropped.
        page_bytes: of all files of a page.
        plane_bytes: of one decoded plane.
        files: of a page.
        pages: that are open at once.
        waiting: files that wait to be saved, of all pages.
        free_bytes: that are left on the disk.
        idle_seconds: after which a page that asks for nothing is taken for closed.
        cached_bytes: of tiles that are kept.
        open_files: whose decoded planes are kept, of all pages.
    """

    file_bytes: int = 2 * 2**30
    page_bytes: int = 8 * 2**30
    plane_bytes: int = 2**30
    files: int = 200
    pages: int = 16
    waiting: int = 400
    free_bytes: int = 2**29
    idle_seconds: float = 900
    cached_bytes: int = 2**28
    open_files: int = 4


def size_of(path: Path) -> int:
    """Bytes of a file, or of all that are in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def in_words(size: int) -> str:
    """Bytes for people: "2.0 GB"; a GB is 2^30 bytes here."""
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"

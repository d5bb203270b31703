"""How much one page, and all pages together, may take."""

from __future__ import annotations

from dataclasses import dataclass


class RefusedError(Exception):
    """What can't be answered, as one sentence and the status that HTTP has for it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


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


def in_words(size: int) -> str:
    """Bytes for people: "2.0 GB"; a GB is 2^30 bytes here."""
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"

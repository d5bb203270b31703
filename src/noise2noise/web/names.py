"""Names that files can have in any folder and on any system."""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 150  # in bytes: file systems take 255, and a result's name is longer
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r'[<>:"/\\|?*{}]')


def safe_name(name: str) -> str:
    """A name that a file can have, as near as can be to `name`.

    What stands before the last slash or backslash goes, and so do characters that write over a
    terminal or turn the direction of writing, dots at the beginning and names of devices.
    """
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    plain = "".join("_" if unicodedata.category(mark)[0] == "C" else mark for mark in last)
    plain = _NOT_IN_NAMES.sub("_", plain).strip(" .")
    if not plain or _RESERVED.match(plain):
        plain = f"image_{plain}".rstrip("_")
    stem, dot, suffix = plain.rpartition(".")
    if not dot:
        stem, suffix = plain, ""
    end = f".{suffix[:20]}" if dot else ""
    while len(f"{stem}{end}".encode()) > _LONGEST:
        stem = stem[:-1]
    return f"{stem or 'image'}{end}"

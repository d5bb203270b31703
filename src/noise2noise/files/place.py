"""Folders that appear whole or not at all; `chainrule.serialization.replacing` does it of files."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from noise2noise.errors import UserError


@contextlib.contextmanager
def replacing_folder(path: Path, overwrite: bool, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Write a folder so that it appears whole or not at all.

    Yields the path of an empty, hidden folder beside it. When the block ends well that is renamed
    to `path`; when it raises, it is removed and whatever stood at `path` is untouched.

    Arguments:
        path: of the folder.
        overwrite: replace what stands there.
        ours: whether something is of the kind that may be replaced: a folder of other things is
            never removed.

    Raises:
        FileExistsError: `path` exists and `overwrite` is false.
        UserError: it exists and is something else.
        OSError: the folder around it doesn't exist, or the disk refused.
    """
    if path.exists() and not overwrite:
        raise FileExistsError(path)
    if path.exists() and not ours(path):
        raise UserError(f"{path} is something else than an image, which isn't replaced; remove it")
    around = Path(tempfile.mkdtemp(prefix=f".{path.stem}-", suffix=".partial", dir=path.parent))
    try:
        new, old = around / "new", around / "old"
        new.mkdir()
        yield new
        if path.exists():
            path.rename(old)
        try:
            os.replace(new, path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
    finally:
        shutil.rmtree(around, ignore_errors=True)

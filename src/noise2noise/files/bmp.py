"""BMP: 8 bits a sample, grey or colour; of metadata, the resolution alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from noise2noise.files.format import KEPT, Format
from noise2noise.files.guard import check_growth
from noise2noise.files.pillow import (
    INCH,
    encoded,
    open_with_pillow,
    refusal,
    resolution,
    save_options,
)
from noise2noise.files.stack import Header, Metadata, Stack

_MOST_GROWTH = 8  # pixels in a byte


class _Bmp(Format):
    name, suffixes = "BMP", (".bmp",)
    without = tuple(KEPT)

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"BM")

    def open(self, path: Path) -> Stack:
        def described(file: Any, frames: int) -> Metadata:
            if file.tile[0][0] == "raw":
                width, height = file.size
                check_growth(width, height, width * height, path.stat().st_size, _MOST_GROWTH)
            return _metadata(file, frames)

        return open_with_pillow(path, "BMP", described, path)

    def refusal(self, header: Header) -> str:
        return refusal(self.name, header, alpha=False)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        path.write_bytes(encoded(self.name, header, bands, **save_options(header.metadata)))


BMP = _Bmp()


def _metadata(file: PIL.Image.Image, frames: int) -> Metadata:
    del frames
    return Metadata(resolution=resolution(file.info.get("dpi", (0, 0)), INCH))

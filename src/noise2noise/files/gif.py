"""GIF: read as a stack of colour frames; written with at most 256 colours a frame."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from noise2noise.files.format import KEPT, Format
from noise2noise.files.pillow import open_with_pillow, picture, refusal
from noise2noise.files.stack import Header, Metadata, Stack, whole_planes


@dataclass(frozen=True)
class GifLayout:
    """Options of Pillow's writer: how long frames are shown, loops, the comment."""

    options: dict[str, Any]


class _Gif(Format):
    name, suffixes = "GIF", (".gif",)
    without = tuple(KEPT)

    def recognises(self, head: bytes) -> bool:
        return head.startswith((b"GIF87a", b"GIF89a"))

    def open(self, path: Path) -> Stack:
        return open_with_pillow(path, "GIF", _metadata, path)

    def refusal(self, header: Header) -> str:
        return refusal(self.name, header, alpha=True, frames=True)

    def losses(self, header: Header) -> tuple[str, ...]:
        return ("written with 256 colours a frame", *super().losses(header))

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        layout = header.metadata.layout
        options = layout.options if isinstance(layout, GifLayout) else {}
        first, *others = (picture(header, pixels) for pixels in whole_planes(header, bands))
        buffer = io.BytesIO()
        # Frames that are alike stay apart: how many there are is part of what came in.
        first.save(buffer, "GIF", save_all=True, append_images=others, disposal=2, **options)
        path.write_bytes(buffer.getvalue())


GIF = _Gif()


def _metadata(file: PIL.Image.Image, frames: int) -> Metadata:
    durations = []
    for frame in range(frames):
        file.seek(frame)
        durations.append(file.info.get("duration", 0))
    file.seek(0)
    options: dict[str, Any] = {"duration": durations if frames > 1 else durations[0]}
    for name in ("loop", "comment"):
        if name in file.info:
            options[name] = file.info[name]
    return Metadata(layout=GifLayout(options))

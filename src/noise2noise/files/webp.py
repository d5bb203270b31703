"""WebP, animated WebP too: 8 bits, always in colour."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from noise2noise.files.format import Format
from noise2noise.files.pillow import open_with_pillow, picture, refusal, save_options
from noise2noise.files.stack import Header, Metadata, Stack, whole_planes

_LOSSLESS = {"lossless": True, "exact": True}  # exact: colours stay where alpha is zero
_LOSSY = {"quality": 95, "alpha_quality": 100, "exact": True}


@dataclass(frozen=True)
class WebpLayout:
    """Options of Pillow's writer for a file like the one that was read."""

    options: dict[str, Any]


class _Webp(Format):
    name, suffixes = "WebP", (".webp",)
    without = ("photoshop", "cicp")

    def recognises(self, head: bytes) -> bool:
        return head.startswith(b"RIFF") and head[8:12] in (b"WEBP", b"")

    def open(self, path: Path) -> Stack:
        with path.open("rb") as beginning:
            lossless = b"VP8L" in beginning.read(2**16)

        def describe(file: PIL.Image.Image, frames: int) -> Metadata:
            options = {**(_LOSSLESS if lossless else _LOSSY), **_animation(file, frames)}
            return Metadata(
                exif=(file.info.get("exif") or b"").removeprefix(b"Exif\0\0"),
                icc_profile=file.info.get("icc_profile") or b"",
                xmp=file.info.get("xmp") or b"",
                layout=WebpLayout(options),
            )

        return open_with_pillow(path, "WEBP", describe, path)

    def refusal(self, header: Header) -> str:
        return refusal(self.name, header, alpha=True, frames=True)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        metadata = header.metadata
        layout = metadata.layout
        options = save_options(metadata)
        options |= layout.options if isinstance(layout, WebpLayout) else _LOSSLESS
        if metadata.xmp:
            options["xmp"] = metadata.xmp
        first, *others = (picture(header, pixels) for pixels in whole_planes(header, bands))
        if others:
            options |= {"save_all": True, "append_images": others}
        buffer = io.BytesIO()
        first.save(buffer, "WEBP", **options)
        path.write_bytes(buffer.getvalue())


WEBP = _Webp()


def _animation(file: Any, frames: int) -> dict[str, Any]:
    if frames == 1:
        return {}
    durations = []
    for frame in range(frames):
        file.seek(frame)
        file.load()  # only then the time is known
        durations.append(file.info.get("duration", 0))
    file.seek(0)
    told = {name: file.info[name] for name in ("loop", "background") if name in file.info}
    return {"duration": durations, **told}

"""The interface that a family of formats stands behind; `formats.py` is the table of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from noise2noise.files.stack import Header, Held, Stack


class Format(ABC):
    """A format of image files.

    Attributes:
        name: as people call it.
        suffixes: of its files, in lower case, with the dot.
        written_as: the suffix of a result, if files of this format can only be read.
        is_folder: whether what has these suffixes is a folder.
        without: of `Metadata`, what a file of this format has no place for.
        multiplied: whether it can say that colours are multiplied by transparency.
    """

    name: str
    suffixes: tuple[str, ...]
    written_as: str = ""
    is_folder: bool = False
    without: tuple[str, ...] = ()
    multiplied: bool = False

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins with these bytes, at most `HEAD`, is of this format."""

    def recognises_folder(self, folder: Path) -> bool:
        """Whether a folder is an image of this format."""
        del folder
        return False

    @abstractmethod
    def open(self, path: Path) -> Stack:
        """Read the header of a file; pixels are read later.

        Raises:
            UnusableError: the file holds what can't be denoised; the text goes on after its name.
            Exception: any other is taken as "is damaged or cut short".
        """

    def refusal(self, header: Header) -> str:
        """Why a file of this format can't hold this, and what to do: "" if it can.

        Asked before any work is done. The text goes on after "PATH: ".
        """
        del header
        return "is a format that can only be read; end the name in .tif"

    def losses(self, header: Header) -> tuple[str, ...]:
        """What of this, though it can be written, isn't in a file of this format: for people."""
        unsaid = header.alpha == "premultiplied" and not self.multiplied
        darker = ("its colours stay multiplied by its transparency",) if unsaid else ()
        return (*losses(header, *self.without), *darker)

    def held(self, header: Header) -> Held:
        """What writing takes; by default what encoding all planes at once does."""
        pixels = header.planes * header.plane_bytes
        return Held(pixels, 4 * pixels)

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        """Write a file, or into a folder, that is empty.

        Arguments:
            path: a temporary place, renamed by the caller when all is written.
            header: what `refusal` let pass.
            bands: rows, (h, W, samples), that follow each other from the top of a plane to its
                bottom, plane after plane; as many as they like at a time, never of two planes.
        """
        raise NotImplementedError


KEPT = {"exif": "EXIF", "icc_profile": "colour profile", "xmp": "XMP", "photoshop": "IPTC"}
KEPT["cicp"] = "colour space"
"""What metadata are called, by their names in `Metadata`."""


def losses(header: Header, *names: str) -> tuple[str, ...]:
    """Those of the metadata that there are, in words."""
    lost = [KEPT[name] for name in names if getattr(header.metadata, name)]
    return (f"no place for its {' and '.join(lost)}",) if lost else ()


HEAD = 4096
"""So many bytes from the beginning of a file are enough to tell its format."""

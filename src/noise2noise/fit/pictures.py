"""What a run's network makes of one validation image, epoch by epoch, in small pictures to look at.

Of long runs about `MOST` epochs are kept, spread evenly, and the last. All pictures of a run are
shown with the same black and white: those of the reference, but for one pixel in a thousand.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from chainrule.serialization import replacing

MOST = 64
SIDE = 256
"""Of the middle of the image that is kept, in pixels."""

NOISY, REFERENCE = "noisy.jpg", "reference.jpg"

_EPOCH = re.compile(r"epoch-(\d+)\.jpg")
_LOW, _HIGH = 0.1, 99.9  # percent of the reference's values
_QUALITY = 92


class Pictures:
    """The pictures of a run.

    Arguments:
        folder: where they are; made when the first is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(
        self, epoch: int, epochs: int, pair: tuple[np.ndarray, np.ndarray], clean: np.ndarray
    ) -> None:
        """Keep what an epoch made, if it is one of those that are kept.

        Arguments:
            epoch: counted from 1.
            epochs: of the run.
            pair: the noisy image and its reference, (C, H, W) on the unit scale.
            clean: what the network made of the noisy one, the same.

        Raises:
            OSError: the disk refuses.
        """
        if epoch % -(-epochs // MOST) and epoch not in (1, epochs):
            return
        noisy, reference = pair
        self.folder.mkdir(exist_ok=True)
        low, high = np.nanpercentile(reference, (_LOW, _HIGH))
        for name, image in ((NOISY, noisy), (REFERENCE, reference)):
            if not (self.folder / name).exists():
                self._write(name, image, low, high)
        self._write(f"epoch-{epoch:04}.jpg", clean, low, high)

    def clear(self) -> None:
        """Remove those of an older run."""
        for path in [*self.folder.glob("*.jpg"), *self.folder.glob(".*.jpg")]:
            if self.find(path.name.lstrip(".")) or path.name.startswith("."):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # there is something else in it
            self.folder.rmdir()

    def find(self, name: str) -> Path | None:
        """A picture by its name; None if there is none, or that is no picture's name."""
        path = self.folder / name
        known = name in (NOISY, REFERENCE) or _EPOCH.fullmatch(name)
        return path if known and path.is_file() and not path.is_symlink() else None

    def as_json(self) -> dict[str, Any]:
        """Their names, and the epochs that there are."""
        found = (_EPOCH.fullmatch(path.name) for path in self.folder.glob("epoch-*.jpg"))
        epochs = sorted((int(match[1]), match[0]) for match in found if match)
        return {
            "noisy": NOISY if self.find(NOISY) else None,
            "reference": REFERENCE if self.find(REFERENCE) else None,
            "epochs": [{"epoch": epoch, "file": name} for epoch, name in epochs],
        }

    def _write(self, name: str, image: np.ndarray, low: float, high: float) -> None:
        top, left = (max(0, size - SIDE) // 2 for size in image.shape[1:])
        middle = image[:, top : top + SIDE, left : left + SIDE]
        unit = (middle - low) / (high - low if high > low else 1)
        pixels = np.rint(np.nan_to_num(unit).clip(0, 1) * 255).astype(np.uint8)
        pixels = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]
        with replacing(self.folder / name, overwrite=True) as temporary:
            picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
            picture.save(temporary, "JPEG", quality=_QUALITY, subsampling=0)

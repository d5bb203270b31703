"""Pictures of an examination, as arrays and as text that a page holds."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from noise2noise.noise import NoiseProfile
from noise2noise.noise.figure import save_mean_variance
from noise2noise.noise.line import Points

_WIDEST = 4  # standard deviations of what was removed, that are black and white
_DETAIL = 96  # pixels of a crop's side
_ZOOM = 3


def removed(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """What was removed, to look at: grey where that is nothing, black and white where it is four
    standard deviations, by the median of its size, which edges don't sway.

    Arguments:
        noisy, clean: (C, H, W), on the same scale.

    Returns:
        uint8 (H, W) of one channel, else (H, W, 3).
    """
    residual = noisy - clean
    residual = residual - residual.mean(axis=(1, 2), keepdims=True)
    sigma = float(np.median(np.abs(residual))) / 0.6745 or float(np.abs(residual).max()) or 1.0
    return shown(0.5 + residual / (2 * _WIDEST * sigma))


def shown(unit: np.ndarray) -> np.ndarray:
    """(C, H, W) from 0 to 1 as uint8 (H, W), of three channels (H, W, 3); of other numbers the
    first."""
    bits = np.rint(unit.clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(bits.transpose(1, 2, 0)) if len(bits) == 3 else bits[0]


def details(*images: np.ndarray) -> list[np.ndarray]:
    """The busiest square of the last of some images (C, H, W), cut out of each and enlarged, all on
    the same scale of brightness."""
    _, height, width = images[-1].shape
    side = min(_DETAIL, height, width)
    places = [
        (top, left)
        for top in range(0, height - side + 1, side)
        for left in range(0, width - side + 1, side)
    ]
    cut = [(slice(top, top + side), slice(left, left + side)) for top, left in places]
    busiest = max(cut, key=lambda place: float(images[-1][:, place[0], place[1]].std()))
    low, high = (float(end) for end in np.quantile(images[-1], (0.001, 0.999)))
    found = []
    for image in images:
        unit = (image[:, busiest[0], busiest[1]] - low) / (high - low or 1.0)
        found.append(shown(unit).repeat(_ZOOM, 0).repeat(_ZOOM, 1))
    return found


def correlations(alike: np.ndarray) -> np.ndarray:
    """A correlation with itself as a picture: white is 1, black -1, the middle left out."""
    picture = alike.copy()
    picture[tuple(size // 2 for size in alike.shape)] = 0
    # Small ones are what counts: a third is white.
    return shown(0.5 + 1.5 * picture[None]).repeat(20, 0).repeat(20, 1)


def as_text(picture: np.ndarray) -> str:
    """A uint8 picture as the source of an <img>."""
    file = io.BytesIO()
    Pillow.fromarray(picture).save(file, "PNG")
    return _text(file.getvalue())


def profile(noise: NoiseProfile, points: Sequence[Points]) -> str:
    """The mean-variance plot as the source of an <img>."""
    with tempfile.TemporaryDirectory(prefix="noise2noise-") as folder:
        path = Path(folder) / "profile.png"
        save_mean_variance(path, noise, points)
        return _text(path.read_bytes())


def _text(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"

"""The Denoiser: load a model, and clean up arrays and files with it.

Images of any size are taken: they are extended by reflection to what the network needs and cropped
again, and large ones are worked on in overlapping tiles. A tile overlaps its neighbours by as much
as a pixel can reach through the network, so tiling changes nothing but the memory used.

All that happens to a pixel happens while its tile is in the cache, from the 8 bits of the image to
those of the result: beside these two no array is as large as the image.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from chainrule import Module, fuse
from noise2noise import networks
from noise2noise.data import Track
from noise2noise.errors import UserError, naming
from noise2noise.images import (
    Image,
    from_unit,
    read_image,
    refuse_existing,
    to_unit,
    write_image,
)
from noise2noise.model_file import ModelInfo, read_model

WEIGHTS = Path(__file__).parent / "weights"
"""The models that come with the package."""

GREY_CORRELATION = 0.95
"""Three channels whose finest details correlate more than this have the same noise."""

TILE = 704
"""Side of a tile in pixels, overlap included; larger where the network reaches far.

Smaller ones overlap more; larger ones fit the caches less, and powers of two worst. The shipped
models take least time for a pixel with 700 to 900."""

_STRIP = 64  # rows that are looked at together; an even number

SMALLEST = 16
"""Images are extended to at least so many pixels: some networks convolve without padding, and would
have nothing left of a smaller one."""


def default_model(image: np.ndarray) -> str:
    """The shipped model that suits an image, (H, W) or (H, W, 3).

    `photo` learned from noise that is independent in each channel, and takes noise that is the same
    in all three for texture. So `grey`, which works channel by channel, suits not only grey images
    that are stored in colour but also most JPEGs: they keep colour at half the resolution, which
    leaves the finest details, noise included, the same in all channels.
    """
    return "grey" if image.ndim == 2 or _details_are_grey(image) else "photo"


def _details_are_grey(image: np.ndarray) -> bool:
    """Whether the finest diagonal details of the three channels are all but proportional.

    Their correlation is all but 1 in photographs of JPEG's usual 4:2:0 format, noisy or not; noise
    that is independent in each channel soon brings it down.
    """
    height, width = (size // 2 * 2 for size in image.shape[:2])
    products = np.zeros((3, 3))  # of the details of each channel with those of each
    for top in range(0, height, _STRIP):
        x = image[top : min(top + _STRIP, height), :width].astype(np.float32)
        details = x[0::2, 0::2] - x[0::2, 1::2] - x[1::2, 0::2] + x[1::2, 1::2]
        products += np.einsum("hwa,hwb->ab", details, details)
    norms = np.sqrt(products.diagonal())
    if not norms.all():  # flat in some channel, or a single row or column
        return _is_grey(image.transpose(2, 0, 1))
    return bool((products / np.outer(norms, norms)).min() > GREY_CORRELATION)


def _is_grey(planes: np.ndarray) -> bool:
    return bool((planes == planes[:1]).all())


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


class Denoiser:
    """A trained network, ready to use.

    Arguments:
        model: maps (N, C, H, W) to the same shape; values in [0, 1].
        info: what is known of it.

    Example:
        >>> noisy = np.zeros((64, 48, 3), np.uint8)
        >>> Denoiser.load("photo").denoise(noisy).shape
        (64, 48, 3)
    """

    def __init__(self, model: Module, info: ModelInfo) -> None:
        architecture = networks.ARCHITECTURES[info.architecture]
        self.model, self.info = fuse(model.eval()), info
        self.channels = info.sizes["channels"]
        self._multiple = architecture.multiple(info.sizes)
        reach = architecture.reach(info.sizes)
        self._overlap = -(-reach // self._multiple) * self._multiple

    @classmethod
    def load(cls, model: str | Path) -> Denoiser:
        """Load a shipped model by name, or a model file, or a training run's best model.

        Arguments:
            model: the name of a shipped model, which comes before a file or folder of that name;
                or the path of a model file or of a run's folder.

        Raises:
            UserError: there is no such model, or its file is damaged or of something else.
        """
        path = _find(model)
        name = path.stem if path.parent == WEIGHTS else str(path)
        return cls(*read_model(path, name))

    def denoise(
        self,
        image: np.ndarray,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
    ) -> np.ndarray:
        """Remove noise from one image.

        Arguments:
            image: (H, W) or (H, W, 3); uint8, uint16, or floats in about [0, 1].
            strength: 0 gives the image back, 1 the network's result, between them a mixture.
            tile: side of a tile in pixels, overlap included; smaller needs less memory.
            track: shows the progress over the tiles.

        Returns:
            Same shape and dtype, in memory of its own; computed in float32.

        Raises:
            UserError: floats out of range, a strength outside [0, 1], or a tile that is too small.
            ValueError: another shape or dtype.
        """
        pixels = _checked(image)
        clean = np.empty(image.shape, image.dtype)
        self._filter(_planes(pixels), _planes(clean), strength, tile, track)
        return clean

    def denoise_unit(
        self,
        noisy: np.ndarray,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
    ) -> np.ndarray:
        """`denoise` for float32 (C, H, W) on the scale of [0, 1], which noise may leave."""
        clean = np.empty(noisy.shape, np.float32)
        self._filter(noisy, clean, strength, tile, track)
        return clean

    def denoise_image(
        self,
        image: Image,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
    ) -> Image:
        """`denoise` for an image as a file has it; transparency and metadata are kept."""
        return replace(image, pixels=self.denoise(image.pixels, strength, tile, track))

    def denoise_file(
        self,
        source: str | Path,
        destination: str | Path,
        overwrite: bool = False,
        strength: float = 1.0,
        tile: int | None = None,
        track: Track | None = None,
    ) -> tuple[Image, Image]:
        """Read an image, denoise it and write it, keeping dtype, transparency and metadata.

        Returns:
            The image as it was, and as it was written.

        Raises:
            UserError: the file can't be read or written, or its values are out of range.
        """
        refuse_existing(destination, overwrite)
        self.check(strength, tile)
        noisy = read_image(source)
        with naming(source):
            clean = self.denoise_image(noisy, strength, tile, track)
        write_image(destination, clean, overwrite)
        return noisy, clean

    def check(self, strength: float = 1.0, tile: int | None = None) -> None:
        """Refuse what no image could be denoised with.

        Raises:
            UserError: a strength outside [0, 1], or a tile that is too small for this model.
        """
        if not 0 <= strength <= 1:
            raise UserError(f"strength must lie in 0 to 1, got {strength}")
        if tile is not None and tile < self._least_tile:
            raise UserError(
                f"a tile must be at least {self._least_tile} pixels for this model, got {tile}"
            )

    # -- tiles -------------------------------------------------------------------------------------

    @property
    def _least_tile(self) -> int:
        return 2 * self._overlap + self._multiple

    def _tile_side(self, tile: int | None) -> int:
        side = max(TILE, 2 * self._least_tile) if tile is None else tile
        return side // self._multiple * self._multiple

    def _filter(
        self,
        noisy: np.ndarray,
        clean: np.ndarray,
        strength: float,
        tile: int | None,
        track: Track | None,
    ) -> None:
        """Fill `clean` with what becomes of `noisy`, both (C, H, W) as an image stores them."""
        self.check(strength, tile)
        _, height, width = noisy.shape
        below, right = self._missing(height), self._missing(width)
        side = self._tile_side(tile)
        cells = [
            (rows, columns)
            for rows in _tiles(height + below, side, self._overlap, self._multiple)
            for columns in _tiles(width + right, side, self._overlap, self._multiple)
        ]
        for rows, columns in track(cells, "Denoising", len(cells)) if track else cells:
            part = _unit(noisy[:, rows.whole, columns.whole])
            margins = rows.length - part.shape[1], columns.length - part.shape[2]
            result = self._clean(_extended(part, *margins))
            result = result[:, rows.inner, columns.inner]
            place = clean[:, rows.core, columns.core]
            result = result[:, : place.shape[1], : place.shape[2]]
            if strength != 1:
                before = part[:, rows.inner, columns.inner]
                result = before + np.float32(strength) * (result - before)
            place[...] = _stored(result, clean.dtype)

    def _clean(self, noisy: np.ndarray) -> np.ndarray:
        """The network's result for a tile of 1 or 3 channels, whatever the network has."""
        if len(noisy) == self.channels:
            return self._infer(noisy)
        if self.channels == 3:
            return self._infer(noisy.repeat(3, 0)).mean(0, keepdims=True)
        if _is_grey(noisy):
            return self._infer(noisy[:1]).repeat(3, 0)
        return np.concatenate([self._infer(plane[None]) for plane in noisy])

    def _infer(self, noisy: np.ndarray) -> np.ndarray:
        return self.model.infer(torch.from_numpy(noisy)[None])[0].numpy()

    def _missing(self, length: int) -> int:
        """How many pixels the network needs beyond `length`."""
        return -(-max(length, SMALLEST) // self._multiple) * self._multiple - length


@dataclass(frozen=True)
class _Tile:
    """One tile along one axis: what goes in, what part of the image it decides, where that is in
    it."""

    whole: slice
    core: slice
    inner: slice

    @property
    def length(self) -> int:
        return self.whole.stop - self.whole.start


def _tiles(length: int, tile: int, overlap: int, multiple: int) -> Iterator[_Tile]:
    """Tiles that cover `length` pixels, each of at most `tile`, cores side by side.

    As few as there can be, and all of one size, so that each finds memory where the one before left
    it. All numbers are multiples of `multiple`.
    """
    if length <= tile:
        everything = slice(0, length)
        yield _Tile(everything, everything, everything)
        return
    count = -(-(length - 2 * overlap) // (tile - 2 * overlap))
    side = -(-(length + (count - 1) * 2 * overlap) // (count * multiple)) * multiple
    firsts = [place * (side - 2 * overlap) for place in range(count - 1)] + [length - side]
    cuts = [0, *(first + overlap for first in firsts[1:]), length]
    for first, start, stop in zip(firsts, cuts, cuts[1:], strict=False):
        inner = slice(start - first, stop - first)
        yield _Tile(slice(first, first + side), slice(start, stop), inner)


def _checked(image: np.ndarray) -> np.ndarray:
    """The image in one of the dtypes that files have.

    Raises:
        UserError, ValueError: as `to_unit`, of which only the extremes of floats are worth it.
    """
    pixels = Image(image.astype(np.float32) if image.dtype == np.float64 else image).pixels
    if pixels.dtype == np.float32:
        to_unit(np.array([[pixels.min(), pixels.max()]]))
    return pixels


def _planes(pixels: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) as (C, H, W), without a copy."""
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def _unit(part: np.ndarray) -> np.ndarray:
    """Part of an image, (C, H, W), as float32 with white at 1, in new memory of the same order."""
    unit = part.astype(np.float32)
    if part.dtype.kind != "f":
        unit /= np.iinfo(part.dtype).max
    return unit


def _stored(unit: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The inverse of `_unit`; refuses what is no number as `from_unit` does."""
    return unit if dtype.kind == "f" else _planes(from_unit(unit, dtype))


def _extended(part: np.ndarray, below: int, right: int) -> np.ndarray:
    """(C, H, W) with rows below and columns at the right, reflected."""
    if below == right == 0:
        return part
    return np.pad(part, ((0, 0), (0, below), (0, right)), mode="reflect")


def _find(model: str | Path) -> Path:
    # Shipped names first: a folder named photo must not hide the model that is used by default.
    known = shipped_models()
    if str(model) in known:
        return WEIGHTS / f"{model}.safetensors"
    path = Path(model)
    if (path / "best.safetensors").is_file():
        return path / "best.safetensors"
    if path.is_dir():
        raise UserError(
            f"the folder {path} holds no best.safetensors, which training writes at the end of its "
            "first epoch; name a folder of a training run, or a model file"
        )
    if path.is_file():
        return path
    near = difflib.get_close_matches(str(model), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}, or a file"
    raise UserError(f"there is no model {str(model)!r}; {hint}")

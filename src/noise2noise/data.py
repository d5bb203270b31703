"""Pairs of noisy images to learn from, wherever they come from, and their mini-batches.

A source keeps its images in memory as they were stored (8 bits stay 8 bits) and hands out crops:
float32 `(C, crop, crop)`, scaled so that black is 0 and white is 1; noise may leave that range.

- `TensorPairs`: two tensors of recorded pairs, such as the course's file (`load_pair_file`).
- `FolderPairs`: two folders of recorded pairs, matched by name.
- `CorruptedPhotographs`: clean photographs, with noise drawn anew for every crop.
- `GeneratedImages`: the same with pictures made on the spot, so that nothing has to be downloaded.

`split` holds some images back for validation, `batches` turns the others into one epoch. Every
random choice follows from the numbers given, whatever the number of workers.

Batches are made with numpy alone. PyTorch's threads go on watching for work for milliseconds after
each of its operations on large tensors, on processors that the kernels' threads could use.
"""

import collections
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
import torch

from noise2noise.dead_leaves import dead_leaves
from noise2noise.errors import UserError
from noise2noise.images import list_images, read_image, to_unit
from noise2noise.noise.corruptions import Corruption

Track = Callable[[Iterable, str, int], Iterable]
"""What shows progress: called with items, a description and their number, it yields the items, as
`rich.progress.track` does."""

VALIDATION_SHARE = 20
"""One image in so many is held back for validation, at least one."""

VALIDATION_PIXELS = 2**21
"""At most so many pixels are held back, so that validation stays a small part of an epoch."""

VALIDATION_SIDE = 256
"""Crops for validation are at most this large, or one training crop if that is larger."""

# What a random stream is for. numpy pads short seeds with zeros, so each use has a first word.
_ORDER, _BATCH, _VALIDATION, _GENERATE = range(1, 5)


@dataclass(frozen=True)
class ValidationSet:
    """Images that training never sees, always the same ones with the same noise.

    Attributes:
        pairs: (noisy input, reference), float32 `(C, H, W)`, of one size within a set, which is a
            multiple of the training crop.
        reference_is_clean: whether the references are clean images. If not, each is another noisy
            image of the same scene; a PSNR against it is lower than the true one because the
            reference's own noise counts as error, but that part is the same for every model, so it
            ranks them alike.
    """

    pairs: list[tuple[np.ndarray, np.ndarray]]
    reference_is_clean: bool


class PairSource(ABC):
    """Where pairs come from; see the module's text for the kinds.

    Attributes:
        channels: 1 (grey) or 3 (colour), the same for all images.
        crop: side in pixels of both images of a pair.
        reference_is_clean: whether the second image of `validation_pair` is clean.
        takes_time: whether threads should make batches ahead: not where a batch is so quickly made
            that handing it from one to the other takes as long.
    """

    takes_time: ClassVar[bool]
    channels: int
    reference_is_clean: bool

    def __init__(self, shapes: np.ndarray, crop: int) -> None:
        # shapes: (images, 2), height and width of each image, in pixels of the pairs.
        self.crop = crop
        self._shapes = shapes
        self._choose(np.arange(len(shapes)))

    def _choose(self, images: np.ndarray) -> None:
        self._images = images
        self._image_of_crop = np.repeat(images, np.prod(self._shapes[images] // self.crop, axis=1))

    def __len__(self) -> int:
        """Crops in an epoch: of each image as many as fit in it side by side."""
        return len(self._image_of_crop)

    @property
    def images(self) -> int:
        """How many images (or pairs of recorded images) the crops are taken from."""
        return len(self._images)

    def batch(
        self, indices: Sequence[int] | np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(inputs, targets) number `indices` of `len(self)`: float32 `(N, channels, crop, crop)`.

        The place of each crop, flips and quarter turns, alike on both sides, and what noise there
        is to draw all come from `rng`.
        """
        images = self._image_of_crop[indices]
        shape = (len(images), self.channels, self.crop, self.crop)
        inputs, targets = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._fill(inputs, targets, images, rng)
        return inputs, targets

    def validation_pair(self, index: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        """(noisy, reference) of image `index` of `images`: its centre, `side` pixels square."""
        return self._validation_pair(self._images[index], side)

    def subset(self: "Source", indices: Sequence[int] | np.ndarray) -> "Source":
        """The same kind of source with only these of the `images`, without copying a pixel."""
        part = copy.copy(self)
        part._choose(self._images[np.asarray(indices, dtype=np.int64)])
        return part

    @abstractmethod
    def describe(self) -> str:
        """One line for people: what is learned from."""

    @abstractmethod
    def _fill(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
    ) -> None: ...

    @abstractmethod
    def _validation_pair(self, image: int, side: int) -> tuple[np.ndarray, np.ndarray]: ...


Source = TypeVar("Source", bound=PairSource)


class _RecordedPairs(PairSource):
    """Pairs as they were taken: the noise is in the files."""

    takes_time = False

    def __init__(
        self,
        first: Sequence[np.ndarray] | np.ndarray,
        second: Sequence[np.ndarray] | np.ndarray,
        shapes: np.ndarray,
        crop: int,
        target_is_clean: bool,
    ) -> None:
        super().__init__(shapes, crop)
        self.channels = len(first[0])
        self.reference_is_clean = target_is_clean
        if len({image.dtype for side in (first, second) for image in side}) > 1:
            first, second = ([_unit(image) for image in side] for side in (first, second))
        self._first = first
        self._second = second
        self._white = _white(first[0].dtype)

    def _fill(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        views = _random_views(self._shapes[images], self.crop, rng)
        swaps = rng.integers(1 if self.reference_is_clean else 2, size=len(images)).tolist()
        draws = zip(images.tolist(), views, swaps, strict=True)
        for place, (image, view, swap) in enumerate(draws):
            first, second = (targets, inputs) if swap else (inputs, targets)
            first[place] = view.of(self._first[image])
            second[place] = view.of(self._second[image])
        if self._white != 1:
            inputs /= self._white
            targets /= self._white

    def _validation_pair(self, image: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = (_centre(pixels[image], side) for pixels in (self._first, self._second))
        return _unit(first), _unit(second)


class TensorPairs(_RecordedPairs):
    """Pairs held in two tensors: image `i` of one and image `i` of the other show the same scene.

    Which of the two is the input is drawn anew each time, unless `target_is_clean`.

    Arguments:
        first, second: `(N, C, H, W)` of equal shape, C 1 or 3; uint8, or floats of the same scale,
            0 to 255. 8-bit tensors are not copied.
        crop: side of the crops; the shorter side of the images if None.
        target_is_clean: `second` holds clean images: it is always the target.

    Raises:
        UserError: shapes, dtypes or values are others, or the images are smaller than `crop`.
    """

    def __init__(
        self,
        first: torch.Tensor,
        second: torch.Tensor,
        crop: int | None = None,
        target_is_clean: bool = False,
    ) -> None:
        _check_tensors(first, second, "the pairs")
        count, _, height, width = first.shape
        crop = _checked_crop(min(height, width) if crop is None else crop)
        if crop > min(height, width):
            raise UserError(
                f"a crop of {crop} x {crop} does not fit in the images of {_size(first[0])}; "
                f"choose a crop of at most {min(height, width)}"
            )
        shapes = np.broadcast_to(np.array([height, width]), (count, 2))
        super().__init__(_stored(first), _stored(second), shapes, crop, target_is_clean)

    def describe(self) -> str:
        kind = "noisy and clean" if self.reference_is_clean else "noisy"
        height, width = self._shapes[0]
        size = f"{width} x {height}"
        return f"{_count(self.images, 'pair')} of {kind} images, {size}, {_colour(self.channels)}"


class FolderPairs(_RecordedPairs):
    """Pairs of image files: two folders that hold the same scenes under the same names.

    `a/tree.png` and `b/tree.tif` are a pair: the endings may differ. All images are read at once,
    and every one that can't be used is named before training starts. Which of the two is the input
    is drawn anew each time, unless `target_is_clean`.

    Arguments:
        folder_a, folder_b: one noisy image of each scene in either.
        crop: side of the crops in pixels.
        target_is_clean: `folder_b` holds clean images: they are always the target.
        track: shows the progress of reading.

    Raises:
        UserError: a folder is missing or empty, a file can't be read, a name has no partner or is
            there twice, the images of a pair differ in size, some are grey and some in colour, or
            some are smaller than the crop.
    """

    def __init__(
        self,
        folder_a: str | Path,
        folder_b: str | Path,
        crop: int,
        target_is_clean: bool = False,
        track: Track | None = None,
    ) -> None:
        crop = _checked_crop(crop)
        self._folders = Path(folder_a), Path(folder_b)
        names = matched(*self._folders)
        work = (track or _silently)(names, "Reading pairs", len(names))
        pixels = [(_decoded(a), _decoded(b)) for a, b in work]
        _check_pairs(names, pixels, crop)
        first, second = zip(*pixels, strict=True)
        shapes = np.array([image.shape[1:] for image in first])
        super().__init__(first, second, shapes, crop, target_is_clean)

    def describe(self) -> str:
        kind = "noisy and clean" if self.reference_is_clean else "noisy"
        a, b = self._folders
        crops = f"crops of {self.crop} x {self.crop}, {_colour(self.channels)}"
        return f"{_count(self.images, 'pair')} of {kind} images from {a} and {b}, {crops}"


class _CorruptedImages(PairSource):
    """Clean images of which noisy ones are drawn, two for each crop."""

    takes_time = True
    reference_is_clean = True

    def __init__(self, pixels: Sequence[np.ndarray], corruption: Corruption, crop: int) -> None:
        shapes = np.array([image.shape[1:] for image in pixels]) // corruption.scale
        super().__init__(shapes, crop)
        self.channels = len(pixels[0])
        self._pixels = pixels
        self._corruption = corruption

    def _fill(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        images: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        # Turned before the noise is drawn, because what is drawn may have an upright: text has.
        pixels = [self._pixels[image] for image in images]
        side = self.crop * self._corruption.scale
        views = _random_views(np.array([image.shape[1:] for image in pixels]), side, rng)
        for place, (image, view) in enumerate(zip(pixels, views, strict=True)):
            clean = _unit(view.of(image))
            inputs[place], targets[place] = self._corruption.pair(clean, rng)

    def _validation_pair(self, image: int, side: int) -> tuple[np.ndarray, np.ndarray]:
        clean = _unit(_centre(self._pixels[image], side * self._corruption.scale))
        rng = np.random.default_rng((_VALIDATION, image))
        return self._corruption.draw(clean, rng), self._corruption.clean(clean)

    def _noise(self) -> str:
        crops = f"crops of {self.crop} x {self.crop}, {_colour(self.channels)}"
        return f"noise {self._corruption.spec} drawn anew for each, {crops}"


class CorruptedPhotographs(_CorruptedImages):
    """A folder of clean photographs and a noise model; both images of a pair are noisy.

    All photographs are read at once and stay in memory, 3 bytes for a pixel of an 8-bit colour one.

    Arguments:
        folder: where the photographs are.
        corruption: the noise; with a `scale` of k, a region of `k * crop` pixels makes one crop.
        crop: side of the crops in pixels.
        channels: 1 makes all photographs grey (luma of ITU-R BT.601), 3 repeats grey ones in three
            channels; None stands for 3 if any photograph is in colour and 1 otherwise.
        track: shows the progress of reading.

    Raises:
        UserError: the folder is missing or empty, or a file can't be read or is too small.
    """

    def __init__(
        self,
        folder: str | Path,
        corruption: Corruption,
        crop: int,
        channels: int | None = None,
        track: Track | None = None,
    ) -> None:
        crop, channels = _checked_crop(crop), _checked_channels(channels)
        self._folder = Path(folder)
        paths = list_images(self._folder)
        pixels = [_decoded(path) for path in (track or _silently)(paths, "Reading", len(paths))]
        _refuse_small(paths, pixels, crop * corruption.scale)
        channels = channels or max(map(len, pixels))
        super().__init__([_in_channels(image, channels) for image in pixels], corruption, crop)

    def describe(self) -> str:
        return f"{_count(self.images, 'photograph')} in {self._folder}, {self._noise()}"


class GeneratedImages(_CorruptedImages):
    """Pictures from `dead_leaves`, made once, and a noise model; both images of a pair are noisy.

    Making one (some 40 ms for 128 x 128) would hold up every training step, so they are made here,
    a little larger than the crop, and kept with the 8 bits that photographs have.

    Arguments:
        count: how many pictures, at least 1.
        corruption: the noise; with a `scale` of k, a region of `k * crop` pixels makes one crop.
        crop: side of the crops in pixels.
        seed: picture `i` follows from `(seed, i)`, so a larger `count` adds pictures to the same.
        channels: 1 for grey, 3 for colour.
        track: shows the progress of making them.

    Raises:
        ValueError: `count`, `crop` or `channels` is out of range.
    """

    def __init__(
        self,
        count: int,
        corruption: Corruption,
        crop: int,
        seed: int = 0,
        channels: int = 3,
        track: Track | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"count must be at least 1 picture, got {count}")
        crop, channels = _checked_crop(crop), _checked_channels(channels) or 3
        side = crop * corruption.scale + 64

        def make(index: int) -> np.ndarray:
            picture = dead_leaves(side, np.random.default_rng((_GENERATE, seed, index)), channels)
            return np.round(255 * picture).astype(np.uint8)

        with ThreadPoolExecutor() as pool:
            pictures = pool.map(make, range(count))
            pixels = list((track or _silently)(pictures, "Generating images", count))
        super().__init__(pixels, corruption, crop)

    def describe(self) -> str:
        return f"{_count(self.images, 'generated image')}, {self._noise()}"


def load_pair_file(path: str | Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The two tensors of a `.pkl`, `.pth` or `.pt` file that `torch.save((a, b), path)` wrote.

    Nothing in the file is ever run: it is read with `weights_only=True`, in a PyTorch that keeps
    that promise.

    Returns:
        Two tensors `(N, C, H, W)`, uint8 or floats, values 0 to 255; for `TensorPairs`.

    Raises:
        UserError: there is no such file, it is damaged, holds anything but two such tensors, or
            PyTorch is older than 2.6.
    """
    path = Path(path)
    _require_safe_unpickling()
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the name")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can make the reader fail in any way
        raise UserError(
            f"{path} can't be opened as two tensors: it is damaged, was not written by torch.save, "
            "or holds something other than tensors, which is refused because it could run code; "
            "write it with torch.save((first, second), path)"
        ) from error
    if not isinstance(content, (tuple, list)):
        raise UserError(
            f"{path} holds a {type(content).__name__}; expected two tensors (first, second)"
        )
    if len(content) != 2 or not all(isinstance(side, torch.Tensor) for side in content):
        kinds = ", ".join(type(side).__name__ for side in content[:5])
        raise UserError(
            f"{path} holds {len(content)} things ({kinds}); expected two tensors (first, second)"
        )
    first, second = (side.detach() for side in content)
    _check_tensors(first, second, str(path))
    return first, second


def _require_safe_unpickling() -> None:
    # Before 2.6 a crafted file could run code in spite of weights_only=True: CVE-2025-32434.
    major, minor = (int(part) for part in torch.__version__.split(".")[:2])
    if (major, minor) < (2, 6):
        raise UserError(
            f"files of pairs are opened with PyTorch 2.6 or newer only, and this is "
            f"{torch.__version__}: before, a crafted file could run code; upgrade torch, or train "
            "from folders of images"
        )


def _check_tensors(first: torch.Tensor, second: torch.Tensor, where: str) -> None:
    for side in (first, second):
        if side.layout != torch.strided or side.ndim != 4 or side.shape[1] not in (1, 3):
            raise UserError(
                f"{where}: expected tensors (N, C, H, W) with 1 or 3 channels, "
                f"got {tuple(side.shape)}"
            )
        if side.dtype != torch.uint8 and not side.is_floating_point():
            raise UserError(f"{where}: expected uint8 or floats from 0 to 255, got {side.dtype}")
    if first.shape != second.shape:
        raise UserError(
            f"{where}: the two sides differ in shape, {tuple(first.shape)} and "
            f"{tuple(second.shape)}; image i of one must be the partner of image i of the other"
        )
    if first.numel() == 0:
        raise UserError(f"{where}: there are no images, the shape is {tuple(first.shape)}")
    for side in (first, second):
        if side.is_floating_point():
            _check_scale(side, where)


def _check_scale(side: torch.Tensor, where: str) -> None:
    if not torch.isfinite(side).all():
        raise UserError(f"{where}: holds values that are not finite (NaN or infinite); remove them")
    # Noise may leave 0..255, though not by much; another scale altogether would train in silence.
    lowest, highest = float(side.min()), float(side.max())
    if lowest < -255 or highest <= 1 or highest > 2 * 255:
        raise UserError(
            f"{where}: expected values from 0 to 255, got {lowest:g} to {highest:g}; scale them"
        )


def _stored(side: torch.Tensor) -> np.ndarray:
    if side.dtype == torch.uint8:
        return side.detach().cpu().numpy()
    return (side.detach().cpu().float() / 255).numpy()


def matched(folder_a: Path, folder_b: Path) -> list[tuple[Path, Path]]:
    """The files of two folders as pairs of the same name; refuses any that has no partner."""
    a, b = _by_name(folder_a), _by_name(folder_b)
    if folder_a.resolve() == folder_b.resolve():
        raise UserError(f"both folders are {folder_a}; give two, each with its own noisy images")
    alone = [str(a[name]) for name in a if name not in b]
    alone += [str(b[name]) for name in b if name not in a]
    if alone:
        raise UserError(
            f"{_count(len(alone), 'image')} without a partner of that name in the other folder: "
            f"{_shortened(alone)}; rename or remove them"
        )
    return [(a[name], b[name]) for name in sorted(a)]


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in list_images(folder):
        other = files.setdefault(path.stem, path)
        if other != path:
            raise UserError(
                f"{other} and {path.name} have the same name but for the ending, so it is not "
                "clear which belongs to a pair; remove one"
            )
    return files


def _check_pairs(
    names: Sequence[tuple[Path, Path]],
    pixels: Sequence[tuple[np.ndarray, np.ndarray]],
    crop: int,
) -> None:
    differing = [
        f"{a} is {_size(first)} and {b} is {_size(second)}"
        for (a, b), (first, second) in zip(names, pixels, strict=True)
        if first.shape != second.shape
    ]
    if differing:
        raise UserError(
            f"{_count(len(differing), 'pair')} of different sizes: {_shortened(differing)}; "
            "both images of a pair must show the same pixels"
        )
    channels = len(pixels[0][0])
    other = [
        str(a) for (a, _), (first, _) in zip(names, pixels, strict=True) if len(first) != channels
    ]
    if other:
        raise UserError(
            f"{names[0][0]} is {_colour(channels)} but not these: {_shortened(other)}; "
            "train on grey and colour images apart"
        )
    _refuse_small([a for a, _ in names], [first for first, _ in pixels], crop)
    if all(np.array_equal(first, second) for first, second in pixels):
        raise UserError(
            f"every image of {names[0][0].parent} is the same in {names[0][1].parent}, noise and "
            "all; a pair needs two shots, each with its own noise"
        )


def _refuse_small(paths: Sequence[Path], pixels: Sequence[np.ndarray], side: int) -> None:
    small = [
        f"{path} ({_size(image)})"
        for path, image in zip(paths, pixels, strict=True)
        if min(image.shape[1:]) < side
    ]
    if small:
        raise UserError(
            f"{_count(len(small), 'image')} smaller than the {side} x {side} pixels that a crop "
            f"takes: {_shortened(small)}; choose a smaller crop or remove them"
        )


def _decoded(path: Path) -> np.ndarray:
    """(C, H, W) as stored: integers as they are, floats scaled to [0, 1]."""
    image = read_image(path)
    if image.pixels.dtype.kind == "f":
        try:
            return to_unit(image)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    return image.pixels[None] if image.pixels.ndim == 2 else image.pixels.transpose(2, 0, 1)


def _in_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    if len(pixels) == channels:
        return pixels
    if channels == 3:
        return np.broadcast_to(pixels, (3, *pixels.shape[1:]))
    luma = np.tensordot((0.299, 0.587, 0.114), pixels, 1)[None]
    return (luma if pixels.dtype.kind == "f" else luma.round()).astype(pixels.dtype)


def _unit(pixels: np.ndarray) -> np.ndarray:
    """Stored pixels, `(C, H, W)`, as float32 with white at 1, in memory of their own."""
    unit = np.array(pixels, np.float32, order="C")
    unit /= _white(pixels.dtype)
    return unit


def _white(dtype: np.dtype) -> int:
    """What white is stored as."""
    return 1 if dtype.kind == "f" else int(np.iinfo(dtype).max)


class _View(NamedTuple):
    """A square of an image, in one of its eight flips and turns."""

    top: int
    left: int
    side: int
    way: int

    def of(self, image: np.ndarray) -> np.ndarray:
        top, left, side, way = self
        down, right = (-1 if way & 1 else 1), (-1 if way & 2 else 1)
        square = image[:, top : top + side, left : left + side][:, ::down, ::right]
        return square.swapaxes(1, 2) if way & 4 else square


def _random_views(sizes: np.ndarray, side: int, rng: np.random.Generator) -> list[_View]:
    """A random view of each of the images of these heights and widths, `(N, 2)`."""
    corners = rng.integers(sizes - side, endpoint=True).tolist()
    ways = rng.integers(8, size=len(sizes)).tolist()
    return [_View(top, left, side, way) for (top, left), way in zip(corners, ways, strict=True)]


def _centre(image: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in image.shape[1:])
    return image[:, top : top + side, left : left + side]


def validation_set(source: PairSource) -> ValidationSet:
    """All images of a source as a fixed set for validation: the centre of each, with fixed noise.

    The centres are as large as the smallest image allows and `VALIDATION_SIDE` permits.
    """
    side = _validation_side(source)
    pairs = [source.validation_pair(index, side) for index in range(source.images)]
    return ValidationSet(pairs, source.reference_is_clean)


def split(source: Source) -> tuple[Source, ValidationSet]:
    """Hold whole images back: (what to train on, what to validate on).

    One image in `VALIDATION_SHARE`, spread evenly and always the same ones; fewer where they would
    exceed `VALIDATION_PIXELS`; at least one.

    Raises:
        UserError: the source has a single image.
    """
    if source.images < 2:
        raise UserError(
            f"at least two images are needed, one to learn from and one to validate on; "
            f"this is {source.describe()}"
        )
    most = max(1, VALIDATION_PIXELS // _validation_side(source) ** 2)
    count = max(1, min(source.images // VALIDATION_SHARE, most))
    step = source.images // count
    held = np.arange(count) * step + step // 2
    rest = np.setdiff1d(np.arange(source.images), held)
    return source.subset(rest), validation_set(source.subset(held))


def _validation_side(source: PairSource) -> int:
    smallest = int(source._shapes[source._images].min())
    return source.crop * max(1, min(smallest, VALIDATION_SIDE) // source.crop)


def steps_per_epoch(source: PairSource, batch_size: int) -> int:
    """How many mini-batches `batches` makes of one epoch; the last may be smaller."""
    return -(-len(source) // batch_size)


def batches(
    source: PairSource, batch_size: int, seed: int, epoch: int, start: int = 0, workers: int = 2
) -> Generator[tuple[torch.Tensor, torch.Tensor], None, None]:
    """One epoch in random order: (inputs, targets), float32 `(N, C, crop, crop)` each.

    The order follows from `(seed, epoch)`, each batch from `(seed, epoch, its place in the order)`.
    So neither the number of workers nor where one starts changes a bit:
    `batches(..., start=k)` equals `batches(...)` without its first k. Where noise has to be drawn,
    threads prepare a few batches ahead; they end when the iterator is used up or closed, and their
    errors are raised here.

    Arguments:
        source: where the pairs come from.
        batch_size: pairs in a batch, at least 1; the last batch holds what is left.
        seed, epoch: what the randomness follows from, 0 or more.
        start: how many batches to skip.
        workers: threads that prepare batches, at least 1.

    Raises:
        ValueError: a number is out of range.
    """
    steps = steps_per_epoch(source, _at_least(1, "batch_size", batch_size))
    _at_least(1, "workers", workers)
    if not 0 <= start <= steps:
        raise ValueError(f"start must be from 0 to {steps}, the batches of an epoch; got {start}")
    order = np.random.default_rng((_ORDER, seed, epoch)).permutation(len(source))

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = order[step * batch_size : (step + 1) * batch_size]
        rng = np.random.default_rng((_BATCH, seed, epoch, step))
        inputs, targets = source.batch(chosen, rng)
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    if source.takes_time:
        return _prefetched(batch, range(start, steps), workers)
    return (batch(step) for step in range(start, steps))


Item = TypeVar("Item")


def _prefetched(
    make: Callable[[int], Item], arguments: Iterable[int], workers: int
) -> Generator[Item, None, None]:
    """`make` of each argument, in order, made by threads that stay two items each ahead."""
    ahead: collections.deque[Future[Item]] = collections.deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pairs")
    try:
        for argument in arguments:
            ahead.append(pool.submit(make, argument))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _silently(items: Iterable, description: str, total: int) -> Iterable:
    return items


def _checked_crop(crop: int) -> int:
    return _at_least(1, "crop", crop)


def _checked_channels(channels: int | None) -> int | None:
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    return channels


def _at_least(least: int, name: str, number: int) -> int:
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def _size(image: np.ndarray | torch.Tensor) -> str:
    channels, height, width = image.shape
    return f"{width} x {height} {_colour(channels)}"


def _colour(channels: int) -> str:
    return {1: "grey", 3: "colour"}[channels]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _shortened(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

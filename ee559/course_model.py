"""What the models of both mini-projects share: the course's interface to a denoiser.

Images are tensors (N, C, H, W) with values from 0 to 255 on the outside, and in [0, 1] inside.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from chainrule import MSE, Adam, Module, cosine, fuse
from chainrule.serialization import one_line
from noise2noise import networks
from noise2noise.data import TensorPairs, batches, steps_per_epoch
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.fit import DivergedError, step
from noise2noise.model_file import check_fits, fill
from noise2noise.model_info import ModelInfo
from noise2noise.untrusted import load_torch

LEAST_SIDE = 8
"""Training images have at least so many rows and columns."""

ORIENTATIONS = [(turns, mirrored) for turns in range(4) for mirrored in (False, True)]
"""The eight ways to lay down a picture: quarter turns, and whether it is mirrored first."""


_REMEDY = "make it again with: python -m ee559.export --help"


class BestModel(NamedTuple):
    """What a `bestmodel.pth` holds: which network it is, and its weights."""

    architecture: str
    sizes: dict[str, int]
    weights: dict[str, Tensor]


class CourseModel:
    """A denoiser as the course's test harness uses it: load it, train it, predict with it.

    A subclass says where its best model lies and how it learns. The architecture and its sizes come
    from `bestmodel.pth`, so that a better model replaces that file and nothing else.
    `model(images)` is `model.predict(images)`.

    Args:
        averaged: see the attribute, which it sets; by default it is the class's.

    Attributes:
        best: the path of `bestmodel.pth`.
        fallback: the architecture to build, by its default sizes, while there is no such file.
        learning_rate: at the first step of `train`.
        batch_size: pairs in a training step.
        averaged: whether `predict` takes the mean over the eight orientations of each image, eight
            times as slow and a little better (Timofte, Rothe and Van Gool 2016).
        network: maps (N, C, H, W) in [0, 1] to the same shape; random weights at first.
        loss: the mean squared error, which noisy targets don't bias.
        optimizer: Adam (Kingma and Ba 2014), over the network's parameters.
    """

    best: ClassVar[Path]
    fallback: ClassVar[str]
    learning_rate: ClassVar[float]
    batch_size: ClassVar[int]
    averaged: bool = False

    def __init__(self, averaged: bool | None = None) -> None:
        if averaged is not None:
            self.averaged = averaged
        known = read_best(self.best) if self.best.is_file() else BestModel(self.fallback, {}, {})
        self._build(known)

    def load_pretrained_model(self) -> None:
        """Take the weights in `bestmodel.pth`, beside this model's file; training starts afresh.

        Raises:
            UserError: the file is missing, damaged, or of something else.
        """
        known = read_best(self.best)
        self._build(known)
        try:
            fill(self.network, known.weights)
        except ValueError as error:
            raise UserError(f"{self.best} is damaged or of another network: {error}") from error

    def train(self, train_input: Tensor, train_target: Tensor, num_epochs: int) -> None:
        """Learn to predict `train_target` from `train_input`: two noisy images of the same scenes.

        Every epoch shows each pair once, in random order and in one of its eight flips and turns
        (rectangles give random squares), with a learning rate that falls along a cosine from its
        first value to zero over the epochs of this call. A second call goes on from the first.

        Args:
            train_input: (N, C, H, W), uint8 or floats, 0 to 255, at least 8 pixels high and wide.
            train_target: of the same shape, on the same scale; `train_input` with other noise.
            num_epochs: passes over the pairs, 0 or more.

        Raises:
            UserError: the tensors or the number are others.
            DivergedError: the loss is not finite any more.
        """
        train_input = checked_images("train_input", train_input, self._sizes["channels"])
        train_target = checked_images("train_target", train_target, self._sizes["channels"])
        if train_input.shape != train_target.shape:
            raise UserError(
                f"train_input is {tuple(train_input.shape)} and train_target "
                f"{tuple(train_target.shape)}; image i of one must be the partner of image i of "
                "the other"
            )
        _check_epochs(num_epochs)
        crop = self._crop(train_input)
        # Input and target never change places, so that a clean target works as well.
        pairs = TensorPairs(train_input, train_target, crop, target_is_clean=True)
        total = steps_per_epoch(pairs, self.batch_size) * num_epochs
        rates = iter(map(cosine(self.learning_rate, max(total, 1)), range(total)))
        network = fuse(self.network.train())
        with progress() as bar:
            task = bar.add_task("", total=total)
            for epoch in range(num_epochs):
                for noisy, target in batches(pairs, self.batch_size, 0, self._epochs):
                    self.optimizer.lr = next(rates)
                    value = self._step(network, noisy, target)
                    told = f"epoch {epoch + 1}/{num_epochs}  loss {value:.5f}"
                    bar.update(task, advance=1, description=told)
                self._epochs += 1

    def predict(self, test_input: Tensor) -> Tensor:
        """Denoise images.

        Args:
            test_input: (N, C, H, W), uint8 or floats, 0 to 255, of any height and width from 1 up:
                images are extended by reflection to what the network needs, and cropped again.

        Returns:
            float32, the same shape, 0 to 255, not rounded; on the CPU.

        Raises:
            UserError: the tensor is another.
        """
        test_input = checked_images("test_input", test_input, self._sizes["channels"])
        _warn_of_white_1(test_input)
        denoiser = Denoiser(self.network, self._info)
        clean = torch.empty(test_input.shape)
        with progress() as bar:
            for place, image in enumerate(bar.track(test_input.cpu(), description="predict")):
                noisy = (image.float() / 255).numpy()
                clean[place] = torch.from_numpy(self._denoised(denoiser, noisy))
        return clean.clamp_(0, 1).mul_(255)

    __call__ = predict

    def _denoised(self, denoiser: Denoiser, noisy: np.ndarray) -> np.ndarray:
        if not self.averaged:
            return denoiser.denoise_unit(noisy)
        total = np.zeros_like(noisy)
        for orientation in ORIENTATIONS:
            total += turned_back(denoiser.denoise_unit(turned(noisy, *orientation)), *orientation)
        return total / len(ORIENTATIONS)

    def _build(self, known: BestModel) -> None:
        self._sizes = networks.sizes_of(known.architecture, known.sizes)
        self._multiple = networks.ARCHITECTURES[known.architecture].multiple(self._sizes)
        self.network: Module = networks.build(known.architecture, **self._sizes)
        parameters = self.network.parameters()
        count = sum(value.numel() for value in parameters)
        self._info = ModelInfo("", known.architecture, self._sizes, "", "", count)
        self.loss = MSE()
        self.optimizer = Adam(parameters, self.learning_rate)
        self._epochs = 0

    def _crop(self, images: Tensor) -> int:
        """The side of the largest square that fits in the images and that the network takes."""
        height, width = images.shape[2:]
        least = -(-LEAST_SIDE // self._multiple) * self._multiple
        if min(height, width) < least:
            raise UserError(
                f"train_input: the images are {height} x {width}; this network learns from images "
                f"of at least {least} x {least}"
            )
        return min(height, width) // self._multiple * self._multiple

    def _step(self, network: Module, noisy: Tensor, target: Tensor) -> float:
        value = step(network, self.loss, self.optimizer, noisy, target)
        if not math.isfinite(value):
            raise DivergedError(
                f"the loss is {value}: training has diverged; make a new Model() or call "
                "load_pretrained_model(), and check that the pairs show the same scenes"
            )
        return value


def progress() -> Progress:
    """A bar with the time left, on standard error; only where somebody may be looking."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (console.is_terminal or console.is_jupyter),
    )


def turned(image: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """The image (C, H, W) in one of its ORIENTATIONS."""
    image = image[..., ::-1] if mirrored else image
    return np.ascontiguousarray(np.rot90(image, turns, axes=(1, 2)))


def turned_back(image: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """Undoes `turned`."""
    image = np.rot90(image, -turns, axes=(1, 2))
    return image[..., ::-1] if mirrored else image


def read_best(path: Path) -> BestModel:
    """Read a `bestmodel.pth`: a dict of plain tensors, texts and numbers, which can't run code.

    Raises:
        UserError: the file is missing, damaged, or of something else.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}; make it with: python -m ee559.export --help")
    content = load_torch(path, _REMEDY)
    try:
        best = BestModel(*(content[field] for field in BestModel._fields))  # type: ignore[index]
        shapes = {name: value.shape for name, value in best.weights.items()}
        check_fits(best.architecture, best.sizes, shapes)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path} is damaged or not a model of this project ({one_line(str(error))}); {_REMEDY}"
        ) from error
    return best


def checked_images(name: str, images: Tensor, channels: int) -> Tensor:
    """The images without autograd, if they are (N, channels, H, W), uint8 or floats, 0 to 255.

    Raises:
        UserError: names the argument and what it holds instead.
    """
    if not isinstance(images, Tensor):
        raise UserError(f"{name}: expected a tensor (N, C, H, W), got {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != channels:
        raise UserError(
            f"{name}: expected shape (N, {channels}, H, W), got {tuple(images.shape)}"
            + ("; a single image is x[None]" if images.ndim == 3 else "")
        )
    if images.shape[2] == 0 or images.shape[3] == 0:
        raise UserError(f"{name}: the images have no pixels, the shape is {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise UserError(
            f"{name}: expected uint8 or floats from 0 to 255, got {images.dtype}; "
            "convert it with .float()"
        )
    images = images.detach()
    if images.is_floating_point() and len(images):
        _check_values(name, images)
    return images


def _check_values(name: str, images: Tensor) -> None:
    bad = images.numel() - int(images.isfinite().sum())
    if bad:
        raise UserError(
            f"{name}: {bad} of {images.numel()} values are NaN or infinite; replace them"
        )
    lowest, highest = float(images.min()), float(images.max())
    if lowest < 0 or highest > 255:
        raise UserError(
            f"{name}: expected values from 0 to 255, got {lowest:g} to {highest:g}; "
            "scale them, or clamp what noise has moved out of the range"
        )


def _warn_of_white_1(images: Tensor) -> None:
    highest = float(images.max()) if images.is_floating_point() and images.numel() else 0.0
    if 0 < highest <= 1:
        warnings.warn(
            f"test_input: values up to {highest:g} are nearly black where white is 255; "
            "if white is 1, multiply them by 255",
            stacklevel=3,
        )


def _check_epochs(number: object) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise UserError(f"num_epochs must be a whole number of at least 0, got {number!r}")

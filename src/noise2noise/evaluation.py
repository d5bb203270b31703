"""Measuring denoisers, ours and classical ones, side by side on the same noisy images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, estimate_sigma

from noise2noise.corruptions import parse
from noise2noise.data import Track, matched
from noise2noise.denoiser import Denoiser, default_model
from noise2noise.errors import UserError
from noise2noise.images import list_images, read_image, to_unit
from noise2noise.metrics import psnr, ssim

Method = Callable[[np.ndarray], np.ndarray]
"""Maps a noisy float32 (C, H, W) to a clean one."""


@dataclass(frozen=True)
class TestSet:
    """Pairs of (noisy, clean) images, read one at a time.

    Attributes:
        pairs: one function a pair, which reads it: (noisy, clean), float32 (C, H, W).
        noise: one line on where the noise comes from.
    """

    __test__ = False  # no test case, whatever pytest thinks of the name

    pairs: list[Callable[[], tuple[np.ndarray, np.ndarray]]]
    noise: str

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (read() for read in self.pairs)

    def describe(self) -> str:
        """One line for people."""
        return self.noise


def corrupted(folder: Path, spec: str, seed: int) -> TestSet:
    """Clean images with noise added, the same noise for the same seed.

    Raises:
        UserError: the folder or the corruption can't be used.
    """
    noise = parse(spec)

    def reader(index: int, path: Path) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        def read() -> tuple[np.ndarray, np.ndarray]:
            image = to_unit(read_image(path))
            rng = np.random.default_rng((seed, index))
            return noise.draw(image, rng), noise.clean(image)

        return read

    readers = [reader(index, path) for index, path in enumerate(list_images(folder))]
    return TestSet(readers, f"noise {noise.spec} added with seed {seed}")


def recorded(clean: Path, noisy: Path) -> TestSet:
    """Two folders, matched by file name without its suffix.

    Raises:
        UserError: a file has no partner; or, when read, the sizes differ.
    """

    def reader(noisy_path: Path, clean_path: Path) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        def read() -> tuple[np.ndarray, np.ndarray]:
            first, second = to_unit(read_image(noisy_path)), to_unit(read_image(clean_path))
            if first.shape != second.shape:
                raise UserError(
                    f"{noisy_path} is {_size(first)} and {clean_path} {_size(second)}; "
                    "a pair must have one size"
                )
            return first, second

        return read

    return TestSet(
        [reader(*paths) for paths in matched(noisy, clean)], f"recorded noise in {noisy}"
    )


def non_local_means(noisy: np.ndarray) -> np.ndarray:
    """scikit-image's non-local means (Buades et al. 2005), with the settings its documentation
    recommends: the noise estimated from the image, patches of 5, a search radius of 6, h = 0.8
    sigma.
    """
    image = noisy.transpose(1, 2, 0)
    sigma = float(np.mean(estimate_sigma(image, channel_axis=-1)))
    clean = denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, channel_axis=-1
    )
    return clean.transpose(2, 0, 1)


def total_variation(noisy: np.ndarray) -> np.ndarray:
    """scikit-image's total variation (Chambolle 2004), weighted by the noise it estimates."""
    image = noisy.transpose(1, 2, 0)
    sigma = float(np.mean(estimate_sigma(image, channel_axis=-1)))
    return denoise_tv_chambolle(image, weight=sigma, channel_axis=-1).transpose(2, 0, 1)


METHODS: dict[str, Method] = {
    "non-local-means": non_local_means,
    "total-variation": total_variation,
}
"""Classical methods to compare with."""


def evaluate_all(
    images: TestSet, models: list[str], against: list[str], track: Track
) -> list[dict[str, object]]:
    """Mean PSNR, SSIM and seconds of each method: the noisy images, the models, the classical ones.

    Arguments:
        images: what to measure on.
        models: names or paths; none means the shipped model that suits each image.
        against: keys of METHODS.
        track: shows the progress.

    Raises:
        UserError: a model or method is unknown, or an image can't be used.
    """
    methods: dict[str, Method] = {"noisy": lambda noisy: noisy}
    for name in models:
        methods[name] = Denoiser.load(name).denoise_unit
    if not models:
        methods["shipped model"] = _shipped()
    for name in against:
        if name not in METHODS:
            raise UserError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
        methods[name] = METHODS[name]
    scores: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
    for noisy, clean in track(images, "Evaluating", len(images)):
        for name, method in methods.items():
            scores[name].append(_score(method, noisy, clean, rounded=name != "noisy"))
    return [_mean(name, values) for name, values in scores.items()]


def _shipped() -> Method:
    loaded: dict[str, Denoiser] = {}

    def denoise(noisy: np.ndarray) -> np.ndarray:
        name = default_model(len(noisy))
        if name not in loaded:
            loaded[name] = Denoiser.load(name)
        return loaded[name].denoise_unit(noisy)

    return denoise


def _score(
    method: Method, noisy: np.ndarray, clean: np.ndarray, rounded: bool
) -> tuple[float, float, float]:
    started = time.perf_counter()
    result = method(noisy)
    seconds = time.perf_counter() - started
    if rounded:
        result = np.rint(np.clip(result, 0, 1) * 255) / 255
    return psnr(result, clean), ssim(result, clean), seconds


def _mean(name: str, values: list[tuple[float, float, float]]) -> dict[str, object]:
    mean_psnr, mean_ssim, seconds = np.mean(values, axis=0).tolist()
    return {"method": name, "psnr": mean_psnr, "ssim": mean_ssim, "seconds": seconds}


def _size(image: np.ndarray) -> str:
    return f"{image.shape[2]} x {image.shape[1]} with {image.shape[0]} channels"

"""Measuring denoisers, ours and classical ones, side by side on the same noisy images."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from noise2noise.data import Track, matched
from noise2noise.denoiser import Denoiser, default_model
from noise2noise.errors import UserError, naming
from noise2noise.files import list_images, read_image, to_unit
from noise2noise.metrics import SSIM_WINDOW, psnr, ssim
from noise2noise.noise.corruptions import parse

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
            image = read_unit(path, least=noise.scale * SSIM_WINDOW)
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
            first, second = (read_unit(path, SSIM_WINDOW) for path in (noisy_path, clean_path))
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


def read_unit(path: Path, least: int = 1) -> np.ndarray:
    """The image at `path` as `to_unit` has it: float32 (C, H, W).

    Raises:
        UserError: it can't be read, its floats are out of range, or a side is below `least` pixels.
    """
    image = read_image(path)
    with naming(path):
        unit = to_unit(image)
    _, height, width = unit.shape
    if min(height, width) < least:
        raise UserError(
            f"{path} is {width} x {height}; at least {least} x {least} pixels are needed"
        )
    return unit


# The high-pass filter of Daubechies' wavelet with two vanishing moments.
_WAVELET = np.array([1 - 3**0.5, 3**0.5 - 3, 3 + 3**0.5, -1 - 3**0.5]) / 2**2.5


def noise_level(image: np.ndarray) -> float:
    """Standard deviation of the noise, estimated from the finest diagonal wavelet coefficients d:
    `median(|d|) / 0.6745` (Donoho and Johnstone 1994), zeros left out, the mean over channels.

    The same as `skimage.restoration.estimate_sigma` but for coefficients at the edge; that one
    needs a package that scikit-image doesn't bring along.

    Arguments:
        image: (C, H, W), H and W at least 4.
    """
    windows = np.lib.stride_tricks.sliding_window_view(image, (4, 4), (1, 2))[:, ::2, ::2]
    details = np.abs(np.einsum("chwij,i,j->chw", windows, _WAVELET, _WAVELET))
    medians = [np.median(d[d > 0]) if d.any() else 0.0 for d in details]
    return float(np.mean(medians)) / 0.6745


def non_local_means(noisy: np.ndarray) -> np.ndarray:
    """scikit-image's non-local means (Buades et al. 2005), with the settings of its documentation's
    example for the fast algorithm with known noise: patches of 5, a search radius of 6, h = 0.6
    sigma; sigma is estimated from the image.
    """
    sigma = noise_level(noisy)
    if sigma == 0:
        return noisy
    clean = denoise_nl_means(
        noisy.transpose(1, 2, 0),
        patch_size=5,
        patch_distance=6,
        h=0.6 * sigma,
        sigma=sigma,
        channel_axis=-1,
    )
    return np.atleast_3d(clean).transpose(2, 0, 1)


def total_variation(noisy: np.ndarray) -> np.ndarray:
    """scikit-image's total variation (Chambolle 2004), weighted by the noise it estimates."""
    sigma = noise_level(noisy)
    if sigma == 0:
        return noisy
    clean = denoise_tv_chambolle(noisy.transpose(1, 2, 0), weight=sigma, channel_axis=-1)
    return clean.transpose(2, 0, 1)


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
    methods: list[tuple[str, Method]] = [
        (name, Denoiser.load(name).denoise_unit) for name in models
    ] or [("shipped model", _shipped())]
    for name in against:
        if name not in METHODS:
            raise UserError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
        methods.append((name, METHODS[name]))
    unchanged: list[tuple[float, float, float]] = []
    scores: list[list[tuple[float, float, float]]] = [[] for _ in methods]
    for noisy, clean in track(images, "Evaluating", len(images)):
        unchanged.append((psnr(noisy, clean), ssim(noisy, clean), 0.0))
        for (_, method), values in zip(methods, scores, strict=True):
            values.append(_score(method, noisy, clean))
    rows = zip(("noisy", *(name for name, _ in methods)), (unchanged, *scores), strict=True)
    return [_mean(name, values) for name, values in rows]


def _shipped() -> Method:
    load = functools.cache(Denoiser.load)
    return lambda noisy: load(default_model(noisy.transpose(1, 2, 0))).denoise_unit(noisy)


def _score(method: Method, noisy: np.ndarray, clean: np.ndarray) -> tuple[float, float, float]:
    started = time.perf_counter()
    result = method(noisy)
    seconds = time.perf_counter() - started
    result = np.rint(np.clip(result, 0, 1) * 255) / 255
    return psnr(result, clean), ssim(result, clean), seconds


def _mean(name: str, values: list[tuple[float, float, float]]) -> dict[str, object]:
    mean_psnr, mean_ssim, seconds = np.mean(values, axis=0).tolist()
    return {"method": name, "psnr": mean_psnr, "ssim": mean_ssim, "seconds": seconds}


def _size(image: np.ndarray) -> str:
    return f"{image.shape[2]} x {image.shape[1]} with {image.shape[0]} channels"

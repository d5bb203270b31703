"""Classical denoisers, to compare with: by scikit-image, and BM3D where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

from noise2noise.errors import UserError
from noise2noise.noise import NoiseProfile, estimate

Method = Callable[[np.ndarray, NoiseProfile | None], np.ndarray]
"""Maps a noisy float32 (C, H, W) to a clean one; the second argument is its noise where a method is
told it, and None where the method has to find out."""

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


def non_local_means(noisy: np.ndarray, noise: NoiseProfile | None = None) -> np.ndarray:
    """scikit-image's non-local means (Buades et al. 2005), with the settings of its documentation's
    example for the fast algorithm with known noise: patches of 5, a search radius of 6, h = 0.6
    sigma; sigma is estimated from the image where it isn't given.
    """
    sigma = _sigma(noisy, noise)
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


def total_variation(noisy: np.ndarray, noise: NoiseProfile | None = None) -> np.ndarray:
    """scikit-image's total variation (Chambolle 2004), weighted by the noise given or estimated."""
    sigma = _sigma(noisy, noise)
    if sigma == 0:
        return noisy
    clean = denoise_tv_chambolle(noisy.transpose(1, 2, 0), weight=sigma, channel_axis=-1)
    return clean.transpose(2, 0, 1)


def wavelets(noisy: np.ndarray, noise: NoiseProfile | None = None) -> np.ndarray:
    """scikit-image's BayesShrink (Chang, Yu and Vetterli 2000) with the noise given or estimated.

    Raises:
        UserError: PyWavelets isn't installed.
    """
    check_installed("wavelets")
    sigma = _sigma(noisy, noise)
    if sigma == 0:
        return noisy
    clean = denoise_wavelet(
        noisy.transpose(1, 2, 0), sigma=sigma, channel_axis=-1, rescale_sigma=False
    )
    return np.atleast_3d(clean).transpose(2, 0, 1)


def bm3d(noisy: np.ndarray, noise: NoiseProfile | None = None) -> np.ndarray:
    """BM3D (Dabov et al. 2007) by the package of its authors, which may be used for research only
    and is not installed with this one; a stabilized variance where the noise depends on brightness.

    The noise is given or estimated. Colours are treated as CBM3D does, in a luminance-chrominance
    space. Noise of variance `shot x + read^2` is stabilized first by the generalized Anscombe
    transformation and its result taken back by the exact unbiased inverse (Mäkitalo and Foi 2013),
    in the closed form of their eq. 10.

    Raises:
        UserError: the package bm3d isn't installed.
    """
    check_installed("bm3d")
    import bm3d as package  # pyright: ignore[reportMissingImports]

    noise = noise or estimate(noisy)
    if not any(noise.shot):
        sigma = _sigma(noisy, noise)
        if sigma == 0:
            return noisy
        run = package.bm3d if len(noisy) == 1 else package.bm3d_rgb
        clean = np.asarray(run(noisy.transpose(1, 2, 0).squeeze(), sigma))
        return np.atleast_3d(clean).transpose(2, 0, 1)
    channels = zip(noisy, noise.shot, noise.read, strict=True)
    return np.stack([_stabilized(plane, noise.black, *line) for plane, *line in channels])


def _stabilized(plane: np.ndarray, black: float, shot: float, read: float) -> np.ndarray:
    """BM3D between the generalized Anscombe transformation and its inverse."""
    import bm3d as package  # pyright: ignore[reportMissingImports]

    if shot == 0:
        return np.asarray(package.bm3d(plane, read)) if read else plane
    counts, sigma = (plane - black) / shot, read / shot
    stable = 2 * np.sqrt(np.maximum(counts + 3 / 8 + sigma**2, 0))
    top = max(float(stable.max()), 1e-6)
    d = np.maximum(np.asarray(package.bm3d(stable / top, 1 / top)) * top, 1e-3)
    inverse = d**2 / 4 + (1.5**0.5) / (4 * d) - 11 / (8 * d**2) + 5 * 1.5**0.5 / (8 * d**3)
    return ((inverse - 1 / 8 - sigma**2) * shot + black).astype(np.float32)


def _sigma(noisy: np.ndarray, noise: NoiseProfile | None) -> float:
    """One standard deviation for the whole image, the root of the mean variance; 0 for what the
    rounding of flat areas leaves."""
    if noise is None:
        sigma = noise_level(noisy)
    else:
        sigma = float(np.sqrt(np.mean(np.square(noise.sigma(noisy), dtype=np.float64))))
    return sigma if sigma > np.finfo(np.float32).eps else 0.0


_NEEDS = {"wavelets": ("pywt", "PyWavelets"), "bm3d": ("bm3d", "bm3d")}
"""Modules that some methods need, and the packages that bring them."""


def check_installed(method: str) -> None:
    """Refuse a method whose package isn't installed.

    Raises:
        UserError: it needs one that isn't; says how to install it.
    """
    if method not in _NEEDS:
        return
    module, package = _NEEDS[method]
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{method} needs a package that isn't installed: pip install {package}")


METHODS: dict[str, Method] = {
    "non-local-means": non_local_means,
    "total-variation": total_variation,
    "wavelets": wavelets,
    "bm3d": bm3d,
}
"""Classical methods to compare with."""

"""How close an image is to its reference: PSNR in its two averages, after a fit, and SSIM.

Images are `(C, H, W)`, numpy arrays or tensors of any real dtype; the computation is in float64.
`peak` is the largest value a pixel can have: 1 for images in [0, 1], 255 for 8-bit ones.

"PSNR over a data set" can mean two things, which differ by tenths of a dB:

- `mean_psnr` averages the PSNRs of the images. The EE-559 reports' validation figures (23.42 to
  25.32 dB) come out with it from their published weights, images in [0, 1]; benchmark tables use
  it as well.
- `psnr_of_mean_error` averages the squared errors, then takes one PSNR. It is what a training loss
  in dB shows. It is never above `mean_psnr` for images of one size (the logarithm is concave), and
  the images with the largest errors dominate it.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from skimage.metrics import structural_similarity

Array = npt.NDArray[np.generic] | torch.Tensor

SSIM_WINDOW = 7
"""Side in pixels of the window that `ssim` compares; images must be at least this large."""


def psnr(prediction: Array, target: Array, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio of one image, `10 log10(peak^2 / MSE)`, in dB.

    MSE is `mean((prediction - target)^2)` over all channels and pixels.

    Arguments:
        prediction, target: `(C, H, W)`.
        peak: the largest value a pixel can have.

    Returns:
        dB; infinity for identical images.

    Raises:
        ValueError: the shapes differ or are not `(C, H, W)`, a value is not finite, or `peak` is
            not positive.
    """
    a, b = _checked(prediction, target)
    return _decibels(float(np.mean((a - b) ** 2)), peak)


def mean_psnr(
    predictions: Array | Iterable[Array], targets: Array | Iterable[Array], peak: float = 1.0
) -> float:
    """The mean over images of each image's `psnr`, in dB: the convention of the reports.

    Arguments:
        predictions, targets: `(N, C, H, W)`, or N images `(C, H, W)` that may differ in size.
        peak: the largest value a pixel can have.

    Raises:
        ValueError: as `psnr`, or there are no images, or not as many predictions as targets.
    """
    pairs = _pairs(predictions, targets)
    return math.fsum(psnr(p, t, peak) for p, t in pairs) / len(pairs)


def psnr_of_mean_error(
    predictions: Array | Iterable[Array], targets: Array | Iterable[Array], peak: float = 1.0
) -> float:
    """The PSNR of the squared error averaged over the pixels of all images, in dB.

    Arguments and errors as `mean_psnr`.
    """
    pairs = [_checked(p, t) for p, t in _pairs(predictions, targets)]
    total = math.fsum(float(np.sum((p - t) ** 2)) for p, t in pairs)
    return _decibels(total / sum(t.size for _, t in pairs), peak)


def scale_invariant_psnr(prediction: Array, target: Array, peak: float = 1.0) -> float:
    """The `psnr` of `a * prediction + b`, with the a and b for which it is highest, in dB.

    For images whose brightness means nothing, as under a microscope, where the noisy and the clean
    ones were scaled apart: a and b are those of least squares, over all channels together. A
    constant prediction is replaced by the target's mean.

    Arguments and errors as `psnr`.
    """
    x, y = _checked(prediction, target)
    centred = x - x.mean()
    power = float((centred**2).sum())
    slope = float((centred * (y - y.mean())).sum()) / power if power else 0.0
    return _decibels(float(np.mean((slope * centred + y.mean() - y) ** 2)), peak)


def ssim(prediction: Array, target: Array, peak: float = 1.0) -> float:
    """Structural similarity of one image (Wang et al. 2004), 1 for identical images.

    Computed by `skimage.metrics.structural_similarity` with its default uniform 7 x 7 window; the
    mean runs over channels.

    Arguments:
        prediction, target: `(C, H, W)`, H and W at least 7.
        peak: the largest value a pixel can have.

    Raises:
        ValueError: as `psnr`, or the image is smaller than the window.
    """
    a, b = _checked(prediction, target)
    _check_peak(peak)
    height, width = a.shape[1:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(
            f"SSIM compares windows of {SSIM_WINDOW} x {SSIM_WINDOW} pixels, and this image has "
            f"only {height} x {width}; use PSNR or a larger image"
        )
    value: Any = structural_similarity(a, b, win_size=SSIM_WINDOW, data_range=peak, channel_axis=0)
    return float(value)


def _decibels(mean_squared_error: float, peak: float) -> float:
    _check_peak(peak)
    if mean_squared_error == 0:
        return math.inf
    # A difference of logarithms can't overflow where the ratio could.
    return 20 * math.log10(peak) - 10 * math.log10(mean_squared_error)


def _check_peak(peak: float) -> None:
    if not (peak > 0 and math.isfinite(peak)):
        raise ValueError(f"peak must be a positive number such as 1 or 255, got {peak}")


def _pairs(
    predictions: Array | Iterable[Array], targets: Array | Iterable[Array]
) -> list[tuple[Array, Array]]:
    predictions, targets = list(predictions), list(targets)
    if len(predictions) != len(targets):
        raise ValueError(
            f"expected as many predictions as targets, got {len(predictions)} predictions "
            f"and {len(targets)} targets"
        )
    if not targets:
        raise ValueError("the PSNR of no images is undefined; give at least one image")
    return list(zip(predictions, targets, strict=True))


def _checked(prediction: Array, target: Array) -> tuple[np.ndarray, np.ndarray]:
    a, b = _as_float64(prediction), _as_float64(target)
    if a.shape != b.shape:
        raise ValueError(f"expected a prediction of the target's shape {b.shape}, got {a.shape}")
    if a.ndim != 3 or a.size == 0:
        raise ValueError(f"expected a non-empty image of shape (C, H, W), got {a.shape}")
    for name, image in (("prediction", a), ("target", b)):
        bad = np.count_nonzero(~np.isfinite(image))
        if bad:
            raise ValueError(f"the {name} has {bad} NaN or infinite values out of {image.size}")
    return a, b


def _as_float64(image: Array) -> np.ndarray:
    if isinstance(image, torch.Tensor):
        return image.detach().cpu().double().numpy()
    return np.asarray(image, dtype=np.float64)

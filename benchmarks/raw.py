"""Prints what denoising a raw file before demosaicing gains over denoising after it.

    python -m benchmarks.raw

Photographs become mosaics as a sensor sees them, with its noise, and DNG files. Each is denoised
both ways, developed by LibRaw, and compared with the same mosaic without noise: PSNR in dB of the
sRGB values.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import rawpy
import skimage.data
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.files import open_stack
from noise2noise.files.colour import srgb_curve
from noise2noise.metrics import psnr
from tests.noise2noise.files.made import write_dng

SHOTS = (0.0005, 0.002, 0.008)
"""Shot noise: variance over value, of raw values from 0 to 1; about ISO 400, 1600 and 6400."""

BALANCE = np.array([2, 1, 5 / 3])
"""White balance of the files that `write_dng` writes."""

BLACK, WHITE = 512, 16383


def main() -> None:
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    print("shot noise | noisy | after demosaicing | before demosaicing")
    with tempfile.TemporaryDirectory() as folder:
        for shot in SHOTS:
            rows = [compared(photo, shot, Path(folder)) for photo in photographs]
            noisy, after, before = np.mean(rows, 0)
            print(f"{shot:g} | {noisy:.2f} | {after:.2f} | {before:.2f}", flush=True)


def compared(photo: np.ndarray, shot: float, folder: Path) -> tuple[float, float, float]:
    """PSNR without denoising, with it after demosaicing, and before."""
    light = mosaic_of(photo)
    clean, noisy = folder / "clean.dng", folder / "noisy.dng"
    rng = np.random.default_rng(0)
    spread = np.sqrt(shot * light + 0.3 * shot**2)
    write_dng(clean, stored(light), BLACK, WHITE)
    write_dng(noisy, stored(light + rng.normal(0, 1, light.shape) * spread), BLACK, WHITE)
    expected = srgb_curve(developed(clean))
    linear = developed(noisy)
    after = srgb_curve(Denoiser.load("photo").denoise(linear).clip(0, 1))
    with open_stack(noisy) as stack:
        Denoiser.load("grey").denoise_stack(stack, folder / "before.tif", overwrite=True)
    before = tifffile.imread(folder / "before.tif") / 65535
    results = srgb_curve(linear), after, before
    noise_free = expected.transpose(2, 0, 1)
    first, second, third = (psnr(each.transpose(2, 0, 1), noise_free) for each in results)
    return first, second, third


def mosaic_of(photo: np.ndarray) -> np.ndarray:
    """What the sensor catches of an sRGB photograph: red, green / green, blue."""
    srgb = photo[: len(photo) // 2 * 2, : photo.shape[1] // 2 * 2] / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    light = linear / BALANCE
    mosaic = light[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = light[::2, ::2, 0], light[1::2, 1::2, 2]
    return mosaic


def stored(light: np.ndarray) -> np.ndarray:
    return np.rint(BLACK + light * (WHITE - BLACK)).clip(0, WHITE).astype(np.uint16)


def developed(path: Path) -> np.ndarray:
    """(H, W, 3) of light, 0 to 1."""
    with rawpy.imread(str(path)) as raw:
        pixels = raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            user_flip=0,
            output_bps=16,
            gamma=(1, 1),
        )
    return (pixels / 65535).astype(np.float32)


if __name__ == "__main__":
    main()

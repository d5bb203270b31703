"""Noise as it is in the files of phones and cameras: coloured, smoothed and compressed.

`camera:0.0001-0.012,80-98`
    The image, which is taken for a finished sRGB photograph, is brought back to what the sensor
    would have seen, gets the sensor's noise there, and goes through the camera to a JPEG. The first
    number is the shot noise of the raw values (variance over value; 0.0001 about ISO 100, 0.012
    about ISO 6400), the second JPEG's quality; both may be ranges. All else is drawn anew each
    time, and `camera` alone stands for the example.

The steps, each with its source:

1. The sRGB curve (IEC 61966-2-1) is undone, then colour correction and white balance. The gains for
   red and blue are uniform in 1.9..2.4 and 1.5..1.9: T. Brooks et al., "Unprocessing Images for
   Learned Raw Denoising", CVPR 2019, which is the model of the whole. Colour correction is a matrix
   that strengthens the differences between the channels by 1.2 to 1.6 and keeps white, in the place
   of the paper's matrices of four cameras; like them it strengthens the noise in the colours.
2. A Bayer mosaic (one colour for each pixel), beginning at any of its four pixels.
3. Noise of variance `shot * x + read`, the logarithm of `read` normal about `2.18 log(shot) + 1.2`
   with the deviation 0.26 (Brooks et al., fitted to the Darmstadt Noise Dataset).
4. Demosaicing with the linear filters of H. Malvar, L. He and R. Cutler, "High-quality linear
   interpolation for demosaicing of Bayer-patterned color images", ICASSP 2004.
5. White balance, clipping, colour correction, clipping, the sRGB curve.
6. Smoothing: colours by a Gaussian of up to 1.5 pixels; brightness towards the mean of its 3 x 3
   neighbours, by up to all of the way, and less where it differs more than noise does, in the
   manner of J.-S. Lee, "Digital image smoothing and the sigma filter", Computer Vision, Graphics
   and Image Processing 24, 1983.
7. Eight bits and JPEG, with the colours at half the resolution (4:2:0), its blocks beginning at
   any pixel.

Not unbiased. Clipping lifts black and lowers white, the curve of sRGB, which bends, lowers the
dark tones between; smoothing and demosaicing take the finest details with them. Mean over draws of
a flat grey area minus its value, in 8-bit units, behind it the noise's standard deviation:

| shot noise | black 0    | 0.1        | 0.3        | 0.5        | 0.8        | white 1    |
|------------|------------|------------|------------|------------|------------|------------|
| 0.0001     | 0.0 (0.0)  | -0.2 (1.6) | -0.1 (1.3) | -0.1 (1.2) | 0.0 (1.1)  | -0.5 (0.7) |
| 0.001      | 2.4 (2.0)  | -1.3 (5.7) | -0.4 (4.5) | -0.2 (4.0) | -0.1 (3.8) | -2.2 (1.8) |
| 0.004      | 8.1 (6.5)  | -2.3 (10)  | -2.1 (10)  | -0.9 (8.3) | -0.5 (7.5) | -4.5 (3.9) |
| 0.012      | 16.8 (13)  | 0.7 (16)   | -6.1 (19)  | -3.6 (17)  | -1.6 (14)  | -8.2 (7.5) |

Two images of a pair are two shots of one camera: its settings are drawn once for both, and what
it does to the picture besides the noise is no noise to learn from. So a network learns to leave
sharpness and compression alone.

Grey images pass as colour ones and leave as their brightness; other numbers of channels are
refused.
"""

from __future__ import annotations

import functools
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from noise2noise.noise.family import Builder, Corruption, Scene, span, span_text
from noise2noise.noise.film import convolved, gaussian_weights
from noise2noise.noise.sensor import uniform_in_logarithm

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MOST_COLOUR_BLUR = 1.5  # pixels


def _build_camera(numbers: str) -> Corruption:
    texts = numbers.split(",")
    if len(texts) != 2:
        raise ValueError(f"expected SHOT,QUALITY, got {numbers!r}")
    shot = span(texts[0], "shot noise", above=0, below=1)
    quality = span(texts[1], "JPEG's quality", at_least=1, below=101)
    spec = f"camera:{span_text(*shot)},{span_text(*quality)}"
    scene = functools.partial(_Scene.drawn, shot=shot, quality=quality)
    draw = functools.partial(_one_shot, scene=scene)
    return Corruption(spec, unbiased=False, _draw=draw, _scene=scene)


def _one_shot(clean: np.ndarray, rng: np.random.Generator, scene: Scene) -> np.ndarray:
    return scene(clean, rng)(rng)


@dataclass(frozen=True)
class _Scene:
    """What a camera sees, and how it is set: what all its shots share. Called, it takes one.

    Attributes:
        mosaic: the raw values without noise, (H, W).
        grey: whether shots are brightness only.
        first: where in the mosaic's pattern the image begins, row and column.
        shot, read: the noise's variance at a raw value x is `shot * x + read`.
        gains: of the white balance, (3, 1, 1).
        correction: the colour correction, (3, 3).
        smoothing, colour_blur: see `_smoothed`.
        quality: of the JPEG.
        corner: where in JPEG's blocks the image begins, row and column.
    """

    mosaic: np.ndarray
    grey: bool
    first: tuple[int, int]
    shot: float
    read: float
    gains: np.ndarray
    correction: np.ndarray
    smoothing: float
    colour_blur: float
    quality: int
    corner: tuple[int, int]

    @classmethod
    def drawn(
        cls,
        clean: np.ndarray,
        rng: np.random.Generator,
        shot: tuple[float, float],
        quality: tuple[float, float],
    ) -> _Scene:
        if len(clean) not in (1, 3):
            raise ValueError(f"camera needs grey or colour images, got {len(clean)} channels")
        srgb = np.broadcast_to(clean, (3, *clean.shape[1:])).clip(0, 1)
        correction = _colour_correction(rng.uniform(1.2, 1.6))
        gains = np.array([rng.uniform(1.9, 2.4), 1, rng.uniform(1.5, 1.9)], np.float32)
        gains = gains[:, None, None]
        linear = _mixed(np.linalg.inv(correction).astype(np.float32), _decoded(srgb))
        first = _place(2, rng)
        slope = uniform_in_logarithm(*shot, rng)
        return cls(
            mosaic=_mosaic(np.maximum(linear, 0) / gains, first),
            grey=len(clean) == 1,
            first=first,
            shot=slope,
            read=math.exp(rng.normal(2.18 * math.log(slope) + 1.2, 0.26)),
            gains=gains,
            correction=correction,
            smoothing=rng.uniform(0, 1),
            colour_blur=rng.uniform(0, _MOST_COLOUR_BLUR),
            quality=round(rng.uniform(*quality)),
            corner=_place(16, rng),  # with 4:2:0, blocks of colour have 16 pixels
        )

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        spread = np.sqrt(np.float32(self.shot) * self.mosaic + np.float32(self.read))
        raw = self.mosaic + spread * rng.standard_normal(self.mosaic.shape, dtype=np.float32)
        balanced = (_demosaiced(raw, self.first) * self.gains).clip(0, 1)
        finished = _encoded(_mixed(self.correction, balanced).clip(0, 1))
        smoothed = _smoothed(finished, self.smoothing, self.colour_blur)
        compressed = _compressed(smoothed, self.quality, self.corner)
        return np.tensordot(_LUMA, compressed, 1)[None] if self.grey else compressed


def _place(period: int, rng: np.random.Generator) -> tuple[int, int]:
    row, column = rng.integers(0, period, 2).tolist()
    return row, column


def _decoded(srgb: np.ndarray) -> np.ndarray:
    """sRGB's curve undone: proportional to the light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _encoded(linear: np.ndarray) -> np.ndarray:
    bright = 1.055 * np.maximum(linear, 0.0031308) ** np.float32(1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bright)


def _colour_correction(strength: float) -> np.ndarray:
    """Differences from the mean of the channels times `strength`; white stays."""
    mean = np.full((3, 3), 1 / 3)
    return (strength * (np.eye(3) - mean) + mean).astype(np.float32)


def _mixed(matrix: np.ndarray, image: np.ndarray) -> np.ndarray:
    return np.tensordot(matrix, image, 1)


# The mosaic's rows begin red, green, red, ... and green, blue, green, ...; `first` says how many
# rows and columns of that were left out.


def _offset(row: int, column: int, first: tuple[int, ...]) -> tuple[slice, slice]:
    """Where the pixels lie that are at this row and column of their 2 x 2 of the pattern."""
    return slice((row - first[0]) % 2, None, 2), slice((column - first[1]) % 2, None, 2)


_PATTERN = {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}  # row and column: channel


def _mosaic(image: np.ndarray, first: tuple[int, ...]) -> np.ndarray:
    mosaic = np.empty(image.shape[1:], np.float32)
    for (row, column), channel in _PATTERN.items():
        where = _offset(row, column, first)
        mosaic[where] = image[channel][where]
    return mosaic


def _demosaiced(mosaic: np.ndarray, first: tuple[int, ...]) -> np.ndarray:
    """Malvar, He and Cutler: bilinear interpolation, mended by the second derivative of the colour
    that was measured. Reflecting the border keeps the pattern."""
    height, width = mosaic.shape
    padded = np.pad(mosaic, 2, "reflect" if min(mosaic.shape) > 2 else "symmetric")

    def at(y: int, x: int) -> np.ndarray:
        return padded[2 + y : 2 + y + height, 2 + x : 2 + x + width]

    beside, above = at(0, -1) + at(0, 1), at(-1, 0) + at(1, 0)
    far_beside, far_above = at(0, -2) + at(0, 2), at(-2, 0) + at(2, 0)
    diagonal = at(-1, -1) + at(-1, 1) + at(1, -1) + at(1, 1)
    far = far_beside + far_above
    green = (4 * mosaic + 2 * (beside + above) - far) / 8
    along_row = (5 * mosaic + 4 * beside - diagonal - far_beside + far_above / 2) / 8
    along_column = (5 * mosaic + 4 * above - diagonal - far_above + far_beside / 2) / 8
    across = (6 * mosaic + 2 * diagonal - 1.5 * far) / 8
    image = np.empty((3, height, width), np.float32)
    for (row, column), measured in _PATTERN.items():
        where = _offset(row, column, first)
        image[measured][where] = mosaic[where]
        if measured == 1:
            red_row = row == 0
            image[0][where] = (along_row if red_row else along_column)[where]
            image[2][where] = (along_column if red_row else along_row)[where]
        else:
            image[1][where] = green[where]
            image[2 - measured][where] = across[where]
    return image


def _smoothed(image: np.ndarray, strength: float, colour_blur: float) -> np.ndarray:
    luma = np.tensordot(_LUMA, image, 1)
    colours = image - luma
    difference = _blurred(luma, np.full(3, 1 / 3, np.float32)) - luma
    noise = np.median(np.abs(difference)) / 0.67 + 1e-6
    pull = strength * np.exp(-0.5 * (difference / (2 * noise)) ** 2)
    weights = gaussian_weights(colour_blur)
    return luma + pull * difference + np.stack([_blurred(each, weights) for each in colours])


def _blurred(plane: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return convolved(np.pad(plane, len(weights) // 2, "symmetric"), weights)


def _compressed(image: np.ndarray, quality: int, corner: tuple[int, int]) -> np.ndarray:
    top, left = corner
    padded = np.pad(image.transpose(1, 2, 0), [(top, 0), (left, 0), (0, 0)], "symmetric")
    stored = Image.fromarray(np.rint(padded * 255).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    values = np.asarray(Image.open(buffer))[top:, left:].transpose(2, 0, 1)
    return values.astype(np.float32) / 255


BUILDERS: dict[str, Builder] = {
    "camera": _build_camera,
}

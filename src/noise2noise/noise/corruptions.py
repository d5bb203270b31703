"""Noise models that make pairs of noisy images out of clean ones.

A corruption is named by a short text, `name:numbers`. `x` is the clean value of a pixel in [0, 1]:

`gaussian:25`
    `x + n`, `n ~ N(0, (25/255)^2)` for each value: additive white Gaussian noise, its standard
    deviation in 8-bit units. Never clipped, so the noise keeps mean zero in black and white areas.
`gaussian:0-50`
    The same with the standard deviation uniform in the range, drawn anew for every draw: for
    networks that must do without knowing the noise level ("blind").
`poisson:30`
    `Poisson(30 x) / 30` for each value: photon counting with 30 photons at full white; variance
    `x / 30`.
`poisson-gaussian:30,5`
    `Poisson(30 x) / 30 + n`, `n ~ N(0, (5/255)^2)`: photon counting and the sensor's read noise;
    variance `x / 30 + (5/255)^2`.
`bernoulli:0.5`
    `x m / (1 - p)`, `m ~ Bernoulli(1 - p)` for each pixel, the same for all its channels: a pixel
    is lost with probability p. Dividing the survivors by `1 - p` makes the mean over draws the
    clean image; the paper instead leaves lost pixels out of the loss.
`impulse:0.5`
    With probability p a pixel becomes a random colour, uniform in [0, 1] for each channel. Not
    unbiased: the mean over draws is `(1 - p) x + p / 2`, so a squared error learns washed-out
    colours. While p is small the median still is near the clean value; its mode is always.
`text:0.25`
    Random strings at random places, in random sizes and plain random colours, until about that
    fraction of the pixels is covered. Not unbiased; below one half, the median over draws is the
    clean image, which is what an L1 loss learns.
`subpixel:6`
    Each pixel of the result is one pixel, drawn at random, out of its own 6 x 6 block of the clean
    image, all channels from the same place. The result is 6 times smaller in each direction and its
    mean over draws is the block average: Monte Carlo rendering with one sample a pixel. This is how
    the EE-559 data set was made.

`sensor:0.01,5,10`  `banding:5,2`
    What sensors do: shot and read noise above a black level, and lines that are brighter or darker
    than the others; `noise2noise.noise.sensor`.
`camera:0.0001-0.012,80-98`
    What a camera makes of it on the way to a JPEG; `noise2noise.noise.camera`.
`micro:scmos,20-500,2`  `micro:emccd,5-100,1`
    Micrographs of few photons; `noise2noise.noise.micro`.
`grain:12,1`
    Film grain; `noise2noise.noise.film`.

Gaussian, Poisson, Bernoulli, impulse and text corruption and Monte Carlo noise are experiments of
J. Lehtinen et al., "Noise2Noise: Learning Image Restoration without Clean Data", ICML 2018,
https://arxiv.org/abs/1803.04189. Poisson-Gaussian noise is the sensor model of A. Foi et al.,
"Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data", IEEE
Transactions on Image Processing 17, 2008.
"""

import difflib
import functools
import string

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from noise2noise.catalogue import CORRUPTIONS
from noise2noise.errors import UserError
from noise2noise.noise import camera, film, micro, sensor
from noise2noise.noise.family import (
    Builder,
    Corruption,
    blocks,
    number,
    number_text,
    span,
    span_text,
)
from noise2noise.noise.profile import NoiseProfile


def parse(spec: str) -> Corruption:
    """The corruption that a text such as `gaussian:25` names.

    Raises:
        UserError: there is no corruption of that name, or its numbers are missing, malformed or out
            of range; the sentence shows how to write it.
    """
    name, colon, numbers = spec.strip().lower().partition(":")
    if name not in _BUILDERS:
        raise UserError(_unknown(spec, name))
    text = CORRUPTIONS[name]
    try:
        return _BUILDERS[name](numbers if colon else text.default)
    except ValueError as error:
        raise UserError(
            f"the corruption {spec!r} can't be used: {error}; write for example {text.example}"
        ) from error


def _unknown(spec: str, name: str) -> str:
    near = difflib.get_close_matches(name, CORRUPTIONS, n=1)
    hint = f"; did you mean {CORRUPTIONS[near[0]].example}?" if near else ";"
    examples = ", ".join(text.example for text in CORRUPTIONS.values())
    return f"there is no corruption {spec!r}{hint} choose one of {examples}"


# Builders: the text after the colon -> Corruption. Their ValueErrors say what is wrong with it.


def _build_gaussian(numbers: str) -> Corruption:
    low, high = span(numbers, "sigma", at_least=0)
    if high == 0:
        raise ValueError(f"sigma must be above 0, got {numbers}")
    draw = functools.partial(_gaussian, low=low / 255, high=high / 255)
    settings = functools.partial(_gaussian_settings, low=low / 255, high=high / 255)
    profile = NoiseProfile.gaussian(low / 255) if low == high else None
    spec = f"gaussian:{span_text(low, high)}"
    return Corruption(spec, unbiased=True, profile=profile, _draw=draw, _settings=settings)


def _build_poisson(numbers: str) -> Corruption:
    peak = _peak(numbers)
    draw = functools.partial(_poisson, peak=peak)
    profile = NoiseProfile((1 / peak,), (0.0,))
    return Corruption(f"poisson:{number_text(peak)}", unbiased=True, profile=profile, _draw=draw)


def _build_poisson_gaussian(numbers: str) -> Corruption:
    texts = numbers.split(",")
    if len(texts) != 2:
        raise ValueError(f"expected two numbers PEAK,SIGMA, got {numbers!r}")
    peak = _peak(texts[0])
    sigma = number(texts[1], "sigma", above=0)
    draw = functools.partial(_poisson_gaussian, peak=peak, sigma=sigma / 255)
    spec = f"poisson-gaussian:{number_text(peak)},{number_text(sigma)}"
    profile = NoiseProfile((1 / peak,), (sigma / 255,))
    return Corruption(spec, unbiased=True, profile=profile, _draw=draw)


def _build_bernoulli(numbers: str) -> Corruption:
    p = number(numbers, "the probability", above=0, below=1)
    return Corruption(
        f"bernoulli:{number_text(p)}", unbiased=True, _draw=functools.partial(_bernoulli, p=p)
    )


def _build_impulse(numbers: str) -> Corruption:
    p = number(numbers, "the probability", above=0, below=1)
    return Corruption(
        f"impulse:{number_text(p)}", unbiased=False, _draw=functools.partial(_impulse, p=p)
    )


def _build_text(numbers: str) -> Corruption:
    # Covering the last pixels between strings would take without end.
    fraction = number(numbers, "the fraction", above=0, below=0.95)
    draw = functools.partial(_overlay_text, fraction=fraction)
    return Corruption(f"text:{number_text(fraction)}", unbiased=False, _draw=draw)


def _build_subpixel(numbers: str) -> Corruption:
    scale = number(numbers, "the block size", at_least=2)
    if scale != int(scale):
        raise ValueError(f"the block size must be a whole number, got {numbers}")
    draw = functools.partial(_subpixel, scale=int(scale))
    return Corruption(f"subpixel:{int(scale)}", unbiased=True, scale=int(scale), _draw=draw)


def _peak(text: str) -> float:
    # numpy draws no Poisson counts near 2^63, and no camera collects a billion photons a pixel.
    return number(text, "the peak", above=0, below=1e9)


_BUILDERS: dict[str, Builder] = {
    "gaussian": _build_gaussian,
    "poisson": _build_poisson,
    "poisson-gaussian": _build_poisson_gaussian,
    "bernoulli": _build_bernoulli,
    "impulse": _build_impulse,
    "text": _build_text,
    "subpixel": _build_subpixel,
    **sensor.BUILDERS,
    **camera.BUILDERS,
    **micro.BUILDERS,
    **film.BUILDERS,
}


# Draws: clean (C, H, W) float32, H and W multiples of the scale -> noisy.


def _gaussian_settings(
    rng: np.random.Generator, channels: int, low: float, high: float
) -> NoiseProfile:
    return NoiseProfile.gaussian(rng.uniform(low, high), channels)


def _gaussian(clean: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    sigma = np.float32(rng.uniform(low, high))
    return clean + sigma * rng.standard_normal(clean.shape, dtype=np.float32)


def _poisson(clean: np.ndarray, rng: np.random.Generator, peak: float) -> np.ndarray:
    # Float images may dip below zero, where there is no light to count.
    return rng.poisson(peak * np.maximum(clean, 0)) / peak


def _poisson_gaussian(
    clean: np.ndarray, rng: np.random.Generator, peak: float, sigma: float
) -> np.ndarray:
    return _gaussian(_poisson(clean, rng, peak), rng, sigma, sigma)


def _bernoulli(clean: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
    kept = rng.random(clean.shape[1:]) >= p
    return clean * kept / (1 - p)


def _impulse(clean: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
    replaced = rng.random(clean.shape[1:]) < p
    return np.where(replaced, rng.random(clean.shape, dtype=np.float32), clean)


def _subpixel(clean: np.ndarray, rng: np.random.Generator, scale: int) -> np.ndarray:
    within = blocks(clean, scale)
    choice = rng.integers(scale * scale, size=within.shape[1:3])
    return np.take_along_axis(within, choice[None, :, :, None], axis=-1)[..., 0]


_LETTERS = string.ascii_letters + string.digits
_SMALLEST_FONT = 8
_LENGTHS = (2, 9)


def _overlay_text(clean: np.ndarray, rng: np.random.Generator, fraction: float) -> np.ndarray:
    noisy = clean.copy()
    channels, height, width = clean.shape
    covered = np.zeros((height, width), dtype=bool)
    # Sizes grow with the image, so that a large photograph takes no more strings than a small crop.
    largest_font = max(_SMALLEST_FONT, min(height, width) // 8)
    wanted = fraction * height * width
    total = 0
    while total < wanted:
        stencil = _random_string(rng, int(rng.integers(_SMALLEST_FONT, largest_font + 1)))
        rows, columns, stencil = _placed(stencil, covered.shape, rng)
        colour = rng.random((channels, 1), dtype=np.float32)
        added = np.count_nonzero(stencil & ~covered[rows, columns])
        # The last string stays out if that ends nearer to the fraction: small crops would otherwise
        # be covered too much.
        if total + added - wanted > wanted - total:
            break
        noisy[:, rows, columns][:, stencil] = colour
        covered[rows, columns] |= stencil
        total += added
    return noisy


def _random_string(rng: np.random.Generator, size: int) -> np.ndarray:
    """A string of random letters as a stencil: bool (height, width), true where there is ink."""
    letters = "".join(rng.choice(list(_LETTERS), size=rng.integers(*_LENGTHS)))
    font = _font(size)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(letters))
    canvas = Image.new("1", (right - left, bottom - top))
    ImageDraw.Draw(canvas).text((-left, -top), letters, fill=1, font=font)
    return np.asarray(canvas)


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's built-in font, its letters placed alike with and without the Raqm library."""
    font = ImageFont.load_default(_SMALLEST_FONT)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise UserError(
            "text corruption needs a Pillow with FreeType: pip install --upgrade pillow"
        )
    return font.font_variant(size=size, layout_engine=ImageFont.Layout.BASIC)


def _placed(
    stencil: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[slice, slice, np.ndarray]:
    """A random place for a stencil, cut where it leaves the image: rows, columns, what remains."""
    top = int(rng.integers(1 - stencil.shape[0], shape[0]))
    left = int(rng.integers(1 - stencil.shape[1], shape[1]))
    rows = slice(max(top, 0), min(top + stencil.shape[0], shape[0]))
    columns = slice(max(left, 0), min(left + stencil.shape[1], shape[1]))
    remains = stencil[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return rows, columns, remains

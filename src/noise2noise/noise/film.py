"""Film grain.

`grain:12,1`
    `x + s(x) g`, the same g in all channels: white noise that was smoothed by a Gaussian of 1 pixel
    and scaled to variance 1, so neighbouring grains belong together; `s(x) = 12/255 * 2 sqrt(x (1 -
    x))` is largest in the middle grey and vanishes at black and white, where there is no or nothing
    but silver. `grain:12` has grains of one pixel, `grain:0-30,0.5-2` draws both anew for every
    draw. Unbiased: never clipped.

That the variance goes as x (1 - x) follows from grains that cover a share x of each spot or leave
it: A. Newson, J. Delon and B. Galerne, "A Stochastic Film Grain Model for Resolution-Independent
Rendering", Computer Graphics Forum 36, 2017. Colour film has grain in each layer; scans of black
and white film, and most programs that add grain, have the same in all channels.
"""

import functools

import numpy as np

from noise2noise.noise.family import Builder, Corruption, span, span_text


def _build_grain(numbers: str) -> Corruption:
    texts = numbers.split(",")
    if len(texts) > 2:
        raise ValueError(f"expected SIGMA or SIGMA,SIZE, got {numbers!r}")
    sigma = span(texts[0], "sigma", at_least=0)
    size = span(texts[1], "the size", at_least=0, below=20) if len(texts) == 2 else (0.0, 0.0)
    if sigma[1] == 0:
        raise ValueError(f"sigma must be above 0, got {texts[0]}")
    spec = f"grain:{span_text(*sigma)},{span_text(*size)}"
    return Corruption(spec, unbiased=True, _draw=functools.partial(_grain, sigma=sigma, size=size))


def _grain(
    clean: np.ndarray,
    rng: np.random.Generator,
    sigma: tuple[float, float],
    size: tuple[float, float],
) -> np.ndarray:
    strength = np.float32(rng.uniform(*sigma) / 255 * 2)
    light = clean.clip(0, 1)
    grains = smooth_noise(clean.shape[1:], rng.uniform(*size), rng)
    return clean + strength * np.sqrt(light * (1 - light)) * grains


def smooth_noise(shape: tuple[int, ...], size: float, rng: np.random.Generator) -> np.ndarray:
    """Normal values `(H, W)` of variance 1, smoothed by a Gaussian of `size` pixels."""
    weights = gaussian_weights(size)
    white = rng.standard_normal([side + len(weights) - 1 for side in shape], dtype=np.float32)
    return convolved(white, weights / np.sqrt((weights**2).sum()))


def convolved(plane: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Each pixel's neighbours weighed along columns and rows, where n of them lie in the plane:
    `(H, W)` to `(H - n + 1, W - n + 1)`."""
    height, width = (side - len(weights) + 1 for side in plane.shape)
    rows = np.zeros((height, plane.shape[1]), np.float32)
    for place, weight in enumerate(weights):
        rows += weight * plane[place : place + height]
    result = np.zeros((height, width), np.float32)
    for place, weight in enumerate(weights):
        result += weight * rows[:, place : place + width]
    return result


def gaussian_weights(size: float) -> np.ndarray:
    """Of a Gaussian whose standard deviation is `size` pixels, out to three of them; sum 1."""
    reach = int(np.ceil(3 * size))
    places = np.arange(-reach, reach + 1, dtype=np.float32)
    weights = np.exp(-0.5 * (places / max(size, 1e-3)) ** 2)
    return weights / weights.sum()


BUILDERS: dict[str, Builder] = {
    "grain": _build_grain,
}

"""Noise of image sensors: photons, read-out, black level, and rows and columns.

`x` is the clean value of a pixel in [0, 1], proportional to the light.

`sensor:0.01,5`
    `x + n`, `n ~ N(0, 0.01 x + (5/255)^2)`: shot noise, here of 1 / 0.01 = 100 photons at full
    white, and read noise of 5 in 8-bit units. Shot noise of 0.004 and more is drawn as counts of
    photons, which have the same variance; below, where there are 250 and more at white, nobody sees
    the difference from a normal value. Not clipped.
`sensor:0.0001-0.05,0-20`
    Both uniform in their ranges, shot noise in its logarithm if the range begins above 0, drawn
    anew for every draw: for networks that must do without knowing the noise ("blind").
`sensor:0.01,5,10`
    The same as a file has it: 10 (in 8-bit units) is the black level, below which the sensor's
    values are cut off at 0, and white is cut off too. Black is 0 again in the result, so values lie
    in `[-10/255, 1]`. Not unbiased: the mean over draws is too dark at white by 0.4 standard
    deviations, and too bright at black by 0.4, 0.08, 0.008 or 0.0004 of them where the black level
    is 0, 1, 2 or 3 of them; two and a half deviations from either end there is nothing left of it.
`sensor:blind`
    All that sensors do: in half of the draws read noise alone, its standard deviation uniform from
    0 to 75 in 8-bit units; in the others shot noise from 0.0001 to 0.16, uniform in its logarithm,
    and read noise from 0 to 60, small ones more often (60 u^2, u uniform). In a third of the
    images of several channels the variance of each is `exp(u)` times as large, u uniform from -0.4
    to 0.4, as white balance leaves it. What the shipped models learned from.
`banding:5,2`
    `x + r + c`, one `r ~ N(0, (5/255)^2)` for each row and one `c ~ N(0, (2/255)^2)` for each
    column, the same in all channels. `banding:5` is rows alone. Both may be ranges.

Shot and read noise are the model of A. Foi et al., "Practical Poissonian-Gaussian Noise Modeling
and Fitting for Single-Image Raw-Data", IEEE Transactions on Image Processing 17, 2008; rows and
columns are those of K. Wei et al., "A Physics-Based Noise Formation Model for Extreme Low-Light Raw
Denoising", CVPR 2020.
"""

import functools
import math

import numpy as np

from noise2noise.noise.family import (
    Builder,
    Corruption,
    Settings,
    number,
    number_text,
    sample,
    span,
    span_text,
)
from noise2noise.noise.profile import NoiseProfile


def _build_sensor(numbers: str) -> Corruption:
    if numbers == "blind":
        draw = functools.partial(_told, settings=_any_sensor)
        return Corruption("sensor:blind", unbiased=True, _draw=draw, _settings=_any_sensor)
    texts = numbers.split(",")
    if len(texts) not in (2, 3):
        raise ValueError(f"expected SHOT,READ or SHOT,READ,BLACK, got {numbers!r}")
    shot = span(texts[0], "shot noise", at_least=0, below=1e3)
    read = span(texts[1], "read noise", at_least=0)
    if shot[1] == read[1] == 0:
        raise ValueError("shot and read noise are both 0")
    spec = f"sensor:{span_text(*shot)},{span_text(*read)}"
    settings = functools.partial(_sensor_settings, shot=shot, read=(read[0] / 255, read[1] / 255))
    draw = functools.partial(_told, settings=settings)
    if len(texts) == 2:
        known = shot[0] == shot[1] and read[0] == read[1]
        profile = NoiseProfile((shot[0],), (read[0] / 255,)) if known else None
        return Corruption(spec, unbiased=True, profile=profile, _draw=draw, _settings=settings)
    black = number(texts[2], "the black level", at_least=0)
    clipped = functools.partial(_clipped_sensor, noise=draw, black=black / 255)
    return Corruption(f"{spec},{number_text(black)}", unbiased=False, _draw=clipped)


def _build_banding(numbers: str) -> Corruption:
    texts = numbers.split(",")
    if len(texts) > 2:
        raise ValueError(f"expected ROWS or ROWS,COLUMNS, got {numbers!r}")
    rows = span(texts[0], "the rows' sigma", at_least=0)
    columns = span(texts[1], "the columns' sigma", at_least=0) if len(texts) == 2 else (0.0, 0.0)
    if rows[1] == columns[1] == 0:
        raise ValueError("rows and columns are both 0")
    spec = f"banding:{span_text(*rows)},{span_text(*columns)}"
    return Corruption(
        spec, unbiased=True, _draw=functools.partial(_banding, rows=rows, columns=columns)
    )


def uniform_in_logarithm(low: float, high: float, rng: np.random.Generator) -> float:
    """A number of the range, each factor as likely; uniform if the range begins at 0."""
    if low == 0 or low == high:
        return rng.uniform(low, high)
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _told(clean: np.ndarray, rng: np.random.Generator, settings: Settings) -> np.ndarray:
    return sample(clean, settings(rng, len(clean)), rng)


def _sensor_settings(
    rng: np.random.Generator, channels: int, shot: tuple[float, float], read: tuple[float, float]
) -> NoiseProfile:
    slope, sigma = uniform_in_logarithm(*shot, rng), rng.uniform(*read)
    return NoiseProfile((slope,) * channels, (sigma,) * channels)


def _any_sensor(rng: np.random.Generator, channels: int) -> NoiseProfile:
    if rng.random() < 0.5:
        slope, sigma = 0.0, rng.uniform(0, 75) / 255
    else:
        slope, sigma = uniform_in_logarithm(1e-4, 0.16, rng), 60 * rng.random() ** 2 / 255
    gains = np.ones(channels)
    if channels > 1 and rng.random() < 0.35:
        gains = np.exp(rng.uniform(-0.4, 0.4, channels))
    return NoiseProfile(tuple((slope * gains).tolist()), tuple((sigma * np.sqrt(gains)).tolist()))


def _clipped_sensor(
    clean: np.ndarray, rng: np.random.Generator, noise: functools.partial[np.ndarray], black: float
) -> np.ndarray:
    return noise(clean, rng).clip(-black, 1)


def _banding(
    clean: np.ndarray,
    rng: np.random.Generator,
    rows: tuple[float, float],
    columns: tuple[float, float],
) -> np.ndarray:
    _, height, width = clean.shape
    row = rng.uniform(*rows) / 255 * rng.standard_normal((height, 1))
    column = rng.uniform(*columns) / 255 * rng.standard_normal(width)
    return clean + (row + column).astype(np.float32)


BUILDERS: dict[str, Builder] = {
    "sensor": _build_sensor,
    "banding": _build_banding,
}

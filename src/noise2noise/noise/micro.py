"""Noise of micrographs, where photons are few.

`x` is the clean value of a pixel in [0, 1], proportional to the light. Counts are divided by the
peak, so that the mean over draws is x: all unbiased, none clipped.

`micro:scmos,20-500,2`
    `(Poisson(P x) + n) / P`: P photons at full white, here anew for every draw from the range, each
    factor as likely; n is the read noise in electrons, whose standard deviation differs from pixel
    to pixel as in scientific CMOS sensors, where each has an amplifier of its own: log-normal with
    a spread of 0.5 in the logarithm, and a mean square of 2^2. Variance `x / P + (2 / P)^2`.
`micro:emccd,5-100,1`
    `(Gamma(Poisson(P x)) + n) / P`: each photon's electron is multiplied by a register on its way
    out, by a random number with an exponential distribution, here of mean 1, for which n, the read
    noise, is divided too: after a gain of some hundred it is below one electron. Multiplying
    doubles the variance of the shot noise: `2 x / P + (1 / P)^2`.

sCMOS: F. Huang et al., "Video-rate nanoscopy using sCMOS camera-specific single-molecule
localization algorithms", Nature Methods 10, 2013. EMCCD: M. Hirsch et al., "A Stochastic Model for
Electron Multiplication Charge-Coupled Devices", PLOS ONE 8, 2013.
"""

import functools
from collections.abc import Callable

import numpy as np

from noise2noise.noise.family import Builder, Corruption, span, span_text
from noise2noise.noise.sensor import uniform_in_logarithm

_AMPLIFIERS = 0.5  # standard deviation of the logarithm of their noise


def _build_micro(numbers: str) -> Corruption:
    texts = numbers.split(",")
    if len(texts) != 3 or texts[0] not in _SENSORS:
        raise ValueError(f"expected scmos,PEAK,READ or emccd,PEAK,READ, got {numbers!r}")
    peak = span(texts[1], "the peak", at_least=1e-3, below=1e9)
    read = span(texts[2], "the read noise", at_least=0, below=1e6)
    spec = f"micro:{texts[0]},{span_text(*peak)},{span_text(*read)}"
    draw = functools.partial(_micro, electrons=_SENSORS[texts[0]], peak=peak, read=read)
    return Corruption(spec, unbiased=True, _draw=draw)


Electrons = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _micro(
    clean: np.ndarray,
    rng: np.random.Generator,
    electrons: Electrons,
    peak: tuple[float, float],
    read: tuple[float, float],
) -> np.ndarray:
    photons = uniform_in_logarithm(*peak, rng)
    return electrons(photons * np.maximum(clean, 0), rng.uniform(*read), rng) / photons


def _scmos(light: np.ndarray, read: float, rng: np.random.Generator) -> np.ndarray:
    spread = _AMPLIFIERS * rng.standard_normal(light.shape, dtype=np.float32)
    amplifiers = read * np.exp(spread - _AMPLIFIERS**2)  # E[exp(2 s z)] = exp(2 s^2)
    return rng.poisson(light) + amplifiers * rng.standard_normal(light.shape, dtype=np.float32)


def _emccd(light: np.ndarray, read: float, rng: np.random.Generator) -> np.ndarray:
    electrons = rng.standard_gamma(rng.poisson(light))
    return electrons + read * rng.standard_normal(light.shape, dtype=np.float32)


_SENSORS: dict[str, Electrons] = {"scmos": _scmos, "emccd": _emccd}

BUILDERS: dict[str, Builder] = {
    "micro": _build_micro,
}

"""Whether the noise was measured rightly, told by what a denoiser removes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from noise2noise.denoiser import Denoiser
from noise2noise.device import infer
from noise2noise.single.sample import Sample

_SIDE = 192  # pixels of the square of each sample that is looked at
_MOST = 3  # samples
_STEP = 0.1  # of the noise's standard deviation
_SEED = 0


def level(denoiser: Denoiser, samples: Sequence[Sample]) -> float:
    """The standard deviation of the noise, over what the network is told: above 1 where there is
    more.

    With T = <s^2 df/dy>, the error of a network that returns the mean of what the pixels could have
    been, what it removes has the mean square <s^2> - T; see `noise2noise.report.examine`.
    """
    removed = expected = 0.0
    rng = np.random.default_rng(_SEED)
    for sample in samples[:_MOST]:
        image, sigma = (x[:, :_SIDE, :_SIDE] for x in (sample.image, sample.sigma))
        offset = np.float32(0 if denoiser.info.architecture == "adapted" else image.mean())
        step = np.float32(_STEP * math.sqrt(float(np.square(sigma).mean())))
        way = rng.choice(np.array([-1, 1], np.float32), image.shape)
        there, back = (
            _result(denoiser, image - offset + side * step * way, sigma) for side in (1, -1)
        )
        clean = (there + back) / 2 + offset
        slope = (there - back) * way / (2 * step)
        removed += float(np.square(image - clean).mean(dtype=np.float64))
        expected += float((np.square(sigma) * (1 - slope)).mean(dtype=np.float64))
    return math.sqrt(removed / expected) if expected > 0 else 1.0


def _result(denoiser: Denoiser, image: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    height, width = (-size % denoiser.multiple for size in image.shape[1:])
    x = np.pad(np.concatenate([image, sigma]), ((0, 0), (0, height), (0, width)), "reflect")
    y = infer(denoiser.model, np.ascontiguousarray(x, np.float32)[None])[0]
    return y[:, : image.shape[1], : image.shape[2]]

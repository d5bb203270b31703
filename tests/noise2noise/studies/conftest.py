"""A few noisy pairs with something to learn in them."""

import numpy as np
import pytest
import torch

from noise2noise.studies.runs import Images


@pytest.fixture
def images() -> Images:
    """48 pairs and 6 validation images: smooth colours with independent noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32] / 32
    clean = np.stack(
        [0.5 + 0.3 * np.sin(6 * (a * x + b * y)) for a, b in rng.uniform(-1, 1, (54, 2))]
    )
    clean = np.repeat(clean[:, None], 3, axis=1)

    def noisy() -> np.ndarray:
        return clean + rng.normal(0, 0.1, clean.shape)

    first, second, clean_ = (
        torch.from_numpy(np.rint(255 * side.clip(0, 1)).astype(np.uint8))
        for side in (noisy(), noisy(), clean)
    )
    return Images(first[:48], second[:48], first[48:], clean_[48:])

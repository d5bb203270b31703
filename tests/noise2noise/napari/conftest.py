"""What the tests of the plugin have in common.

Those that open a viewer need napari's own fixtures: `make test-napari` runs them.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    viewer = "make_napari_viewer" in getattr(item, "fixturenames", ())
    if viewer and not item.config.pluginmanager.hasplugin("napari"):
        pytest.skip("needs a viewer: make test-napari")


@pytest.fixture
def layer() -> Any:
    """Makes what a layer of napari says of itself."""

    def make(data: Any, labels: tuple[str, ...] = (), rgb: bool = False, **more: Any) -> Any:
        ndim = data.ndim - rgb
        labels = labels or tuple(str(place - ndim) for place in range(ndim))
        said = {"data": data, "rgb": rgb, "ndim": ndim, "axis_labels": labels, "name": "image"}
        return SimpleNamespace(**{**said, "multiscale": False, **more})

    return make


@pytest.fixture
def noisy() -> np.ndarray:
    """A micrograph of a few photons, uint16 (2, 2, 48, 56), t, c, y, x."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:48, :56] / 7
    light = np.stack([60 + 40 * np.sin(x) * np.cos(y), 900 + 300 * np.cos(x + y)])
    return rng.poisson(np.stack([light, light])).astype(np.uint16)

"""Draws docs/images/napari.png: the plugin in napari, at work on its own sample data.

Run from the repository, where `make test-napari` has installed napari, on a screen or under
xvfb-run: .venv/bin/python docs/figures/make_napari_screenshot.py
"""

from pathlib import Path
from typing import Any

import napari
from npe2 import PluginManager, PluginManifest
from PIL import Image
from qtpy.QtWidgets import QApplication

PLACE = Path(__file__).parents[1] / "images" / "napari.png"
MANIFEST = Path(__file__).parents[2] / "src/noise2noise/napari/napari.yaml"
SIZE = (1240, 760)


def finish(panel: Any) -> None:
    """Wait for a panel's work."""
    while panel.bench.is_working:
        QApplication.processEvents()


def settle() -> None:
    """Let the window draw."""
    for _ in range(200):
        QApplication.processEvents()


manager = PluginManager.instance()
manager.discover()
if "noise2noise" not in manager:
    manager.register(PluginManifest.from_file(MANIFEST))
viewer = napari.Viewer()
viewer.window.resize(*SIZE)
panel = viewer.window.add_plugin_dock_widget("noise2noise", "Denoise")[1]
viewer.open_sample("noise2noise", "pair")
viewer.layers.remove("shot 2")
shot = viewer.layers["shot 1"]
shot.contrast_limits = (100, 2600)
settle()
viewer.camera.zoom *= 1.6
settle()
panel.preview.native.click()
finish(panel)
settle()
# The left half of what was in view, so that both can be seen.
preview = viewer.layers["shot 1 preview"]
preview.data = preview.data[:, : preview.data.shape[1] // 2]
settle()
pixels = viewer.screenshot(canvas_only=False, flash=False)
Image.fromarray(pixels).convert("RGB").save(PLACE, optimize=True)
viewer.close()

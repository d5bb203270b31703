"""The plugin in a viewer that nobody sees; `make test-napari` runs these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noise2noise import denoise

MANIFEST = Path(__file__).parents[3] / "src/noise2noise/napari/napari.yaml"
SECONDS = 60_000


@pytest.fixture
def viewer(make_napari_viewer) -> Any:
    """An empty viewer, with the plugin."""
    from npe2 import (  # pyright: ignore[reportMissingImports]
        PluginManager,
        PluginManifest,
    )

    manager = PluginManager.instance()
    if "noise2noise" not in manager:
        manager.register(PluginManifest.from_file(MANIFEST))
    return make_napari_viewer()


@pytest.fixture
def denoising(viewer) -> Any:
    """The widget that denoises, in the viewer."""
    return viewer.window.add_plugin_dock_widget("noise2noise", "Denoise")[1]


@pytest.fixture
def training(viewer, monkeypatch, tmp_path) -> Any:
    """The widget that trains, in the viewer."""
    from noise2noise.napari import choosing

    monkeypatch.setattr(choosing, "RUNS", tmp_path)
    return viewer.window.add_plugin_dock_widget("noise2noise", "Train on noisy pairs")[1]


def finish(qtbot, panel) -> None:
    """Wait for a panel's work."""
    qtbot.waitUntil(lambda: not panel.bench.is_working, timeout=SECONDS)


def test_a_layer_is_denoised_into_one_at_the_same_place(viewer, denoising, noisy, qtbot) -> None:
    image = noisy[0, 0]
    said = {"scale": (0.2, 0.3), "translate": (5, 7), "units": ("um", "um"), "colormap": "green"}
    layer = viewer.add_image(image, name="cells", metadata={"dye": "GFP"}, **said)
    denoising.run.native.click()
    assert denoising.bench.cancel.enabled
    finish(qtbot, denoising)
    made = viewer.layers["cells denoised"]
    assert np.array_equal(made.data, denoise(image))
    assert np.array_equal(made.scale, layer.scale)
    assert np.array_equal(made.translate, layer.translate)
    assert made.units == layer.units
    assert made.colormap.name == "green"
    assert made.metadata["dye"] == "GFP"
    assert made.metadata["noise2noise"]["model"] == "grey"
    assert denoising.bench.words.value == "Denoised with grey, since it has no colours."


def test_the_selected_layer_is_chosen(viewer, denoising, noisy) -> None:
    first = viewer.add_image(noisy[0, 0], name="first")
    second = viewer.add_image(noisy, name="second", axis_labels=("t", "c", "y", "x"))
    viewer.add_labels(np.zeros((8, 8), int))
    assert denoising.layer.value is second
    assert list(denoising.channels.choices) == [-1, 0, 1]
    viewer.layers.selection.active = first
    assert denoising.layer.value is first
    viewer.layers.remove(first)
    assert denoising.layer.value is second


def test_only_what_is_in_view_is_previewed(viewer, denoising, noisy, qtbot) -> None:
    layer = viewer.add_image(noisy, scale=(2, 1, 0.5, 0.5), name="stack")
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(1, 0)
    for _ in range(2):  # the second one takes the place of the first
        layer.corner_pixels = np.array([[1, 0, 8, 16], [1, 0, 39, 49]])
        denoising.preview.native.click()
        finish(qtbot, denoising)
    made = viewer.layers["stack preview"]
    assert np.array_equal(made.data, denoise(noisy[1, 0])[None, None, 8:40, 16:50])
    assert np.allclose(made.translate, (2, 0, 4, 8))
    assert len(viewer.layers) == 2
    assert denoising.layer.value is layer


def test_no_preview_of_a_volume(viewer, denoising, noisy) -> None:
    viewer.add_image(noisy)
    viewer.dims.ndisplay = 3
    denoising.preview.native.click()
    assert not denoising.bench.is_working
    assert "two dimensions" in denoising.bench.words.value


def test_work_is_cancelled(viewer, denoising, qtbot) -> None:
    rng = np.random.default_rng(0)
    viewer.add_image(rng.poisson(9, (64, 48, 48)).astype(np.uint8))
    denoising.run.native.click()
    qtbot.waitUntil(lambda: denoising.bench.bar.value > 0, timeout=SECONDS)
    denoising.bench.cancel.native.click()
    finish(qtbot, denoising)
    assert denoising.bench.words.value == "Stopped."
    assert len(viewer.layers) == 1
    assert denoising.run.enabled
    assert not denoising.bench.cancel.enabled


def test_a_mistake_is_said_in_a_sentence(viewer, denoising, noisy, qtbot) -> None:
    denoising.run.native.click()
    assert denoising.bench.words.value == "Open an image first."
    viewer.add_image(noisy[0, 0])
    denoising.model.value, denoising.quality.value = "photo", "fast"
    denoising.run.native.click()
    finish(qtbot, denoising)
    assert denoising.bench.words.value.startswith("The quality fast chooses the model")
    assert len(viewer.layers) == 1


def test_a_model_trained_on_two_layers_is_offered(
    viewer, training, denoising, noisy, qtbot
) -> None:
    for name, shot in zip("ab", noisy[:, 0], strict=True):
        viewer.add_image(shot, name=name)
    training.other.value = viewer.layers["b"]
    training.epochs.value, training.crop.value = 1, 16
    folder = training.folder.value
    training.run.native.click()
    finish(qtbot, training)
    assert (folder / "best.safetensors").is_file()
    assert training.folder.value.name == "a-2"
    denoising.reset_choices()
    denoising.model.value = str(folder)
    denoising.run.native.click()
    finish(qtbot, denoising)
    assert np.array_equal(viewer.layers["b denoised"].data, denoise(noisy[1, 0], str(folder)))


def test_one_frame_cannot_be_learned_from(viewer, training, noisy) -> None:
    viewer.add_image(noisy[0, 0])
    training.run.native.click()
    assert "two frames" in training.bench.words.value


@pytest.mark.parametrize(("key", "count"), [("pair", 2), ("stack", 1), ("photograph", 1)])
def test_samples_open(viewer, monkeypatch, key: str, count: int) -> None:
    from noise2noise.napari import samples

    monkeypatch.setattr(samples, "SIDE", 32)
    viewer.open_sample("noise2noise", key)
    assert len(viewer.layers) == count

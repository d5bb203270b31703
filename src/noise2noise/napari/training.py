"""The widget that trains a network on noisy pairs: two layers, or the frames of one."""

# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from magicgui.types import FileDialogMode
from magicgui.widgets import ComboBox, Container, FileEdit, PushButton, SpinBox

from noise2noise.errors import UserError
from noise2noise.napari import choosing
from noise2noise.napari.bench import Bench
from noise2noise.napari.choosing import image_layers, watch_layers
from noise2noise.napari.fitting import SCRATCH, Learned, Lesson, train
from noise2noise.napari.layers import pixels_of
from noise2noise.napari.pairs import frame_pairs

FRAMES = "the next frame of the same layer"


class TrainingPanel(Container[Any]):
    """Trains on the chosen layers; the widget that denoises then offers the model.

    Arguments:
        napari_viewer: whose layers are chosen from.
    """

    def __init__(self, napari_viewer: Any) -> None:
        self._viewer = napari_viewer
        self.layer = ComboBox(label="noisy layer", choices=lambda _: image_layers(napari_viewer))
        self.other = ComboBox(label="its pair", choices=self._others)
        self.other.tooltip = "what shows the same scene with other noise"
        self.start_from = ComboBox(label="begin with", choices=["grey", "photo", SCRATCH])
        self.epochs = SpinBox(label="epochs", value=10, min=1, max=1000)
        self.crop = SpinBox(label="crop", value=64, min=16, max=512, step=16)
        self.folder = FileEdit(
            label="keep the run in",
            mode=FileDialogMode.EXISTING_DIRECTORY,
            value=choosing.RUNS / "run-1",
        )
        self.run = PushButton(text="Train")
        self.bench = Bench(self.run)
        choices = [self.layer, self.other, self.start_from, self.epochs, self.crop, self.folder]
        super().__init__(widgets=[*choices, self.run, self.bench])
        self.run.changed.connect(self.start)
        self.layer.changed.connect(self._layer_changed)
        watch_layers(napari_viewer, self._layers_changed)
        self._layer_changed()

    def start(self) -> None:
        """Train on what is chosen, in a thread of its own."""
        layer: Any = self.layer.value
        other = self.other.value
        if layer is None:
            self.bench.say("Open an image first.")
            return
        lesson = Lesson(
            Path(str(self.folder.value)),
            str(self.start_from.value),
            int(self.epochs.value),
            int(self.crop.value),
        )
        try:
            pixels = pixels_of(layer)
            first, second = frame_pairs(pixels) if other == FRAMES else (pixels, pixels_of(other))
        except UserError as error:
            self.bench.refuse(error)
            return
        self.bench.start(lambda watch: train(first, second, lesson, watch), self._learned)

    def _learned(self, learned: Learned) -> None:
        self.bench.say(
            f"{learned.psnr:.2f} dB after {learned.epochs} epochs, on pairs that were held back; "
            f"choose the model {learned.folder.name} to denoise with it."
        )
        self.folder.value = next_run(learned.folder)

    def _others(self, _: Any = None) -> list[tuple[str, Any]]:
        layers = [each for each in image_layers(self._viewer) if each is not self.layer.value]
        return [*((each.name, each) for each in layers), (FRAMES, FRAMES)]

    def _layers_changed(self) -> None:
        self.layer.reset_choices()
        self._layer_changed()

    def _layer_changed(self) -> None:
        self.other.reset_choices()
        layer: Any = self.layer.value
        if layer is not None:
            self.start_from.value = "photo" if layer.rgb else "grey"
            self.folder.value = next_run(choosing.RUNS / f"{_plain(layer.name)}-1")


def next_run(folder: Path) -> Path:
    """The folder, or the first numbered one after it that isn't there yet."""
    while folder.exists():
        name, _, number = folder.name.rpartition("-")
        numbered = name and number.isdecimal()
        folder = folder.with_name(f"{name}-{int(number) + 1}" if numbered else f"{folder.name}-2")
    return folder


def _plain(name: str) -> str:
    """A layer's name as one of a folder."""
    return re.sub(r"[^\w-]+", "-", name).strip("-")[:40] or "run"

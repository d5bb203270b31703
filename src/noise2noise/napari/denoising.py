"""The widget that denoises a layer, or what of it is in view."""

# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

from typing import Any

from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, FloatSlider, PushButton

from noise2noise.errors import UserError
from noise2noise.inference import MOST_STRENGTH
from noise2noise.napari.bench import Bench
from noise2noise.napari.choosing import image_layers, models, watch_layers
from noise2noise.napari.layers import (
    pixels_of,
    preview_layer,
    preview_name,
    result_layer,
    view_of,
)
from noise2noise.napari.work import Made, Wishes, denoise_pixels, denoise_view

OTHER = "a file ..."
"""Chosen in the place of a model's name: that of a file is asked for."""

NONE = -1
"""No axis of the layer holds channels."""


class DenoisingPanel(Container[Any]):
    """Denoises the chosen layer into a new one.

    Arguments:
        napari_viewer: whose layers are chosen from, and which gets the results.
    """

    def __init__(self, napari_viewer: Any) -> None:
        self._viewer = napari_viewer
        self.layer = ComboBox(label="layer", choices=lambda _: image_layers(napari_viewer))
        self.channels = ComboBox(label="channels along", choices=self._axes)
        self.channels.tooltip = "an axis whose entries have noise of their own, such as stains"
        self.model = ComboBox(label="model", choices=lambda _: [*models(), (OTHER, OTHER)])
        self.file = FileEdit(label="model file", visible=False)
        self.strength = FloatSlider(label="strength", value=1, min=0, max=MOST_STRENGTH, step=0.05)
        self.strength.tooltip = "0 leaves the image as it is, 1 removes all noise"
        self.quality = ComboBox(
            label="quality", choices=["fast", "balanced", "best"], value="balanced"
        )
        self.quality.tooltip = "fast takes a smaller model, best the mean over flips and turns"
        self.single = CheckBox(text="fit the model to this layer first", value=False)
        self.single.tooltip = "for noise of another kind; takes up to two minutes more"
        self.preview = PushButton(text="Preview what is in view")
        self.run = PushButton(text="Denoise all of it")
        self.bench = Bench(self.preview, self.run)
        choices = [self.layer, self.channels, self.model, self.file, self.strength, self.quality]
        super().__init__(widgets=[*choices, self.single, self.preview, self.run, self.bench])
        self.layer.changed.connect(self.channels.reset_choices)
        self.model.changed.connect(self._model_changed)
        self.preview.changed.connect(self.start_preview)
        self.run.changed.connect(self.start)
        watch_layers(napari_viewer, self._layers_changed)
        napari_viewer.layers.selection.events.active.connect(self._follow)
        self._follow()

    @property
    def wishes(self) -> Wishes:
        """What is chosen."""
        model = str(self.file.value if self.model.value == OTHER else self.model.value)
        single = bool(self.single.value)
        return Wishes(model, float(self.strength.value), str(self.quality.value), single)

    def start(self) -> None:
        """Denoise all of the chosen layer into a new one."""
        chosen = self._chosen()
        if chosen is None:
            return
        layer, pixels, wishes = chosen[0], chosen[1], self.wishes

        def done(made: Made) -> None:
            self._viewer.add_image(**result_layer(layer, made.data, made.facts))
            self.bench.say(f"{made.words}.")

        self.bench.start(lambda watch: denoise_pixels(pixels, wishes, watch), done)

    def start_preview(self) -> None:
        """Denoise what of the chosen layer is in view, and lay it over the layer."""
        chosen = self._chosen(in_view=True)
        if chosen is None:
            return
        layer, view, wishes = chosen[0], chosen[1], self.wishes

        def done(made: Made) -> None:
            self._lay_over(layer, preview_layer(layer, view, made.data, made.facts))
            self.bench.say(f"{made.words}.")

        self.bench.start(lambda watch: denoise_view(view, wishes, watch), done)

    def _chosen(self, in_view: bool = False) -> tuple[Any, Any] | None:
        """The layer and its pixels, or what of them is in view; None if that can't be had."""
        layer: Any = self.layer.value
        axis = self.channels.value
        if layer is None:
            self.bench.say("Open an image first.")
            return None
        channel_axis = None if axis in (None, NONE) else int(axis)
        try:
            if in_view:
                return layer, view_of(layer, self._viewer, channel_axis)
            return layer, pixels_of(layer, channel_axis)
        except UserError as error:
            self.bench.refuse(error)
            return None

    def _lay_over(self, layer: Any, told: dict[str, Any]) -> None:
        """Put a preview where the last one of this layer was."""
        layers, name = self._viewer.layers, preview_name(layer)
        if name in layers:
            layers.remove(layers[name])
        self._viewer.add_image(**told)
        layers.selection.active = layer

    # -- what is chosen from ----------------------------------------------------------------------

    def _follow(self) -> None:
        """Choose the layer that is selected in the list of layers."""
        active = self._viewer.layers.selection.active
        if active in image_layers(self._viewer):
            self.layer.reset_choices()
            self.layer.value = active

    def _layers_changed(self) -> None:
        self.layer.reset_choices()
        self.channels.reset_choices()

    def _axes(self, _: Any = None) -> list[tuple[str, int]]:
        """The chosen layer's axes besides rows and columns."""
        layer: Any = self.layer.value
        axes = [] if layer is None else list(enumerate(layer.axis_labels))[:-2]
        return [("none", NONE), *((f"axis {label}", place) for place, label in axes)]

    def _model_changed(self) -> None:
        self.file.visible = self.model.value == OTHER

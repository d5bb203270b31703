"""Denoising and training inside napari, for who installs the extra `napari`.

- `napari.yaml`: what napari is told of the plugin, which the entry point `napari.manifest` names.
- `layers.py`: a layer's pixels as a stack, what of them is in view, what a result's layer says.
- `work.py`: denoising for a widget, its progress, and stopping it.
- `pairs.py` `fitting.py`: files of noisy pairs, cut out of layers; training on them.
- `bench.py`: progress, cancel and a line of words under a widget, and the thread that works.
- `denoising.py` `training.py`: the widgets; `choosing.py`: what their lists hold.
- `samples.py`: sample data, made on the spot.

Nothing of this is loaded until napari asks for it. All but the widgets, with what they choose from
and work on, runs without a window, and is tested without napari.
"""

"""One noisy image and nothing else: a model is fitted to it. docs/single.md says how, and when.

- `sample.py`: what is looked at of an image, and the pairs that it gives.
- `recorrupt.py`: pairs for noise that reaches from pixel to pixel.
- `patterns.py`: noise that is no draw at every pixel.
- `adapt.py`: splines around a network.
- `level.py`: whether the noise was measured rightly.
- `fit.py`: the loop, what is held back, and what that decides.
- `scratch.py`: a network that learns from nothing but the image.
- `adaptation.py`: what is tried, in order; the model that comes of it.
"""

from noise2noise.single.adaptation import Fitted, Options, alone, fit, save
from noise2noise.single.fit import Budget, Stage
from noise2noise.single.sample import Sample
from noise2noise.single.scratch import STEPS, learn

__all__ = [
    "STEPS",
    "Budget",
    "Fitted",
    "Options",
    "Sample",
    "Stage",
    "alone",
    "fit",
    "learn",
    "save",
]

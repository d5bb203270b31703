"""One noisy image and nothing else: a model is fitted to it. docs/single.md says how, and when.

- `sample.py`: what is looked at of an image, and the pairs that it gives.
- `recorrupt.py`: pairs for noise that reaches from pixel to pixel.
- `patterns.py`: noise that is no draw at every pixel.
- `adapt.py`: splines around a network.
- `fit.py`: the loop, what is held back, and what that decides.
- `adaptation.py`: what is tried, in order; the model that comes of it.
"""

from noise2noise.single.adaptation import Fitted, Options, fit, save
from noise2noise.single.fit import Stage

__all__ = ["Fitted", "Options", "Stage", "fit", "save"]

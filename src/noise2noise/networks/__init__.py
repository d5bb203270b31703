"""The networks, by name: `build("compact", channels=3, width=48)`.

A network takes (N, C, H, W) in [0, 1] and returns the same shape. Sizes are keyword arguments, so
that wider, deeper or grey versions are arguments and not copies.

- `ours.py`, `reports.py`: the networks, a function each.
- `guided.py`: the network that is told the noise; it takes the image and the noise's standard
  deviation at each pixel.
- `adapted.py`: splines around it, for `noise2noise.single`; `zero_shot.py`: the network that learns
  from one image from nothing.
- `published.py`: DnCNN, FFDNet and DRUNet, with the names of their published weights.
- `table.py`: their names, and what each asks of images; a new network is a function and a line
  there.
- `transfer.py`: beginning one with another's weights.
"""

from noise2noise.networks.published import recognized
from noise2noise.networks.table import (
    ARCHITECTURES,
    FIRST,
    Architecture,
    Needs,
    build,
    needs_of,
    seeded,
    sizes_of,
)
from noise2noise.networks.transfer import copy_weights

__all__ = [
    "ARCHITECTURES",
    "FIRST",
    "Architecture",
    "Needs",
    "build",
    "copy_weights",
    "needs_of",
    "recognized",
    "seeded",
    "sizes_of",
]

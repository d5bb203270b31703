"""A network at work on images of any size: in tiles, within a memory, on one stack after another.

- `network.py`: what a network asks of an image, and its result for a tile.
- `known.py`: what is learned of a whole stack before its first tile.
- `settings.py`: what people may ask for.
- `preparation.py`: what is taken from an image before the network sees it.
- `run.py`: a stack on its way through a network, band by band.
- `learned.py`: what a model knows of images like those that it learned from.
- `budget.py`: how large a tile may be.
"""

from noise2noise.inference.budget import needed, parse_memory, tile_side
from noise2noise.inference.known import Known, looked_at
from noise2noise.inference.learned import Learned
from noise2noise.inference.network import SMALLEST, TILE, Network
from noise2noise.inference.preparation import read_plane
from noise2noise.inference.run import StackRun
from noise2noise.inference.settings import MOST_STRENGTH, USUAL, Settings

__all__ = [
    "MOST_STRENGTH",
    "SMALLEST",
    "TILE",
    "USUAL",
    "Known",
    "Learned",
    "Network",
    "Settings",
    "StackRun",
    "looked_at",
    "needed",
    "parse_memory",
    "read_plane",
    "tile_side",
]

"""What can be asked for by name, and what to say of it: to show help, nothing else is loaded.

What the names stand for is where their work is done: `noise/corruptions.py`,
`networks/table.py`, `classical.py`.
"""

from __future__ import annotations

from typing import NamedTuple


class CorruptionText(NamedTuple):
    """How a kind of noise is written, and what it is."""

    example: str
    summary: str
    default: str = ""
    """The numbers that are meant where none are given."""


CORRUPTIONS = {
    "gaussian": CorruptionText(
        "gaussian:25",
        "additive Gaussian noise of sigma 25/255; gaussian:0-50 draws sigma anew each time",
    ),
    "poisson": CorruptionText(
        "poisson:30",
        "photon counting, 30 photons at full white",
    ),
    "poisson-gaussian": CorruptionText(
        "poisson-gaussian:30,5",
        "photon counting and read noise of sigma 5/255 (the numbers may be left out)",
        default="30,5",
    ),
    "bernoulli": CorruptionText(
        "bernoulli:0.5",
        "each pixel lost with probability 0.5, the survivors made brighter in return",
    ),
    "impulse": CorruptionText(
        "impulse:0.5",
        "each pixel a random colour with probability 0.5 (the number may be left out)",
        default="0.5",
    ),
    "text": CorruptionText(
        "text:0.25",
        "random strings over a quarter of the image (the number may be left out)",
        default="0.25",
    ),
    "subpixel": CorruptionText(
        "subpixel:6",
        "one random sub-pixel of each 6 x 6 block; the result is 6 times smaller",
    ),
    "sensor": CorruptionText(
        "sensor:0.01,5",
        "shot noise of variance 0.01 x and read noise of sigma 5/255; both may be ranges; a third "
        "number is the black level, and clips; sensor:blind is all that sensors do",
    ),
    "banding": CorruptionText(
        "banding:5,2",
        "each row brighter or darker by sigma 5/255, and each column by 2/255",
    ),
    "camera": CorruptionText(
        "camera:0.0001-0.012,80-98",
        "noise of a camera's sensor, developed to a JPEG of quality 80 to 98: mosaic, "
        "demosaicing, white balance, smoothing (the numbers may be left out)",
        default="0.0001-0.012,80-98",
    ),
    "micro": CorruptionText(
        "micro:scmos,20-500,2",
        "20 to 500 photons at full white on an sCMOS sensor with read noise of 2 electrons; "
        "emccd in the place of scmos multiplies electrons",
    ),
    "grain": CorruptionText(
        "grain:12,1",
        "film grain of sigma 12/255 in the middle grey, the grains 1 pixel wide (may be left out)",
    ),
}
"""Noise that can be made, by the name before the colon."""

NETWORKS = (
    "compact",
    "fine",
    "guided",
    "unet",
    "zhao",
    "david",
    "coldenhoff",
    "mery",
    "mery-skip",
    "hilsberg",
    "hilsberg-published",
)
"""The networks that can be trained."""

CLASSICAL = ("non-local-means", "total-variation", "wavelets", "bm3d")
"""The denoisers that learn nothing."""

"""How large a tile may be, so that denoising a stack takes no more memory than it is allowed.

What is counted: the network at work on a tile; the tile's own arrays; the bands that are read, made
and written; what the files' formats hold. The factors are measured: `benchmarks/memory.py` compares
what was allowed with what was taken.
"""

from __future__ import annotations

import re

from noise2noise.errors import UserError
from noise2noise.files import Header, Held
from noise2noise.inference.network import Network

_BANDS = 6  # one that is read, the strips it comes from, one that is made, and what the writer has
_ARRAYS = 16  # float32 of a tile: image, noise, input, impulses, result, before and after rounding
_FIXED = 96 * 2**20  # to measure noise, to survey values, and modules that are loaded meanwhile


def tile_side(
    network: Network, header: Header, memory: int | None, reading: Held, writing: Held
) -> int:
    """The side, in pixels, of the tiles that a stack is to be worked on in, overlap included.

    Arguments:
        network: what works on them.
        header: of the stack.
        memory: bytes that may be taken; None for as many as are best.
        reading, writing: what the formats take.

    Raises:
        UserError: the memory is not enough for the smallest tile; what would be is said.
    """
    if memory is None:
        return network.best_tile
    for side in range(network.best_tile, network.least_tile - 1, -network.multiple):
        if needed(network, header, side, reading, writing) <= memory:
            return side
    least = needed(network, header, network.least_tile, reading, writing)
    raise UserError(
        f"{_in_words(least)} of memory are needed at least, and {_in_words(memory)} allowed; "
        "allow more, or use uncompressed TIFF files, which are read and written in parts"
    )


def needed(network: Network, header: Header, side: int, reading: Held, writing: Held) -> int:
    """How many bytes denoising a stack takes at most in tiles of a side; as `tile_side`."""
    height = min(side, header.height + network.missing(header.height))
    width = min(side, header.width + network.missing(header.width))
    channels = max(network.channels, header.colours)
    tile = 4 * _ARRAYS * channels * height * width
    if network.shares_memory:
        tile += network.tile_bytes(height, width)
    band = height * header.width * header.samples * header.dtype.itemsize
    working = _FIXED + tile + _BANDS * band
    if header.planes > 1:
        return working + reading.peak + writing.peak
    # One plane is read before the first tile, and encoded after the last.
    return max(_FIXED + reading.peak, working + reading.kept + writing.kept, _FIXED + writing.peak)


def parse_memory(text: str) -> int:
    """Bytes that people mean: `2GB`, `1.5 GiB`, `800M`; a number alone is of bytes.

    k, M, G and T are powers of 1000, with an i before the B of 1024.

    Raises:
        UserError: something else, or nothing at all.
    """
    match = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", text.lower())
    try:
        size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    except (ValueError, KeyError):
        size = 0
    if size <= 0:
        raise UserError(f"{text!r} is no amount of memory; say it like 2GB or 800MB")
    return size


_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _UNITS |= {_letter: 1000**_power, f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


def _in_words(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{-(-size // 10**6)} MB"

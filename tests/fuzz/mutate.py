"""Damage to the bytes of a file, as a stranger or a bad disk would do it."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**62, 2**64 - 1)
"""Where counts, sizes and offsets turn over."""

WORDS = (b"1e400", b"-1", b"NaN", b"null", b"4611686018427387904", b'"x"', b"[" * 9000, b"{}", b"")
"""In place of a number in text."""

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_HEAD = 400  # most of what a reader believes stands within so many bytes of either end


def mutated(samples: list[bytes], rng: random.Random) -> bytes:
    """One of the samples with one to four damages.

    Args:
        samples: whole files of one kind.
        rng: decides everything.
    """
    data = rng.choice(samples)
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(_DAMAGES)(data, samples, rng)
    return data


def mutated_safetensors(samples: list[bytes], rng: random.Random) -> bytes:
    """The same for safetensors, where most damage ends at the header's length: half of the time
    the length follows the damaged header."""
    if rng.randrange(2):
        return mutated(samples, rng)
    data = rng.choice(samples)
    ends = 8 + int.from_bytes(data[:8], "little")
    header = mutated([data[8:ends]], rng)
    return len(header).to_bytes(8, "little") + header + data[ends:]


def _place(data: bytes, rng: random.Random) -> int:
    near_the_front, near_the_end = rng.randrange(3) == 0, rng.randrange(3) == 0
    if near_the_front:
        return rng.randrange(min(len(data), _HEAD) + 1)
    if near_the_end:
        return len(data) - rng.randrange(min(len(data), _HEAD) + 1)
    return rng.randrange(len(data) + 1)


def _flip(data: bytes, samples: list[bytes], rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 4, 32))):
        if changed:
            changed[min(_place(data, rng), len(changed) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, samples: list[bytes], rng: random.Random) -> bytes:
    return data[: _place(data, rng)]


def _remove(data: bytes, samples: list[bytes], rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 4, 64)) :]


def _repeat(data: bytes, samples: list[bytes], rng: random.Random) -> bytes:
    at = _place(data, rng)
    part = data[at : at + rng.choice((1, 8, 200))]
    return data[:at] + part * rng.choice((2, 50)) + data[at:]


def _splice(data: bytes, samples: list[bytes], rng: random.Random) -> bytes:
    other = rng.choice(samples)
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _number(data: bytes, samples: list[bytes], rng: random.Random) -> bytes:
    """An edge case in place of a binary number of 1, 2, 4 or 8 bytes."""
    kind = rng.choice("BHIQ")
    size = struct.calcsize("<" + kind)
    value = rng.choice(EDGES) % 256**size
    at = min(_place(data, rng), max(len(data) - size, 0))
    return data[:at] + struct.pack(rng.choice("<>") + kind, value) + data[at + size :]


def _word(data: bytes, samples: list[bytes], rng: random.Random) -> bytes:
    """An edge case in place of a number that is written out."""
    found = list(_NUMBER.finditer(data[:20_000]))
    if not found:
        return data
    number = rng.choice(found)
    return data[: number.start()] + rng.choice(WORDS) + data[number.end() :]


_DAMAGES: tuple[Callable[[bytes, list[bytes], random.Random], bytes], ...] = (
    _flip,
    _cut,
    _remove,
    _repeat,
    _splice,
    _number,
    _number,
    _word,
    _word,
)

"""What the first bits of a JPEG XL code stream say: sizes, numbers of a pixel, colours.

They are read before anything is decoded, least significant bit first.

Source: ISO/IEC 18181-1, annexes A.2 and D (in the draft: "SizeHeader", "ImageMetadata").
"""

from __future__ import annotations

from dataclasses import dataclass

from noise2noise.files.cicp import Cicp
from noise2noise.files.guard import UnusableError

HEAD = 2**12
"""So many bytes are looked at."""

_RATIOS = ((1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width and height
_SIDES = ((9, 1), (13, 1), (18, 1), (30, 1))
_ENUM = ((0, 0), (0, 1), (4, 2), (6, 18))
_ALPHA, _SPOT, _CFA = 0, 2, 5
_GREY, _XYB = 1, 2
_CUSTOM, _D65, _SRGB, _2100, _P3, _DCI = 2, 1, 1, 9, 11, 11
_PRIMARIES = {(_D65, _SRGB): 1, (_D65, _2100): 9, (_D65, _P3): 12, (_DCI, _P3): 11}

DEFAULT_COLOURS = "1"
"""The bits of "sRGB", for colours."""

Choices = tuple[tuple[int, int], ...]
"""Of a number of variable length: bits of each of the four ways to write it, and what is added."""


@dataclass(frozen=True)
class JxlHeader:
    """What a code stream says.

    Attributes:
        width, height: as stored.
        turned: whether rows and columns change places when it is shown.
        bits: of a number.
        floats: whether numbers are floats.
        grey: whether there is one colour.
        extra: how many numbers a pixel has besides.
        alpha: whether one of them is transparency; `premultiplied` whether colours are multiplied
            by it.
        linear: whether what is decoded isn't what was encoded but light, on a linear scale: colours
            were converted to what eyes see (XYB), and only an ICC profile says what they were.
        cicp: what colours are, as `cicp.py` has it, if it is one of these.
        colours: what says so, as bits, the last one first; None for an ICC profile.
        place: where these bits are, from and to.
    """

    width: int
    height: int
    turned: bool = False
    bits: int = 8
    floats: bool = False
    grey: bool = False
    extra: int = 0
    alpha: bool = False
    premultiplied: bool = False
    linear: bool = False
    cicp: Cicp | None = None
    colours: str | None = DEFAULT_COLOURS
    place: tuple[int, int] = (0, 0)

    @property
    def samples(self) -> int:
        """How many numbers of a pixel are decoded: of channels beside colours or transparency only
        those that stand beside a single grey one."""
        if self.grey and not self.alpha:
            return 1 + self.extra
        return (1 if self.grey else 3) + self.alpha


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._bits, self._place, self._end = int.from_bytes(data, "little"), 0, 8 * len(data)

    def take(self, count: int) -> int:
        self._place += count
        if self._place > self._end:
            raise UnusableError("is damaged (its header has no end); copy or save it again")
        return self._bits >> (self._place - count) & (2**count - 1)

    @property
    def place(self) -> int:
        return self._place

    def between(self, start: int, end: int) -> str:
        """Bits that were taken, the last one first."""
        self._place = end
        return f"{self._bits >> start & (2 ** (end - start) - 1):0{end - start}b}"

    def flag(self) -> bool:
        return bool(self.take(1))

    def number(self, *choices: tuple[int, int]) -> int:
        bits, added = choices[self.take(2)]
        return self.take(bits) + added


def header(stream: bytes) -> JxlHeader:
    """The header of a code stream, with the two bytes that mark it.

    Raises:
        UnusableError: it has no end.
    """
    bits = _Bits(stream[2:HEAD])
    width, height = _size(bits)
    if bits.flag():  # everything as usual
        return JxlHeader(width, height)
    turned = _extras(bits) if bits.flag() else False
    depth, floats = _depth(bits)
    bits.flag()  # whether 16 bits are enough to decode it
    channels = [_channel(bits) for _ in range(bits.number((0, 0), (0, 1), (4, 2), (12, 1)))]
    converted = bits.flag()
    start = bits.place
    grey, cicp, known = _colours(bits)
    end = bits.place
    clear = next((multiplied for kind, multiplied in channels if kind == _ALPHA), None)
    return JxlHeader(
        width,
        height,
        turned,
        depth,
        floats,
        grey,
        len(channels),
        clear is not None,
        clear is True,
        converted and not known,
        cicp,
        bits.between(start, end) if known else None,
        (start, end),
    )


def recoloured(stream: bytes, colours: str) -> bytes:
    """A code stream that was just made, with other words on what its colours are.

    imagecodecs says of everything beyond 8 bits that it is linear.

    Arguments:
        stream: of numbers as they are, without an ICC profile or anything unusual.
        colours: as in a `JxlHeader`.
    """
    found = header(stream)
    start, end = found.place
    if found.colours in (None, colours) or not start:
        return stream
    bits = _Bits(stream[2:HEAD])
    rest = _rest(bits, end)
    length = -(-rest // 8)  # pixels begin with a byte
    before, after = bits.between(0, start), bits.between(end, rest)
    joined = after + colours + before
    head = int(joined, 2).to_bytes(-(-len(joined) // 8), "little")
    return stream[:2] + head + stream[2 + length :]


def _rest(bits: _Bits, place: int) -> int:
    """Where the header ends whose colours end here, and that has nothing unusual after them."""
    bits.between(0, place)
    extended, usual = bits.take(2), bits.flag()
    if extended or not usual:
        raise ValueError("there is more in the header of a new code stream than was asked for")
    return bits.place


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()

    def side() -> int:
        return 8 * (bits.take(5) + 1) if small else bits.number(*_SIDES)

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _extras(bits: _Bits) -> bool:
    """Orientation, and what isn't of interest: another size, a preview, an animation's timing."""
    turned = bits.take(3) >= 4
    if bits.flag():
        _size(bits)
    if bits.flag():
        eighths = bits.flag()
        sides: Choices = ((0, 16), (0, 32), (5, 1), (9, 33))
        sides = sides if eighths else ((6, 1), (8, 65), (10, 321), (12, 1345))
        bits.number(*sides)
        if not bits.take(3):
            bits.number(*sides)
    if bits.flag():
        bits.number((0, 100), (0, 1000), (10, 1), (30, 1))
        bits.number((0, 1), (0, 1001), (8, 1), (10, 1))
        bits.number((0, 0), (3, 0), (16, 0), (32, 0))
        bits.flag()
    return turned


def _depth(bits: _Bits) -> tuple[int, bool]:
    if not bits.flag():
        return bits.number((0, 8), (0, 10), (0, 12), (6, 1)), False
    depth = bits.number((0, 32), (0, 16), (0, 24), (6, 1))
    bits.take(4)
    return depth, True


def _channel(bits: _Bits) -> tuple[int, bool]:
    """The kind of an extra channel, and whether colours are multiplied by it."""
    if bits.flag():
        return _ALPHA, False
    kind = bits.number(*_ENUM)
    _depth(bits)
    bits.number((0, 0), (0, 3), (0, 4), (3, 1))
    bits.take(8 * bits.number((0, 0), (4, 0), (5, 16), (10, 48)))
    multiplied = bits.flag() if kind == _ALPHA else False
    if kind == _SPOT:
        bits.take(64)
    if kind == _CFA:
        bits.number((0, 1), (2, 0), (4, 3), (8, 19))
    return kind, multiplied


def _colours(bits: _Bits) -> tuple[bool, Cicp | None, bool]:
    """Whether there is one colour only, what colours are, and whether all is said in numbers that
    have been read."""
    if bits.flag():
        return False, None, True
    profile, space = bits.flag(), bits.number(*_ENUM)
    grey = space == _GREY
    if profile or space == _XYB:
        return grey, None, False
    white = bits.number(*_ENUM)
    _points(bits, 1 if white == _CUSTOM else 0)
    primaries = _SRGB if grey else bits.number(*_ENUM)
    _points(bits, 3 if primaries == _CUSTOM else 0)
    curve = -bits.take(24) if bits.flag() else bits.number(*_ENUM)
    bits.number(*_ENUM)  # the rendering intent
    common = _PRIMARIES.get((white, primaries))
    return grey, None if common is None or curve < 0 else (common, curve), True


def _points(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.number((19, 0), (19, 2**19), (20, 2**20), (21, 2**21))

"""What the first bits of a JPEG XL say, bit by bit: much of it no encoder at hand writes."""

import base64
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from noise2noise.errors import UserError
from noise2noise.files import bands_of, jxl_header, open_stack, write_stack
from noise2noise.files.guard import UnusableError

Field = tuple[int, int]
"""How many bits, and the number that they hold."""

SQUARE: list[Field] = [(1, 1), (5, 1), (3, 1)]  # 16 rows, and as many columns
UNUSUAL: list[Field] = [*SQUARE, (1, 0)]
NO_EXTRAS: list[Field] = [(1, 0)]
DEEP: list[Field] = [(1, 0), (2, 3), (6, 15), (1, 1)]  # 16 bits a sample
NO_CHANNEL: list[Field] = [(2, 0), (1, 0)]
SRGB: list[Field] = [(1, 1)]
END: list[Field] = [(2, 0), (1, 1)]


def stream(*fields: Field) -> bytes:
    number = place = 0
    for count, value in fields:
        number |= value << place
        place += count
    return b"\xff\x0a" + number.to_bytes(-(-place // 8), "little")


def test_everything_may_be_as_usual():
    assert jxl_header.header(stream(*SQUARE, (1, 1))) == jxl_header.JxlHeader(16, 16)


@pytest.mark.parametrize(
    "between",
    [
        [(1, 0), (1, 0), (1, 0)],
        [(1, 1), *SQUARE, (1, 0), (1, 0)],
        [(1, 0), (1, 1), (1, 1), (2, 2), (5, 3), (3, 1), (1, 0)],
        [(1, 0), (1, 1), (1, 0), (2, 0), (6, 9), (3, 0), (2, 1), (8, 7), (1, 0)],
        [(1, 0), (1, 0), (1, 1), (2, 2), (10, 24), (2, 3), (10, 1), (2, 1), (3, 5), (1, 0)],
    ],
    ids=["nothing", "another size", "a preview", "an oblong preview", "an animation"],
)
@pytest.mark.parametrize("orientation", [3, 4])
def test_what_is_not_of_interest_is_passed_over(between, orientation):
    extras = [(1, 1), (3, orientation), *between]
    found = jxl_header.header(stream(*UNUSUAL, *extras, *DEEP, *NO_CHANNEL, *SRGB))
    assert (found.turned, found.bits, found.samples) == (orientation == 4, 16, 3)


@pytest.mark.parametrize(
    "kind", [[(2, 2), (4, 0)], [(2, 2), (4, 3)]], ids=["a spot colour", "a mosaic"]
)
def test_channels_of_other_kinds_and_grey_of_its_own_white(kind):
    named = [(1, 0), *kind, (1, 0), (2, 0), (2, 0), (2, 1), (4, 1), (8, 97)]
    rest = [(64, 2**63)] if kind[1] == (4, 0) else [(2, 1), (2, 2)]
    white = [(1, 0), (1, 0), (2, 1), (2, 2), (4, 0), (2, 0), (19, 5), (2, 3), (21, 7)]
    curve = [(1, 0), (2, 2), (4, 11), (2, 0)]
    found = jxl_header.header(
        stream(*UNUSUAL, *NO_EXTRAS, *DEEP, (2, 1), *named, *rest, (1, 0), *white, *curve)
    )
    assert (found.extra, found.alpha, found.grey, found.cicp) == (1, False, True, None)
    assert found.samples == 2


def test_a_header_without_an_end_is_refused():
    with pytest.raises(UnusableError, match="its header has no end"):
        jxl_header.header(stream(*SQUARE))


def test_colours_are_not_changed_where_more_follows_than_was_written():
    said = [*UNUSUAL, *NO_EXTRAS, *DEEP, *NO_CHANNEL, *SRGB]
    assert jxl_header.recoloured(stream(*said, *END), "1") == stream(*said, *END)
    with pytest.raises(ValueError, match="more in the header"):
        jxl_header.recoloured(stream(*said, (2, 1), (1, 1)), "10")


def test_integers_of_more_than_16_bits_are_refused(tmp_path: Path):
    wide = [(1, 0), (2, 3), (6, 23), (1, 1)]
    said = stream(*UNUSUAL, *NO_EXTRAS, *wide, *NO_CHANNEL, *SRGB, *END)
    (tmp_path / "a.jxl").write_bytes(said + bytes(99))
    with pytest.raises(UserError, match="has 24 bits a sample; save it with 8 or 16 bits"):
        open_stack(tmp_path / "a.jxl")


def test_a_box_may_say_its_length_in_64_bits(tmp_path: Path):
    pixels = np.arange(99, dtype=np.uint8).reshape(9, 11)
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=True)
    place = data.index(b"jxlc") - 4
    (length,) = struct.unpack_from(">I", data, place)
    length = length or len(data) - place
    head = struct.pack(">I4sQ", 1, b"jxlc", length + 8)
    (tmp_path / "a.jxl").write_bytes(data[:place] + head + data[place + 8 :])
    with open_stack(tmp_path / "a.jxl") as stack:
        np.testing.assert_array_equal(stack.read()[..., 0], pixels)


# 24 x 16 pixels, 20 + 9 x of red, 20 + 12 y of green and 150 of blue, with a profile whose curve is
# a table of five, packed with loss by libjxl 0.11.2.
OF_A_TABLE = (
    "/woDQQofDQMS5gFQ1TDmYoua1/HQb/ElXoJmhZZ/gkuQufURdp8MulgcTtl5BO48JEZrJ2Q0Gm2dhc8HgKyjrTMC"
    "fMW9amYsc2fKATDg/8LSiu85DHWdWGXZWclDIUDR2lRWOs1Ulz/yfsn5SA5kWcc3wNFX2FzZ1FNUOizA2tkyQFPZ"
    "0lLWHGqv9bPVTtM4QwW41dt//52nvK13Au0X0n//3TfUf//tVwTPcqHAV7qcLfApCS7tQ0g/MC8BausQQuuAgtLe"
    "eS+8EpARZFdgT8X33z/8eg4AE4gCAKQBtZ8gAAAVKqOMG7yc6/nyQ4fFtI3rDG21bWEJY7O9MEhIoUSgnsGcquXO"
    "m69AXVt3m1QqLfZOG7fo9bJbNvIMjcOYAEAliTREXWz29l2FiN71Xc9Ep1BAgQDI2pWCgYS5/85VJgTp15ww"
)


def test_what_is_decoded_as_light_becomes_what_the_profile_showed(tmp_path: Path):
    (tmp_path / "a.jxl").write_bytes(base64.b64decode(OF_A_TABLE))
    with open_stack(tmp_path / "a.jxl") as stack:
        assert stack.header.notes == (
            "its colours are sRGB's now, since its colour profile can't be read",
        )
        shown = stack.read().mean((0, 1))
        write_stack(tmp_path / "b.jxl", stack.header, bands_of(stack))
    np.testing.assert_allclose(shown, [147.7, 145.3, 179.7], atol=1)  # as Little CMS has them
    with open_stack(tmp_path / "b.jxl") as stack:
        assert (stack.header.notes, stack.header.metadata.cicp) == ((), None)


@pytest.mark.parametrize(
    ("white", "primaries", "curve", "cicp"),
    [(1, 1, 13, (1, 13)), (1, 11, 13, (12, 13)), (1, 9, 16, (9, 16)), (11, 11, 17, (11, 17))],
)
def test_colours_that_have_a_number(white, primaries, curve, cicp):
    def enum(value: int) -> list[Field]:
        return [(2, value)] if value < 2 else [(2, 2), (4, value - 2)]

    def long(value: int) -> list[Field]:
        return enum(value) if value < 18 else [(2, 3), (6, value - 18)]

    said = [(1, 0), (1, 0), *enum(0), *enum(white), *enum(primaries), (1, 0), *long(curve)]
    found = jxl_header.header(stream(*UNUSUAL, *NO_EXTRAS, *DEEP, *NO_CHANNEL, *said, *enum(1)))
    assert found.cicp == cicp


# Made by libjxl 0.11.2, without loss: red, green, blue, a map of depth and transparency; grey and a
# map of depth; colours of 50 that are multiplied by a transparency of 100.
WITH_A_MAP = "/wrBQUGAEghAAAEAqABLGJOOg4MAqBXFKFG8wAQAAiBywg2ATAHaJ+CQqAEQCG45yLhbtv4B4AQ="
GREY_WITH_A_MAP = "/wrBwQRAcSMIEBAAkABLGJOOg4MAKBUjFaN0gQMACIBwHEEE9JDz0Ga8g7TR6F8d2Cg="
MULTIPLIED = "/wpBwAAoAQgQEABMAEsYixUAlBdj0N0BOJxaBACeJJE="


def test_of_other_channels_those_that_are_decoded_are_there(tmp_path: Path):
    (tmp_path / "a.jxl").write_bytes(base64.b64decode(WITH_A_MAP))
    expected = np.full((8, 16, 4), [10, 20, 30, 200], np.uint8)
    expected[4:, :, 0], expected[:, 8:, 3] = 40, 90
    with open_stack(tmp_path / "a.jxl") as stack:
        assert (stack.header.colour, stack.header.alpha) == ("rgb", "straight")
        assert stack.header.notes == ("1 other channel left out",)
        np.testing.assert_array_equal(stack.read(), expected)
    (tmp_path / "b.jxl").write_bytes(base64.b64decode(GREY_WITH_A_MAP))
    expected = np.zeros((8, 16, 2), np.uint8)
    expected[4:, :, 0], expected[:, 8:, 1] = 40, 90
    with open_stack(tmp_path / "b.jxl") as stack:
        assert (stack.header.colour, stack.header.notes) == ("channels", ())
        np.testing.assert_array_equal(stack.read(), expected)


def test_colours_that_are_multiplied_by_transparency_are_divided_by_it(tmp_path: Path):
    (tmp_path / "a.jxl").write_bytes(base64.b64decode(MULTIPLIED))
    with open_stack(tmp_path / "a.jxl") as stack:
        assert stack.header.notes == ("its colours are no longer multiplied by its transparency",)
        assert stack.header.alpha == "straight"
        np.testing.assert_array_equal(stack.read()[0, 0], [128, 128, 128, 100])

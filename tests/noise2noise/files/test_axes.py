"""Axes in any order: which planes there are, what their samples mean, and how they go back."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile

from noise2noise.errors import UserError
from noise2noise.files import Axes, bands_of, open_stack, write_stack

SIZES = {"T": 2, "Z": 3, "C": 4, "S": 3, "Y": 5, "X": 6, "Q": 2, "I": 2}


def array(axes: str) -> np.ndarray:
    shape = tuple(SIZES[letter] for letter in axes)
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def orders() -> list[str]:
    short = [
        "".join(order) for count in (2, 3) for order in itertools.permutations("TCSYX", count + 1)
    ]
    full = ["TZCYXS", "QITZCYX", "XYCZT", "SYXTZ", "IZYXC", "YX", "XY", "YXS"]
    return full + [order for order in short if {"Y", "X"} <= set(order)]


@pytest.mark.parametrize("letters", orders())
def test_planes_of_every_order(letters):
    pixels = array(letters)
    axes = Axes(letters, pixels.shape)
    samples = "S" if "S" in letters else letters[-1] if letters[-1] == "C" else ""
    leading = "".join(each for each in letters if each not in "YX" + samples)
    expected = np.einsum(f"{letters}->{leading}YX{samples}", pixels)
    expected = expected.reshape(axes.planes, 5, 6, -1)
    assert axes.letters == f"{leading}YX" + "S" * len(samples)
    again = np.zeros_like(pixels)
    for plane in range(axes.planes):
        place = axes.window(plane, slice(1, 4), slice(2, 6))
        window = axes.from_stored(pixels[place])
        np.testing.assert_array_equal(window, expected[plane, 1:4, 2:6])
        again[place] = axes.to_stored(window)
    changed = again[again > 0]
    assert changed.size == axes.planes * 3 * 4 * expected.shape[-1]
    np.testing.assert_array_equal(again[again > 0], pixels[again > 0])


@pytest.mark.parametrize("letters", ["TZYX", "YXTZ", "XYS", "SYX", "YXC", "CZYX", "QQIYX"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f8"])
def test_npy_in_any_order_comes_back_as_it_was(tmp_path, letters, dtype):
    shape = tuple(SIZES[letter] for letter in letters)
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    with open_stack(tmp_path / "a.npy", axes=letters.lower()) as stack:
        assert stack.header.axes.startswith(Axes(letters, shape).letters)
        write_stack(tmp_path / "b.npy", stack.header, bands_of(stack, 2))
    result = np.load(tmp_path / "b.npy")
    assert result.dtype == pixels.dtype
    np.testing.assert_array_equal(result, pixels)


@pytest.mark.parametrize(
    ("letters", "colour"),
    [("SYX", "rgb"), ("CYX", "grey"), ("YXS", "rgb"), ("YXC", "channels"), ("TYX", "grey")],
)
def test_samples_of_a_colour_and_channels_of_a_micrograph_are_told_apart(tmp_path, letters, colour):
    shape = tuple(3 if letter in "SCT" else 7 for letter in letters)
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with open_stack(tmp_path / "a.npy", axes=letters) as stack:
        assert (stack.header.colour, stack.header.planes) == (
            colour,
            3 if colour == "grey" else 1,
        )


@pytest.mark.parametrize(("place", "axes"), [(0, "SYX"), (1, "YSX"), (2, "YXS"), (-3, "SYX")])
def test_the_channel_axis_of_an_array(tmp_path, place, axes):
    np.save(tmp_path / "a.npy", np.zeros((3, 3, 3), np.uint8))
    with open_stack(tmp_path / "a.npy", channel_axis=place) as stack:
        assert (stack.axes, stack.header.axes, stack.header.colour) == (axes, "YXS", "rgb")


def test_the_rest_of_an_array_with_a_channel_axis_is_a_stack(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 2, 8, 9), np.uint8))
    with open_stack(tmp_path / "a.npy", channel_axis=1) as stack:
        assert (stack.axes, stack.header.shape) == ("TSYX", (4, 8, 9, 2))
        assert stack.header.colour == "channels"


def test_pages_of_a_tiff_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 8, 9), np.uint8), photometric="minisblack")
    with open_stack(tmp_path / "a.tif", axes="CYX") as stack:
        assert stack.header.axes == "CYX"


def test_stains_in_the_samples_of_an_rgb_file_are_kept_apart(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    with open_stack(tmp_path / "a.tif", axes="YXC") as stack:
        assert stack.header.colour == "channels"
        write_stack(tmp_path / "b.tif", stack.header, bands_of(stack))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.series[0].shape == (8, 9, 3)


def test_rows_are_no_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 8, 9), np.uint8), photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif is its Y axis \(QYX\); name another one, or all"):
        open_stack(tmp_path / "a.tif", channel_axis=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": "TZWX"}, r"--axes TZWX: 'W' is no axis; use letters of T, Z, C, S"),
        ({"axes": "TTYX"}, "--axes TTYX: T is there twice; name each axis once"),
        ({"axes": "TZCX"}, "--axes TZCX: Y is missing; name each axis once, Y and X among"),
        ({"axes": "TZYX"}, r"a\.\w+ has 3 axes \(3 x 8 x 9\), and --axes TZYX names 4; name all"),
        ({"channel_axis": 3}, r"3 axes \(\w+\), so --channel-axis must lie in -3 to 2, got 3"),
        ({"channel_axis": -4}, r"so --channel-axis must lie in -3 to 2, got -4"),
        ({"axes": "TYX", "channel_axis": 0}, "--axes TYX names the channels already; leave"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "tif"])
def test_axes_that_can_not_be_are_refused(tmp_path: Path, suffix, options, message):
    path = tmp_path / f"a.{suffix}"
    pixels = np.zeros((3, 8, 9), np.uint8)
    np.save(path, pixels) if suffix == "npy" else tifffile.imwrite(
        path, pixels, photometric="minisblack"
    )
    with pytest.raises(UserError, match=message):
        open_stack(path, **options)


@pytest.mark.parametrize("axes", ["YXT", "YTX", "CXY"])
def test_pixels_of_pages_stay_where_they_are(tmp_path, axes):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 8, 9), np.uint8), photometric="minisblack")
    with pytest.raises(UserError, match=rf"--axes {axes} has others last than YX; only the"):
        open_stack(tmp_path / "a.tif", axes=axes)

"""CMYK and Lab: seen as colours, written as inks again where the format holds them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from noise2noise.files import bands_of, open_stack, result_of, write_stack
from noise2noise.files.survey import survey
from tests.noise2noise.files.made import ink_profile

Change = Callable[[np.ndarray], np.ndarray]


def written(source: Path, suffix: str, change: Change = lambda band: band) -> Path:
    """The file written in the format of the suffix, its bands changed as denoising would do it."""
    target = source.with_name(f"result{suffix}")
    with open_stack(source) as stack:
        result = result_of(target, stack)
        bands = result.bands((change(band) for band in bands_of(stack, 5)), survey(stack))
        write_stack(target, result.header, bands)
    return target


def noise(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, shape, dtype, endpoint=True)


def inks(path: Path, pixels: np.ndarray, profile: bytes | None = None) -> Path:
    options = {"iccprofile": profile or ink_profile(), "photometric": "separated"}
    tifffile.imwrite(path, pixels, metadata=None, **options)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_inks_that_denoising_leaves_alone_stay_bit_for_bit(tmp_path, dtype):
    pixels = noise((9, 12, 4), dtype)
    source = inks(tmp_path / "a.tif", pixels)
    with open_stack(source) as stack:
        assert (stack.header.colour, stack.header.samples) == ("rgb", 3)
        assert "its inks were denoised as RGB" in stack.header.notes
    result = written(source, ".tif")
    np.testing.assert_array_equal(tifffile.imread(result), pixels)
    with tifffile.TiffFile(result) as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.SEPARATED
        assert file.pages.first.iccprofile == ink_profile()


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_what_was_changed_is_seen_in_the_inks(tmp_path, suffix):
    """A grey that gets darker gets more ink, all of it black by this profile."""
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[..., 3] = 100
    source = inks(tmp_path / "a.tif", pixels)
    result = written(source, suffix, lambda band: 0.8 * band)
    cyan, magenta, yellow, black = np.asarray(PIL.Image.open(result)).mean((0, 1))
    assert max(cyan, magenta, yellow) < 8
    assert 110 < black < 150


def test_black_text_stays_black_ink(tmp_path):
    """A conversion of the whole picture would mix it from four inks."""
    pixels = np.zeros((9, 12, 4), np.uint8)
    pixels[2:4, 3:9, 3] = 255
    source = inks(tmp_path / "a.tif", pixels)

    def change(band: np.ndarray) -> np.ndarray:
        band = band.copy()
        band[:, -1] *= 0.5  # elsewhere
        return band

    result = tifffile.imread(written(source, ".tif", change))
    np.testing.assert_array_equal(result[:, :-1], pixels[:, :-1])
    assert result[:, -1].any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_where_inks_have_no_place_there_is_srgb(tmp_path, dtype):
    pixels = np.zeros((9, 12, 4), dtype)
    pixels[..., 0] = np.iinfo(dtype).max  # cyan
    result = written(inks(tmp_path / "a.tif", pixels), ".png")
    image = PIL.Image.open(result)
    red, green, blue = np.asarray(image)[0, 0].tolist()
    assert red < 80
    assert min(green, blue) > 240
    assert b"RGB" in image.info["icc_profile"][:24]


@pytest.mark.parametrize("profile", [b"", b"x" * 200])
def test_inks_without_a_profile_are_denoised_one_by_one(tmp_path, profile):
    pixels = noise((9, 12, 4))
    PIL.Image.fromarray(pixels, "CMYK").save(tmp_path / "a.tif", icc_profile=profile)
    with open_stack(tmp_path / "a.tif") as stack:
        assert stack.header.colour == "cmyk"
        assert any("no profile" in note for note in stack.header.notes)
    np.testing.assert_array_equal(tifffile.imread(written(tmp_path / "a.tif", ".tif")), pixels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("kind", ["cielab", "icclab"])
def test_lab_stays_bit_for_bit_too(tmp_path, kind, dtype):
    pixels = noise((9, 12, 3), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=kind, metadata=None)
    result = written(tmp_path / "a.tif", ".tif")
    np.testing.assert_array_equal(tifffile.imread(result), pixels)
    with tifffile.TiffFile(result) as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC[kind.upper()]


def test_lab_is_seen_as_the_colour_that_it_is(tmp_path):
    lab = np.array([[[255, 0, 0], [0, 0, 0], [138, 81, 70]]], np.uint8)  # L 54, a 81, b 70: red
    tifffile.imwrite(tmp_path / "a.tif", lab, photometric="cielab", metadata=None)
    with open_stack(tmp_path / "a.tif") as stack:
        white, black, red = stack.read()[0]
    assert white == pytest.approx([1, 1, 1], abs=0.01)
    assert black == pytest.approx([0, 0, 0], abs=0.01)
    assert red == pytest.approx([1, 0, 0], abs=0.06)


def test_pages_of_inks_are_finished_plane_by_plane(tmp_path):
    pixels = noise((3, 9, 12, 4))
    options = {"iccprofile": ink_profile(), "photometric": "separated"}
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=None, **options)
    np.testing.assert_array_equal(tifffile.imread(written(tmp_path / "a.tif", ".tif")), pixels)


def test_transparency_of_inks_stays(tmp_path):
    pixels = noise((9, 12, 5))
    path = tmp_path / "a.tif"
    options = {"iccprofile": ink_profile(), "photometric": "separated"}
    tifffile.imwrite(path, pixels, extrasamples=["unassalpha"], metadata=None, **options)

    def halved(band: np.ndarray) -> np.ndarray:
        return np.concatenate([0.5 * band[..., :3], band[..., 3:]], -1)

    with open_stack(path) as stack:
        assert (stack.header.colour, stack.header.alpha) == ("rgb", "straight")
    place = written(path, ".tif", halved)
    result = tifffile.imread(place)
    np.testing.assert_array_equal(result[..., 4], pixels[..., 4])
    with tifffile.TiffFile(place) as file:
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.SEPARATED

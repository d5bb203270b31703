"""Pages that are samples of a pixel: denoised together, written as pages again."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import Wanted, bands_of, open_stack, result_of, survey, write_stack
from noise2noise.inference import Settings


def pages(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(9, 200, shape).astype(dtype)


def write(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None)


def written(source: Path, target: Path, wanted: Wanted | None = None, **said) -> Path:
    with open_stack(source, **said) as stack:
        result = result_of(target, stack, wanted)
        bands = result.bands(bands_of(result.source(stack), 5), survey(stack))
        write_stack(target, result.header, bands)
    return target


@pytest.mark.parametrize("said", [{"axes": "SYX"}, {"channel_axis": 0}, {"channel_axis": -3}])
def test_pages_are_colours_and_stay_pages(tmp_path, said):
    pixels = pages(3, 17, 21)
    write(tmp_path / "a.tif", pixels)
    with open_stack(tmp_path / "a.tif", **said) as stack:
        assert (stack.header.colour, stack.header.planes, stack.header.axes) == ("rgb", 1, "YXS")
        window = stack.read(0, slice(2, 9), slice(3, 5))
        np.testing.assert_array_equal(window, pixels.transpose(1, 2, 0)[2:9, 3:5])
    again = tifffile.imread(written(tmp_path / "a.tif", tmp_path / "b.tif", **said))
    np.testing.assert_array_equal(again, pixels)


def test_formats_without_pages_get_a_colour_image(tmp_path):
    pixels = pages(3, 17, 21)
    write(tmp_path / "a.tif", pixels)
    result = written(tmp_path / "a.tif", tmp_path / "b.png", axes="SYX")
    with PIL.Image.open(result) as file:
        np.testing.assert_array_equal(np.asarray(file), pixels.transpose(1, 2, 0))


@pytest.mark.parametrize("axes", ["SZYX", "ZSYX"])
def test_stacks_of_colours(tmp_path, axes):
    pixels = pages(3, 3, 9, 11)
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "ZCYX"})
    with open_stack(tmp_path / "a.tif", axes=axes) as stack:
        assert (stack.header.axes, stack.header.planes) == ("ZYXS", 3)
        expected = np.einsum(f"{axes}->ZYXS", pixels)
        np.testing.assert_array_equal(stack.read(2), expected[2])
    result = written(tmp_path / "a.tif", tmp_path / "b.tif", axes=axes)
    np.testing.assert_array_equal(tifffile.imread(result), pixels)


def test_another_dtype_stretches_what_is_there_and_not_more(tmp_path):
    """Results with a way of their own were once taken to have all of their range."""
    pixels = pages(3, 17, 21, dtype="uint16") * np.uint16(20)
    write(tmp_path / "a.tif", pixels)
    said = {"axes": "SYX", "white": 4095}
    result = written(tmp_path / "a.tif", tmp_path / "b.tif", Wanted("uint8"), **said)
    np.testing.assert_array_equal(tifffile.imread(result), np.rint(pixels * (255 / 4095)))


def test_colours_are_denoised_together(tmp_path, make_model):
    write(tmp_path / "a.tif", pages(3, 17, 21))
    np.save(tmp_path / "a.npy", pages(3, 17, 21))
    denoiser = Denoiser.load(make_model(width=4, depth=1, channels=3))
    for name in ("a.tif", "a.npy"):
        with open_stack(tmp_path / name, axes="SYX") as stack:
            denoiser.denoise_stack(stack, tmp_path / f"b{name[1:]}", Settings(tile=None))
    together = np.load(tmp_path / "b.npy")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), together)
    assert (together != pages(3, 17, 21)).any()


def test_samples_that_are_there_already_stay(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pages(4, 9, 11, 3), photometric="rgb")
    with pytest.raises(UserError, match=r"there twice|others last"):
        open_stack(tmp_path / "a.tif", axes="SYXC")

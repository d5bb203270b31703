"""Cameras' raw files: denoised in the mosaic, developed as LibRaw does."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import bands_of, open_stack, raw, result_name, result_of, write_stack
from noise2noise.files.survey import survey
from tests.noise2noise.files.made import write_dng

rawpy = pytest.importorskip("rawpy")


def mosaic(height: int = 64, width: int = 98) -> np.ndarray:
    return np.random.default_rng(0).integers(600, 16000, (height, width), np.uint16)


def written(source: Path, target: Path, factor: float = 1) -> Path:
    with open_stack(source) as stack:
        result = result_of(target, stack)
        bands = result.bands((factor * band for band in bands_of(stack, 7)), survey(stack))
        write_stack(target, result.header, bands)
    return target


def developed(path: Path, **options: object) -> np.ndarray:
    with rawpy.imread(str(path)) as raw:
        return raw.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            user_flip=0,
            gamma=(2.4, 12.92),
            **options,
        )


@pytest.mark.parametrize("size", [(64, 98), (63, 97), (64, 97)])
def test_pixels_that_denoising_leaves_alone_are_developed_as_ever(tmp_path, size):
    write_dng(tmp_path / "a.dng", mosaic(*size))
    result = written(tmp_path / "a.dng", tmp_path / "a.tif")
    expected = developed(tmp_path / "a.dng", output_bps=16)
    np.testing.assert_array_equal(tifffile.imread(result), expected)


def test_planes_are_the_light_of_one_colour_each(tmp_path):
    pixels = mosaic()
    write_dng(tmp_path / "a.dng", pixels, black=512, white=16383)
    with open_stack(tmp_path / "a.dng") as stack:
        assert (stack.header.axes, stack.header.shape) == ("CYX", (4, 32, 49))
        blue = stack.read(3, slice(2, 9), slice(1, 4))[..., 0]
    expected = (pixels[1::2, 1::2].astype(float)[2:9, 1:4] - 512) / (16383 - 512)
    np.testing.assert_allclose(blue, expected, atol=1e-6)


def test_what_denoising_makes_of_the_mosaic_is_what_is_developed(tmp_path):
    """Half of the light in each pixel is half of the light in the picture."""
    write_dng(tmp_path / "a.dng", mosaic())
    write_dng(tmp_path / "half.dng", np.rint(512 + (mosaic() - 512.0) / 2).astype(np.uint16))
    result = written(tmp_path / "a.dng", tmp_path / "a.tif", factor=0.5)
    expected = developed(tmp_path / "half.dng", output_bps=16)
    np.testing.assert_allclose(tifffile.imread(result).astype(float), expected, atol=8)


@pytest.mark.parametrize("suffix", ["tif", "bmp"])
def test_what_the_camera_has_made_colours_of_is_denoised_after_it(tmp_path, suffix):
    write_dng(tmp_path / "a.dng", np.stack([mosaic(), mosaic() // 2, mosaic() // 4], -1))
    with open_stack(tmp_path / "a.dng") as stack:
        assert (stack.header.axes, stack.header.notes) == ("YXS", ("denoised after demosaicing",))
    result = written(tmp_path / "a.dng", tmp_path / f"b.{suffix}")
    bits = 16 if suffix == "tif" else 8
    found = tifffile.imread(result) if bits == 16 else np.asarray(PIL.Image.open(result))
    expected = developed(tmp_path / "a.dng", output_bps=bits)
    assert found.dtype == expected.dtype
    assert np.abs(found.astype(int) - expected).max() <= 2**bits // 128


def test_black_that_is_brighter_than_white_is_damage(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic(), black=16383, white=512)
    with pytest.raises(UserError, match="its black is brighter than its white"):
        open_stack(tmp_path / "a.dng")


def test_formats_of_8_bits_get_8(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic())
    result = written(tmp_path / "a.dng", tmp_path / "a.bmp")
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(result)), developed(tmp_path / "a.dng"))


def test_camera_orientation_and_profile_are_in_the_result(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic())
    result = written(tmp_path / "a.dng", tmp_path / "a.tif")
    with tifffile.TiffFile(result) as file:
        tags = {tag.code: tag.value for tag in file.pages.first.tags}
    assert (tags[271], tags[272], tags[274]) == ("Maker", "Camera", 6)
    profile = PIL.ImageCms.ImageCmsProfile(io.BytesIO(tags[34675]))
    assert "sRGB" in PIL.ImageCms.getProfileDescription(profile)


def test_the_denoiser_takes_noise_out_of_it(tmp_path):
    """Flat grey with noise: what comes out varies less, and is as bright."""
    rng = np.random.default_rng(0)
    light = np.tile([[2000.0, 4000.0], [4000.0, 2400.0]], (48, 48))
    noisy = np.rint(512 + light + rng.normal(0, 200, light.shape)).astype(np.uint16)
    write_dng(tmp_path / "a.dng", noisy)
    with open_stack(tmp_path / "a.dng") as stack:
        Denoiser.load("grey").denoise_stack(stack, tmp_path / "a.tif")
    before = developed(tmp_path / "a.dng", output_bps=16).astype(float)
    after = tifffile.imread(tmp_path / "a.tif").astype(float)
    assert (after.std((0, 1)) < 0.4 * before.std((0, 1))).all()
    np.testing.assert_allclose(after.mean((0, 1)), before.mean((0, 1)), rtol=0.02)


def test_results_of_raw_files_are_tiff():
    assert result_name("in/IMG_1.NEF", "IMG_1_denoised") == "IMG_1_denoised.tif"
    assert result_name("in/IMG_1.JPG", "IMG_1_denoised") == "IMG_1_denoised.JPG"


def test_raw_files_are_not_written(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic())
    with pytest.raises(UserError, match=r"can only be read; end the name in \.tif"):
        written(tmp_path / "a.dng", tmp_path / "b.dng")


def test_a_mosaic_of_absurd_size_is_refused_before_it_is_decoded(tmp_path):
    write_dng(tmp_path / "a.dng", mosaic())
    data = bytearray((tmp_path / "a.dng").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.dng") as file:
        for code in (256, 257):
            tag = file.pages.first.tags[code]
            data[tag.valueoffset : tag.valueoffset + 4] = (60_000).to_bytes(4, "little")
    (tmp_path / "a.dng").write_bytes(data)
    with pytest.raises(UserError, match=r"\d pixels, more than|more pixels than LibRaw"):
        open_stack(tmp_path / "a.dng")


def test_without_rawpy_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    write_dng(tmp_path / "a.dng", mosaic())
    with pytest.raises(UserError, match=r"needs rawpy; .* pip install 'noise2noise\[raw\]'"):
        open_stack(tmp_path / "a.dng")


def test_libraw_has_no_word_of_its_own_and_others_keep_theirs(tmp_path, capfd, monkeypatch):
    write_dng(tmp_path / "a.dng", mosaic())
    cut = (tmp_path / "a.dng").read_bytes()[:-4000]
    (tmp_path / "a.dng").write_bytes(cut)
    imread = rawpy.imread

    def talkative(path: str) -> object:
        os.write(2, b"75 %\n")
        return imread(path)

    monkeypatch.setattr(rawpy, "imread", talkative)
    with pytest.raises(UserError, match="damaged"):
        open_stack(tmp_path / "a.dng")
    assert capfd.readouterr().err == "75 %\n"


def test_what_libraw_calls_too_big_is_told_so(tmp_path, monkeypatch):
    def too_big(*arguments: object) -> object:
        raise rawpy.LibRawTooBigError

    write_dng(tmp_path / "a.dng", mosaic())
    monkeypatch.setattr(raw, "_opened", too_big)
    with pytest.raises(UserError, match="more pixels than LibRaw decodes"):
        open_stack(tmp_path / "a.dng")

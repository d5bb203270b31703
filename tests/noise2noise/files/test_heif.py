"""HEIF: bits, sampling of colour, turned pictures, what is left out."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from noise2noise.errors import UserError
from noise2noise.files import bands_of, open_stack, result_of, survey, write_stack

pillow_heif: Any = pytest.importorskip("pillow_heif")


def waves(height: int, width: int, samples: int) -> np.ndarray:
    ramp = np.linspace(0, 9, height * width * samples).reshape(height, width, samples)
    return np.rint(128 + 90 * np.sin(ramp)).astype(np.uint8)


def make(path: Path, pixels: np.ndarray, **options: Any) -> None:
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    size = (pixels.shape[1], pixels.shape[0])
    pillow_heif.from_bytes(mode, size, pixels.tobytes()).save(path, **options)


def written(source: Path, target: Path) -> Path:
    with open_stack(source) as stack:
        result = result_of(target, stack)
        bands = result.bands(bands_of(result.source(stack), 5), survey(stack))
        write_stack(target, result.header, bands)
    return target


def test_a_picture_that_is_to_be_turned_is_turned_once(tmp_path):
    block = PIL.Image.Exif()
    block[274], block[271] = 6, "Phone works"
    make(tmp_path / "a.heic", waves(24, 40, 3), exif=block.tobytes(), quality=-1)
    with open_stack(tmp_path / "a.heic") as stack:
        assert stack.header.shape == (40, 24, 3)
    seen = np.asarray(pillow_heif.open_heif(tmp_path / "a.heic"))
    for name in ("b.heic", "b.png"):
        written(tmp_path / "a.heic", tmp_path / name)
    again = np.asarray(pillow_heif.open_heif(tmp_path / "b.heic"))
    assert abs(again.astype(int) - seen).mean() < 4
    with PIL.Image.open(tmp_path / "b.png") as png:
        assert png.size == (24, 40)
        assert (png.getexif()[274], png.getexif()[271]) == (1, "Phone works")


@pytest.mark.parametrize("chroma", [420, 422, 444])
def test_colour_is_sampled_as_it_was(tmp_path, chroma):
    make(tmp_path / "a.heic", waves(32, 32, 3), chroma=chroma)
    written(tmp_path / "a.heic", tmp_path / "b.heic")
    assert pillow_heif.open_heif(tmp_path / "b.heic").info["chroma"] == chroma


def test_other_pictures_and_maps_are_named(tmp_path):
    file = pillow_heif.from_bytes("RGB", (32, 32), waves(32, 32, 3).tobytes())
    file.add_from_pillow(PIL.Image.new("RGB", (32, 32)))
    file.save(tmp_path / "a.heic")
    with open_stack(tmp_path / "a.heic") as stack:
        assert stack.header.notes == ("1 other picture left out",)
        assert stack.header.planes == 1


def test_from_other_formats_and_to_them(tmp_path):
    PIL.Image.fromarray(waves(32, 40, 4)).save(tmp_path / "a.png")
    written(tmp_path / "a.png", tmp_path / "a.heic")
    pixels = np.asarray(pillow_heif.open_heif(tmp_path / "a.heic"))
    np.testing.assert_array_equal(pixels, waves(32, 40, 4))
    PIL.Image.fromarray(waves(32, 40, 4)[..., :2], "LA").save(tmp_path / "b.png")
    written(tmp_path / "b.png", tmp_path / "b.heic")
    written(tmp_path / "a.heic", tmp_path / "a.tif")


def test_deep_pixels_of_other_formats_have_no_place(tmp_path):
    PIL.Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="HEIF can't hold 16-bit grey pixels here"):
        written(tmp_path / "a.png", tmp_path / "a.heic")


def test_a_file_that_ends_too_early_is_refused(tmp_path):
    make(tmp_path / "a.heic", waves(64, 64, 3))
    (tmp_path / "cut.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:-300])
    with pytest.raises(UserError, match="damaged or cut short"):
        written(tmp_path / "cut.heic", tmp_path / "b.heic")


def test_without_pillow_heif_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    make(tmp_path / "a.heic", waves(8, 8, 3))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError, match=r"needs pillow_heif; .* pip install 'noise2noise\[heif\]'"):
        open_stack(tmp_path / "a.heic")

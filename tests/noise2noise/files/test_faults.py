"""Small files that were once taken wrongly, each in a folder of the development data whose README
says what is right; what is found in them is told by other libraries."""

from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from noise2noise import denoise
from noise2noise.data import FolderPairs
from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import open_stack
from noise2noise.inference import Settings
from tests.noise2noise.files.test_metadata import chunks_of


@pytest.fixture
def faults(shared) -> Path:
    return shared / "data" / "faults"


@pytest.fixture
def result_of(make_model, tmp_path):
    """result_of(path): of a small network, at full strength."""
    denoiser = Denoiser.load(make_model(width=4, depth=1, channels=1))

    def work(path: Path) -> Path:
        out = tmp_path / path.name
        with open_stack(path) as stack:
            denoiser.denoise_stack(stack, out, Settings())
        return out

    return work


def decoded(path: Path) -> np.ndarray:
    """The pixels, as libraries other than ours have them."""
    if path.suffix == ".tif":
        return tifffile.imread(path)
    codec = imagecodecs.png_decode if path.suffix == ".png" else imagecodecs.jpeg8_decode
    return codec(path.read_bytes())


def same_scene(before: np.ndarray, after: np.ndarray) -> None:
    """All but the noise is there: kind, shape, and the values but for what a network changes."""
    assert (after.dtype, after.shape) == (before.dtype, before.shape)
    old, new = before.astype(np.float64), after.astype(np.float64)
    assert 0 < np.abs(new - old).mean() < 0.2 * np.ptp(old)
    assert abs(new.mean() - old.mean()) < 0.1 * np.ptp(old)


@pytest.mark.parametrize("name", ["ancillary_crc.png", "ztxt_2MB.png", "zstd.tif"])
def test_what_every_viewer_opens_is_read(faults, result_of, name):
    path = faults / "called-damaged" / name
    same_scene(decoded(path), decoded(result_of(path)))


def test_a_palette_of_one_bit_becomes_the_colours_that_it_shows(faults, result_of):
    path = faults / "called-damaged" / "pal1.tif"
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        shown = page.colormap[:, page.asarray().astype(int)]  # type: ignore[index]
    same_scene((shown.transpose(1, 2, 0) >> 8).astype(np.uint8), decoded(result_of(path)))


def test_a_dicom_without_an_image_is_not_called_damaged(faults):
    pytest.importorskip("pydicom")
    with pytest.raises(UserError, match="holds no image; use one that does"):
        open_stack(faults / "called-damaged" / "dicom_preamble.dcm")


@pytest.mark.parametrize(("name", "value"), [("black.png", 0), ("white.png", 255)])
def test_pure_black_and_white_stay_pure(faults, tmp_path, name, value):
    path = faults / "flat-8bit-grid" / name
    for quality in ("fast", "balanced"):
        denoise(path, quality=quality, out=tmp_path / name, overwrite=True)
        assert (decoded(tmp_path / name) == value).all()


def test_floats_of_64_bits_and_their_ome_stay(faults, result_of):
    path = faults / "float64-ome-lost" / "f64.ome.tif"
    out = result_of(path)
    same_scene(decoded_ome(path), decoded_ome(out))
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(out) as after:
        assert before.ome_metadata
        assert after.ome_metadata == before.ome_metadata


def decoded_ome(path: Path) -> np.ndarray:
    values = tifffile.imread(path)
    assert values.dtype == np.float64
    return values


@pytest.mark.parametrize("name", ["exif_gps.tif", "geo.tif", "sem_fei.tif"])
def test_tags_of_a_tiff_stay(faults, result_of, name):
    path = faults / "metadata-lost" / name
    out = result_of(path)
    said, kept = tags_of(path), tags_of(out)
    assert {code: kept.get(code) for code in said} == said


PLACES = {273, 279, 284}  # where strips lie, and PlanarConfiguration, which one sample has none of


def tags_of(path: Path) -> dict[int, str]:
    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags  # type: ignore[union-attr]
        return {tag.code: str(tag.value) for tag in tags if tag.code not in PLACES}


@pytest.mark.parametrize("name", ["xmp_comment.jpg", "text.png"])
def test_what_is_written_around_a_picture_stays(faults, result_of, name):
    path = faults / "metadata-lost" / name
    with PIL.Image.open(path) as before, PIL.Image.open(result_of(path)) as after:
        assert after.info == before.info
        assert after.getexif() == before.getexif()
        assert after.getexif().get_ifd(0x8825) == before.getexif().get_ifd(0x8825) != {}


def test_metadata_go_from_jpeg_to_tiff(faults, tmp_path, make_model):
    model = make_model(width=4, depth=1, channels=1)
    out = denoise(faults / "metadata-lost" / "xmp_comment.jpg", model, out=tmp_path / "a.tif")
    with tifffile.TiffFile(out) as file:
        tags = file.pages.first.tags  # type: ignore[union-attr]
        assert tags.valueof("ExifTag")
        assert tags.valueof("GPSTag")
        assert b"xmpmeta" in tags.valueof("XMP")


@pytest.mark.parametrize("name", ["adobergb_chrm.png", "cicp_pq.png", "gamma1.png"])
def test_what_a_png_says_of_its_colours_stays(faults, result_of, name):
    path = faults / "png-gamma-colour-lost" / name
    kinds = (b"gAMA", b"cHRM", b"cICP", b"sRGB", b"iCCP")
    before, after = ({k: chunks.get(k) for k in kinds} for chunks in both(path, result_of(path)))
    assert any(before.values())
    assert after == before


def both(*paths: Path) -> list[dict[bytes, bytes]]:
    return [chunks_of(path) for path in paths]


EXPECTED = (
    *("f32_65535.tif", "int16.tif", "lzw_rgb16.tif", "stack5.tif", "thumb.tif", "rgb16.png"),
    *("photo.jfif", "cmyk.jpg"),
)


@pytest.mark.parametrize("name", EXPECTED)
def test_what_people_expect_to_work_does(faults, result_of, name):
    path = faults / "refused-but-expected" / name
    same_scene(decoded(path), decoded(result_of(path)))


def test_a_thumbnail_is_named(faults):
    with open_stack(faults / "refused-but-expected" / "thumb.tif") as stack:
        assert stack.header.notes == ("1 smaller level left out",)


@pytest.mark.parametrize("name", ["jpeg6.tif", "lzw3_u16.tif", "lzw6.tif", "none6.tif"])
def test_pixels_stay_as_they_lie_and_the_orientation_with_them(faults, result_of, name):
    path = faults / "tiff-orientation-twice" / name
    out = result_of(path)
    assert tags_of(out)[274] == tags_of(path)[274] in ("3", "6")
    same_scene(decoded(path), decoded(out))


@pytest.mark.parametrize("name", ["p12.tif", "p12_white.tif"])
def test_white_of_twelve_bits_becomes_white_of_sixteen(faults, result_of, name):
    path = faults / "twelve-bit-packed" / name
    out = result_of(path)
    assert tags_of(out)[262] == tags_of(path)[262]  # still black or white at zero
    before = decoded(path).astype(np.float64) / 4095
    after = decoded(out).astype(np.float64) / 65535
    assert 0 < np.abs(after - before).mean() < 0.1
    assert abs(after.mean() - before.mean()) < 0.05


@pytest.mark.parametrize("name", ["dim.tif", "linear_float.tif", "twelve_bit.tif"])
def test_values_far_below_white_are_denoised_on_their_own_scale(faults, tmp_path, name):
    path = faults / "uint16-low-range-grid" / name
    before = decoded(path).astype(np.float64)
    after = decoded(denoise(path, quality="fast", out=tmp_path / name)).astype(np.float64)
    assert abs(after.mean() - before.mean()) < 0.01 * np.ptp(before)
    assert roughness(after) < 0.5 * roughness(before)


def roughness(image: np.ndarray) -> float:
    """What neighbours differ by beyond their own neighbours: noise, and hardly any picture."""
    return float(np.abs(image[:, :-2] - 2 * image[:, 1:-1] + image[:, 2:]).mean())


def test_a_flat_image_of_small_values_stays_flat(faults, tmp_path):
    path = faults / "uint16-low-range-grid" / "flat100.tif"
    assert (decoded(denoise(path, quality="fast", out=tmp_path / "flat100.tif")) == 100).all()


def test_training_on_small_values_is_training_on_the_same_stretched(faults, tmp_path):
    a, b = (faults / "train-low-range" / side for side in "ab")
    for side in (a, b):
        (tmp_path / side.name).mkdir()
        for path in side.glob("*.tif"):
            tifffile.imwrite(tmp_path / side.name / path.name, tifffile.imread(path) * 300)
    small = FolderPairs(a, b, crop=32)
    large = FolderPairs(tmp_path / "a", tmp_path / "b", crop=32)
    drawn = [source.batch(range(6), np.random.default_rng(0)) for source in (small, large)]
    for low, high in zip(*drawn, strict=True):
        np.testing.assert_allclose(low, high, atol=1e-5)
        assert np.ptp(low) > 0.9  # all of what there is of the scale
    assert large.values == pytest.approx([300 * value for value in small.values or ()])


def test_a_raw_file_is_developed_not_counted(faults, tmp_path, make_model):
    pytest.importorskip("rawpy")
    path = faults / "wrong-count-of-pages" / "raw.dng"
    out = denoise(path, make_model(width=4, depth=1, channels=1), out=tmp_path / "raw.tif")
    with tifffile.TiffFile(out) as file:
        assert (len(file.pages), file.pages.first.shape) == (1, (96, 128, 3))
        assert file.pages.first.dtype == np.uint16

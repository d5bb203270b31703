"""Values that stand for nothing: out of the network's sight, and as they were in the result."""

import numpy as np
import pytest
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.files import open_stack, scale_of, survey
from noise2noise.inference import Settings

NODATA = 42113  # the tag of GDAL


def saved(path, values, said, **options):
    tags = [(NODATA, 2, 0, said, True)]
    tifffile.imwrite(path, values, extratags=tags, metadata=None, **options)
    return path


def terrain(dtype: str, value: float) -> np.ndarray:
    """Heights of 100 to 200, and a third where nothing was measured."""
    rng = np.random.default_rng(0)
    heights = 150 + 30 * np.sin(np.arange(48) / 7) + rng.normal(0, 3, (40, 48))
    heights[:, :16] = value
    return heights.astype(dtype)


@pytest.fixture
def denoiser(make_model) -> Denoiser:
    return Denoiser.load(make_model(width=4, depth=1, channels=1))


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        ("float32", "-9999"),
        ("float32", "-3.4028234663852886e+38"),
        ("float64", "1e300"),
        ("int16", "-32768"),
        ("uint16", "65535"),
        ("uint8", "0"),
        ("int32", "-2147483648"),
    ],
)
def test_what_means_nothing_stays_and_is_not_seen(tmp_path, denoiser, dtype, said):
    value = float(said)
    source = saved(tmp_path / "a.tif", terrain(dtype, value), said)
    for name in ("out.tif", "out.npy"):
        with open_stack(source) as stack:
            seen = survey(stack)
            assert (seen.bad, 100 < seen.low < seen.high < 200) == (40 * 16, True)
            denoiser.denoise_stack(stack, tmp_path / name, Settings())
    before = tifffile.imread(source)
    nothing = before == before.dtype.type(value)
    for after in (tifffile.imread(tmp_path / "out.tif"), np.load(tmp_path / "out.npy")):
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after == before.dtype.type(value), nothing)
        change = after[~nothing].astype(float) - before[~nothing]
        assert 0 < abs(change).max() < 60
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.tags.valueof(NODATA) == said


def test_no_other_pixel_becomes_one_that_means_nothing(tmp_path):
    values = np.full((8, 9), 1, np.uint8)
    values[2] = 0
    with open_stack(saved(tmp_path / "a.tif", values, "0")) as stack:
        header, finish = stack.result(lambda _: True)
        assert header.dtype == np.uint8
        band = np.zeros((8, 9, 1), np.float32)
        band[2] = np.nan
        (result,) = finish([band])
    np.testing.assert_array_equal(result[..., 0], values)


def test_a_scale_is_that_of_the_dtype(tmp_path):
    path = saved(tmp_path / "a.tif", terrain("uint8", 0), "0")
    with open_stack(path) as stack:
        assert scale_of(stack.header, survey(stack)).white == 255


@pytest.mark.parametrize("said", ["nan", "300", "-1", "1.5", "none", ""])
def test_a_value_that_there_is_not_changes_nothing(tmp_path, said):
    path = saved(tmp_path / "a.tif", terrain("uint8", 0), said)
    with open_stack(path) as stack:
        assert stack.header.dtype == np.uint8


def test_transparency_is_no_value(tmp_path, denoiser):
    pixels = np.stack([*[terrain("uint8", 0)] * 3, np.zeros((40, 48), np.uint8)], -1)
    path = saved(tmp_path / "a.tif", pixels, "0", photometric="rgb", extrasamples=["unassalpha"])
    with open_stack(path) as stack:
        assert survey(stack).bad == 3 * 40 * 16
        denoiser.denoise_stack(stack, tmp_path / "b.tif", Settings())
    after = tifffile.imread(tmp_path / "b.tif")
    assert not after[..., 3].any()
    assert not after[:, :16].any()
    assert after[:, 16:, :3].all()

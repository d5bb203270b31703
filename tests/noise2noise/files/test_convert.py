"""Results of another dtype: what values they hold, what they say of themselves, what is refused."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import Wanted, open_stack
from noise2noise.inference import Settings


@pytest.fixture(scope="module")
def grey() -> Denoiser:
    return Denoiser.load("grey")


def converted(
    denoiser: Denoiser,
    source: Path,
    target: Path,
    dtype: str | None = None,
    bits: int | None = None,
    strength: float = 0.0,
    **said: Any,
) -> Path:
    """By default nothing is denoised, so that values can be compared."""
    settings = Settings(strength, wanted=Wanted.parse(dtype, bits))
    with open_stack(source, **said) as stack:
        denoiser.denoise_stack(stack, target, settings)
    return target


def ramp(dtype: str, low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 20 * 30).reshape(20, 30).astype(dtype)


CASES = [
    # dtype, low, high; asked for; options; value of low and of high
    ("uint8", 0, 255, {"dtype": "uint16"}, {}, 0, 65535),
    ("uint16", 0, 65535, {"dtype": "uint8"}, {}, 0, 255),
    ("uint16", 0, 4095, {"dtype": "uint8"}, {"white": 4095}, 0, 255),
    ("uint16", 0, 4095, {"dtype": "uint8"}, {}, 0, 16),
    ("uint16", 0, 4095, {"bits": 16}, {"white": 4095}, 0, 65535),
    ("uint8", 0, 255, {"bits": 12}, {}, 0, 4095),
    ("uint16", 0, 65535, {"bits": 10}, {}, 0, 1023),
    ("uint8", 0, 255, {"bits": 8}, {}, 0, 255),
    ("float32", 0, 1, {"dtype": "uint8"}, {}, 0, 255),
    ("float64", -0.5, 1.5, {"dtype": "uint16"}, {}, 0, 65535),
    ("float32", 3, 4000.4, {"dtype": "uint16"}, {}, 3, 4000),
    ("float32", -3, 4000, {"dtype": "int16"}, {}, -3, 4000),
    ("float32", 0, 4000, {"dtype": "uint8"}, {"white": 4000}, 0, 255),
    ("int16", -1000, 3000, {"dtype": "float32"}, {}, -1000, 3000),
    ("int16", -1000, 3000, {"dtype": "uint8"}, {"white": 3000}, 0, 255),
    ("int32", 5, 60000, {"dtype": "uint16"}, {}, 5, 60000),
    ("uint8", 0, 255, {"dtype": "int16"}, {}, 0, 255),
    ("uint8", 0, 255, {"dtype": "float32"}, {}, 0, 255),
    ("uint16", 7, 65535, {"dtype": "float64"}, {}, 7, 65535),
    ("uint16", 0, 65535, {"dtype": "uint32"}, {}, 0, 65535),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "low", "high", "asked", "said", "first", "last"), CASES)
@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_values_of_results(grey, tmp_path, suffix, dtype, low, high, asked, said, first, last):
    pixels = ramp(dtype, low, high)
    path = tmp_path / f"a.{suffix}"
    tifffile.imwrite(path, pixels) if suffix == "tif" else np.save(path, pixels)
    target = converted(grey, path, tmp_path / f"b.{suffix}", **asked, **said)
    result = tifffile.imread(target) if suffix == "tif" else np.load(target)
    bits = asked.get("bits")
    assert result.dtype == (asked.get("dtype") or ("uint8" if bits == 8 else "uint16"))
    assert (result.flat[0], result.flat[-1]) == (first, last)
    assert (np.diff(result.ravel().astype(float)) >= 0).all()


def test_what_is_denoised_is_not_rounded_in_between(grey, tmp_path):
    rng = np.random.default_rng(0)
    PIL.Image.fromarray(rng.normal(120, 9, (48, 48)).astype(np.uint8)).save(tmp_path / "a.png")
    target = converted(grey, tmp_path / "a.png", tmp_path / "b.png", "uint16", strength=1.0)
    fine = np.asarray(PIL.Image.open(target)).astype(float) / 257
    converted(grey, tmp_path / "a.png", tmp_path / "c.png", strength=1.0)
    coarse = np.asarray(PIL.Image.open(tmp_path / "c.png")).astype(float)
    assert np.abs(fine - coarse).max() <= 0.51
    assert np.abs(fine - np.rint(fine)).mean() > 0.2


def test_transparency_is_stretched_over_its_whole_range(grey, tmp_path):
    pixels = np.dstack([np.full((9, 8), 100, np.uint8)] * 3 + [ramp("uint8", 0, 255)[:9, :8]])
    pixels[0, 0, 3], pixels[-1, -1, 3] = 0, 255
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    target = converted(grey, tmp_path / "a.png", tmp_path / "b.tif", "uint16", white=200)
    result = tifffile.imread(target)
    np.testing.assert_array_equal(result[..., 3], pixels[..., 3] * np.uint16(257))
    assert (result[..., :3] == round(100 / 200 * 65535)).all()


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_axes_and_pixel_sizes_stay_with_another_dtype(grey, tmp_path, kind):
    pixels = np.arange(2 * 3 * 20 * 24, dtype=np.uint16).reshape(2, 3, 20, 24)
    metadata: dict[str, Any] = {"axes": "TCYX", "unit": "um", "min": 3, "max": 9}
    if kind == "ome":
        metadata = {"axes": "TCYX", "PhysicalSizeX": 0.25, "SignificantBits": 12}
    ome = kind == "ome"
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, ome=ome, imagej=not ome, metadata=metadata, resolution=(4, 4)
    )
    target = converted(grey, tmp_path / "a.tif", tmp_path / "b.tif", "float32")
    with tifffile.TiffFile(target) as file:
        assert (file.series[0].axes, file.series[0].dtype) == ("TCYX", np.float32)
        np.testing.assert_array_equal(file.asarray(), pixels)
        if kind == "ome":
            assert 'PhysicalSizeX="0.25"' in (file.ome_metadata or "")
            assert "SignificantBits" not in (file.ome_metadata or "")
        else:
            assert (file.imagej_metadata or {})["unit"] == "um"
            assert "max" not in (file.imagej_metadata or {})


def test_how_many_bits_count_is_said_and_what_was_said_is_not_kept(grey, tmp_path):
    tags = [(281, 3, 1, 4095, False), (65000, 3, 1, 7, False)]
    tifffile.imwrite(tmp_path / "a.tif", ramp("uint16", 0, 4095), extratags=tags)
    eight = converted(grey, tmp_path / "a.tif", tmp_path / "b.tif", "uint8")
    with tifffile.TiffFile(eight) as file:
        assert 281 not in file.pages.first.tags
        assert file.pages.first.tags.valueof(65000) == 7
        assert file.asarray().max() == 255
    ten = converted(grey, tmp_path / "a.tif", tmp_path / "c.tif", bits=10)
    with open_stack(ten) as stack:
        assert stack.header.white == 1023


def test_how_many_bits_counted_in_a_png_is_not_kept(grey, tmp_path):
    pixels = ramp("uint16", 0, 65535)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    said = b"sBIT" + bytes([12])
    chunk = struct.pack(">I", 1) + said + struct.pack(">I", zlib.crc32(said))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])  # behind the header
    same = converted(grey, tmp_path / "a.png", tmp_path / "b.png")
    assert b"sBIT" in same.read_bytes()
    eight = converted(grey, tmp_path / "a.png", tmp_path / "c.png", "uint8")
    assert b"sBIT" not in eight.read_bytes()
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(eight)), np.rint(pixels / 257))


@pytest.mark.parametrize(
    ("pixels", "suffix", "asked", "message"),
    [
        (
            ramp("int16", -9, 300),
            "tif",
            {"dtype": "uint8"},
            r"a\.npy: its values, -9 to 300, don't",
        ),
        (
            ramp("float32", 0, 1e6),
            "tif",
            {"dtype": "uint16"},
            "or say by --white which value becom",
        ),
        (ramp("float32", 0, 1), "tif", {"dtype": "int32"}, "which int32 would leave two values"),
        (
            np.full((9, 9), np.nan),
            "tif",
            {"dtype": "uint8"},
            "81 values are NaN or infinite, which",
        ),
        (
            ramp("uint8", 0, 9),
            "jpg",
            {"dtype": "uint16"},
            r"b\.jpg: JPEG can't hold 16-bit grey pixels",
        ),
        (ramp("uint8", 0, 9), "png", {"dtype": "float32"}, r"b\.png: PNG can't hold float pixels"),
    ],
)
def test_what_can_not_be_held_is_refused(grey, tmp_path, pixels, suffix, asked, message):
    np.save(tmp_path / "a.npy", pixels)
    with pytest.raises(UserError, match=message):
        converted(grey, tmp_path / "a.npy", tmp_path / f"b.{suffix}", **asked)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_lab_keeps_its_dtype(grey, tmp_path):
    pixels = np.full((9, 8, 3), 100, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="cielab")
    with pytest.raises(UserError, match="its Lab pixels have the dtype of their format; leave --d"):
        converted(grey, tmp_path / "a.tif", tmp_path / "b.tif", "uint16")
    result = converted(grey, tmp_path / "a.tif", tmp_path / "b.png", "uint16")
    assert np.asarray(PIL.Image.open(result)).shape[:2] == (9, 8)


@pytest.mark.parametrize(
    ("dtype", "bits", "message"),
    [
        ("uint12", None, "--dtype uint12 is unknown; choose one of uint8, uint16"),
        (None, 7, "--bit-depth must lie in 8 to 32, got 7"),
        ("uint8", 12, "--bit-depth 12 doesn't go with --dtype uint8; leave one of them out"),
        ("float32", 16, "--bit-depth 16 doesn't go with --dtype float32"),
    ],
)
def test_what_can_not_be_is_not_asked_for(dtype, bits, message):
    with pytest.raises(UserError, match=message):
        Wanted.parse(dtype, bits)


def stores() -> list[dict[str, Any]]:
    zarr = pytest.importorskip("zarr")
    numcodecs = pytest.importorskip("numcodecs")
    blosc = zarr.codecs.BloscCodec(cname="lz4", typesize=2)
    return [
        {"zarr_format": 3, "compressors": blosc},
        {"zarr_format": 3, "shards": (1, 16, 16), "compressors": zarr.codecs.GzipCodec()},
        {"zarr_format": 2, "filters": [numcodecs.Delta("<u2")], "compressors": numcodecs.LZMA()},
        {"zarr_format": 2, "dtype": ">u2"},
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_stores_of_another_dtype(grey, tmp_path, number, dtype):
    zarr = pytest.importorskip("zarr")
    options = {"dtype": "uint16"} | stores()[number]
    version = options.pop("zarr_format")
    channels = [{"label": "DAPI", "color": "0000FF", "window": {"start": 0, "end": 999}}]
    scale = {
        "version": "0.4",
        "axes": [{"name": name, "type": "space"} for name in "zyx"],
        "datasets": [{"path": "0"}, {"path": "1"}],
    }
    said: Any = {"multiscales": [scale], "omero": {"channels": channels}}
    said = {"ome": said} if version == 3 else said
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=version, attributes=said)
    pixels = ramp("uint16", 0, 65535)[None].repeat(2, 0)
    for name, step in (("0", 1), ("1", 2)):
        small = pixels[:, ::step, ::step]
        array = group.create_array(name, shape=small.shape, chunks=(1, 8, 8), **options)
        array[...] = small
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # in version 3 it isn't in the standard
        zarr.consolidate_metadata(tmp_path / "a.zarr", zarr_format=version)
    target = converted(grey, tmp_path / "a.zarr", tmp_path / "b.zarr", dtype)
    result = zarr.open_group(target, mode="r", zarr_format=version)
    expected = np.rint(pixels / 257) if dtype == "uint8" else pixels
    assert [result[name].dtype for name in "01"] == [dtype, dtype]
    np.testing.assert_array_equal(result["0"][...], expected)
    assert result["0"].chunks == (1, 8, 8)
    assert (result["0"].shards, result["0"].shape) == (array.shards, pixels.shape)
    omero = (result.attrs["ome"] if version == 3 else result.attrs)["omero"]
    assert omero["channels"] == [{"label": "DAPI", "color": "0000FF"}]


def test_the_dtype_that_it_has_already_changes_nothing(grey, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", ramp("uint16", 0, 4095), description="kept")
    with open_stack(tmp_path / "a.tif", white=4095) as stack:
        assert not Wanted("uint16").changes(stack.header)
        header = replace(stack.header, dtype=np.dtype("uint8"))
        assert Wanted("uint16").changes(header)
    target = converted(grey, tmp_path / "a.tif", tmp_path / "b.tif", "uint16", white=4095)
    with tifffile.TiffFile(target) as file:
        assert file.pages.first.description == "kept"
        assert file.asarray().max() == 4095

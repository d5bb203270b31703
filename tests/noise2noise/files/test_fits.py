"""FITS: what stored numbers stand for, which part is denoised, what else stays."""

import gzip
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from noise2noise.batch.find import Source
from noise2noise.batch.names import Names
from noise2noise.errors import UserError
from noise2noise.files import (
    Wanted,
    bands_of,
    fits_header,
    format_for,
    list_images,
    open_stack,
    result_name,
    result_of,
    survey,
    write_stack,
)
from noise2noise.files.fits import FitsStack
from noise2noise.files.guard import UnusableError

fits = pytest.importorskip("astropy.io.fits")

# The second in which they were made is a part of what is summed up.
SUMS_LEFT_OUT = {"ignore_keywords": ["CHECKSUM", "DATASUM"]}


def written(source: Path, target: Path, wanted: Wanted | None = None, **options) -> Path:
    with open_stack(source, **options) as stack:
        result = result_of(target, stack, wanted)
        bands = result.bands(bands_of(result.source(stack), 5), survey(stack))
        write_stack(target, result.header, bands)
    return target


def values(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(10, 90, shape).astype(dtype)


def test_values_that_are_missing_are_no_numbers_and_stay_missing(tmp_path):
    pixels = values("int16", 9, 11)
    pixels[2, 3:5] = -32768
    image = fits.PrimaryHDU(pixels)
    image.header["BLANK"] = -32768
    image.writeto(tmp_path / "a.fits")
    with open_stack(tmp_path / "a.fits") as stack:
        seen = stack.read()[..., 0]
        assert survey(stack).bad == 2
    assert np.isnan(seen[2, 3:5]).all()
    np.testing.assert_array_equal(np.isfinite(seen), pixels != -32768)
    written(tmp_path / "a.fits", tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits", do_not_scale_image_data=True) as file:
        assert file[0].header["BLANK"] == -32768
        np.testing.assert_array_equal(file[0].data, pixels)


@pytest.mark.parametrize(("scale", "zero"), [(1e-3, 1e6), (2.5, -7), (-0.5, 3)])
def test_scaled_integers_are_handed_out_as_what_they_stand_for(tmp_path, scale, zero):
    pixels = values("int16", 8, 9)
    image = fits.PrimaryHDU(pixels)
    image.header["BSCALE"], image.header["BZERO"] = scale, zero
    image.writeto(tmp_path / "a.fits")
    with open_stack(tmp_path / "a.fits") as stack:
        np.testing.assert_allclose(stack.read()[..., 0], zero + scale * pixels, rtol=1e-6)
    written(tmp_path / "a.fits", tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits", do_not_scale_image_data=True) as file:
        np.testing.assert_array_equal(file[0].data, pixels)
        assert file[0].header["BSCALE"] == scale


@pytest.mark.parametrize("stored", ["float32", "float64"])
@pytest.mark.parametrize(("scale", "zero"), [(2.5, 0), (2.5, -100), (1, 1e9)])
def test_scaled_floats_are_handed_out_as_what_they_stand_for(tmp_path, stored, scale, zero):
    pixels = values(stored, 8, 9) / 7
    image = fits.PrimaryHDU(pixels)
    image.header["BSCALE"], image.header["BZERO"] = scale, zero
    image.writeto(tmp_path / "a.fits")
    with open_stack(tmp_path / "a.fits") as stack:
        found = stack.read()[..., 0]
    np.testing.assert_allclose(found.astype(float) - zero, scale * pixels, rtol=1e-6, atol=1e-6)
    written(tmp_path / "a.fits", tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits", do_not_scale_image_data=True) as file:
        assert file[0].data.dtype.newbyteorder("=") == stored
        np.testing.assert_allclose(file[0].data, pixels, rtol=2e-7)
        assert (file[0].header["BSCALE"], file[0].header["BZERO"]) == (scale, zero)
    written(tmp_path / "a.fits", tmp_path / "b.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), found)
    other = {"float32": "float64", "float64": "float32"}[str(found.dtype)]
    written(tmp_path / "a.fits", tmp_path / "c.fits", Wanted(other))
    with fits.open(tmp_path / "c.fits") as file:
        assert not {"BSCALE", "BZERO"} & {*file[0].header}
        np.testing.assert_array_equal(file[0].data, found.astype(other))


def test_what_was_true_of_other_values_only_is_left_out(tmp_path):
    image = fits.PrimaryHDU(values("float32", 8, 9), fits.Header([("DATAMAX", 90.0), ("GAIN", 2)]))
    image.writeto(tmp_path / "a.fits")
    header = fits.getheader(written(tmp_path / "a.fits", tmp_path / "b.fits"))
    assert "DATAMAX" not in header
    assert header["GAIN"] == 2


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1"])
def test_compressed_arrays_are_read_and_written_uncompressed(tmp_path, kind):
    pixels = values("int16" if kind != "PLIO_1" else "uint8", 24, 30)
    said = fits.Header([("OBJECT", "M 31")])
    image = fits.CompImageHDU(pixels, said, name="SCI", compression_type=kind)
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(tmp_path / "a.fits.fz")
    assert result_name("a.fits.fz", "a_denoised") == "a_denoised.fits"
    with open_stack(tmp_path / "a.fits.fz") as stack:
        assert format_for("b.fits").losses(stack.header) == ("written uncompressed",)
        np.testing.assert_array_equal(stack.read(0, slice(3, 9))[..., 0], pixels[3:9])
    written(tmp_path / "a.fits.fz", tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits") as file:
        assert (len(file), type(file[1]), file[1].name) == (2, fits.ImageHDU, "SCI")
        assert file[1].header["OBJECT"] == "M 31"
        np.testing.assert_array_equal(file[1].data, pixels)
    with pytest.raises(UserError, match=r"end the name in \.fits"):
        written(tmp_path / "a.fits.fz", tmp_path / "c.fz")


@pytest.mark.parametrize(
    ("shape", "kinds", "letters"),
    [
        ((4, 5, 6), {}, "QYX"),
        ((3, 5, 6), {}, "CYX"),
        ((3, 5, 6), {3: "FREQ"}, "QYX"),
        ((4, 5, 6), {3: "UTC"}, "TYX"),
        ((4, 2, 5, 6), {3: "VRAD", 4: "STOKES"}, "CQYX"),
    ],
)
def test_axes_are_what_the_header_says(tmp_path, shape, kinds, letters):
    header = fits.Header([(f"CTYPE{place}", kind) for place, kind in kinds.items()])
    fits.PrimaryHDU(values("int16", *shape), header).writeto(tmp_path / "a.fits")
    with open_stack(tmp_path / "a.fits") as stack:
        assert stack.header.axes == letters
    tifffile.imread(written(tmp_path / "a.fits", tmp_path / "a.tif"))


def test_planes_may_be_colours(tmp_path):
    pixels = values("float32", 3, 8, 9)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "a.fits")
    with open_stack(tmp_path / "a.fits", axes="SYX") as stack:
        assert (stack.header.colour, stack.header.planes) == ("rgb", 1)
        np.testing.assert_array_equal(stack.read(), pixels.transpose(1, 2, 0))
    again = written(tmp_path / "a.fits", tmp_path / "b.fits", axes="SYX")
    np.testing.assert_array_equal(fits.getdata(again), pixels)


def test_from_other_formats_and_to_them(tmp_path):
    pixels = values("uint16", 2, 8, 9, 3)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    written(tmp_path / "a.tif", tmp_path / "a.fits")
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits"), pixels.transpose(0, 3, 1, 2))
    assert fits.getheader(tmp_path / "a.fits")["ROWORDER"] == "TOP-DOWN"
    cells = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(tmp_path / "b.tif", values("uint16", 4, 8, 9), ome=True, metadata=cells)
    header = fits.getheader(written(tmp_path / "b.tif", tmp_path / "b.fits"))
    assert (header["CDELT1"], header["CUNIT1"]) == (0.25, "um")
    with open_stack(tmp_path / "b.fits") as stack:
        assert [(each.axis, each.size) for each in stack.header.metadata.steps] == [("X", 0.25)]


def test_another_dtype_is_stored_as_itself(tmp_path):
    image = fits.PrimaryHDU(values("uint16", 8, 9), fits.Header([("GAIN", 2)]))
    image.writeto(tmp_path / "a.fits")
    written(tmp_path / "a.fits", tmp_path / "b.fits", Wanted("float32"))
    with fits.open(tmp_path / "b.fits") as file:
        assert (file[0].header["BITPIX"], file[0].header["GAIN"]) == (-32, 2)
        assert "BZERO" not in file[0].header
        np.testing.assert_array_equal(file[0].data, values("float32", 8, 9))


def several(path: Path, *names: str, kind=fits.ImageHDU, shape: tuple[int, ...] = (8, 9)) -> None:
    """An empty part, and an image of its own values for each name."""
    parts = [fits.PrimaryHDU()]
    for number, name in enumerate(names):
        said = fits.Header([("GAIN", number)])
        parts.append(kind(values("int16", *shape) + np.int16(number), said, name=name))
    fits.HDUList(parts).writeto(path, checksum=True)


def raised(source: Path, target: Path) -> Path:
    """The file with 100 added to what is denoised of it."""
    with open_stack(source) as stack:
        write_stack(target, stack.header, (band + 100 for band in bands_of(stack, 5)))
    return target


def test_other_images_are_named(tmp_path):
    several(tmp_path / "a.fits", "SCI", "ERR", "DQ")
    with open_stack(tmp_path / "a.fits") as stack:
        assert stack.header.notes == ("2 other parts not denoised: ERR, DQ",)


@pytest.mark.parametrize(
    ("names", "done"),
    [
        (("SCI", "ERR", "SCI", "DQ"), (1, 3)),
        (("CCD1", "CCD2", "CCD3"), (1, 2, 3)),
        (("N1", "S1", "MASK"), (1, 2)),
        (("FLUX", "IVAR"), (1,)),
        (("", "", ""), (1, 2, 3)),
    ],
)
@pytest.mark.parametrize("kind", [fits.ImageHDU, fits.CompImageHDU])
@pytest.mark.parametrize("shape", [(8, 9), (2, 8, 9)])
def test_images_of_one_kind_are_denoised_and_no_others(tmp_path, names, done, kind, shape):
    several(tmp_path / "a.fits", *names, kind=kind, shape=shape)
    written(tmp_path / "a.fits", tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == len(done) * (len(shape) - 1)
    raised(tmp_path / "a.fits", tmp_path / "b.fits")
    with fits.open(tmp_path / "a.fits") as before, fits.open(tmp_path / "b.fits") as after:
        after.verify("exception")
        assert [part.header.get("EXTNAME", "") for part in after] == ["", *names]
        for number in range(1, 1 + len(names)):
            added = 100 * (number in done)
            np.testing.assert_array_equal(after[number].data, before[number].data + added)
            assert after[number].header["GAIN"] == number - 1
            assert not added or type(after[number]) is fits.ImageHDU
    with fits.open(tmp_path / "b.fits", checksum=True) as after:  # warns where a sum is wrong
        sums = [after[number].header.get("CHECKSUM") for number in done]
        assert all(sums) == (kind is fits.ImageHDU)  # those of the others are of their packing


def test_images_of_another_size_or_dtype_are_not_of_one_kind(tmp_path):
    parts = [fits.PrimaryHDU(values("int16", 8, 9))]
    parts += [fits.ImageHDU(values("int16", 8, 9))]  # which may be anything
    fits.HDUList(parts).writeto(tmp_path / "a.fits")
    with open_stack(tmp_path / "a.fits") as stack:
        assert stack.header.shape == (8, 9)
    parts = [fits.ImageHDU(values("int16", 8, 9), name="SCI")]
    parts += [fits.ImageHDU(values("int16", 8, 8), name="SCI")]
    parts += [fits.ImageHDU(values("float32", 8, 9), name="SCI")]
    fits.HDUList([fits.PrimaryHDU(), *parts]).writeto(tmp_path / "b.fits")
    with open_stack(tmp_path / "b.fits") as stack:
        assert stack.header.shape == (8, 9)
        assert stack.header.notes == ("2 other parts not denoised: SCI, SCI",)


def test_parts_can_not_be_the_samples_of_a_pixel(tmp_path):
    several(tmp_path / "a.fits", "R1", "G1", "B1")
    with pytest.raises(UserError, match="the first counts parts of the file"):
        open_stack(tmp_path / "a.fits", axes="SYX")
    with open_stack(tmp_path / "a.fits", axes="TYX") as stack:
        assert stack.header.axes == "TYX"


def test_what_gzip_packed_is_packed_again(tmp_path):
    several(tmp_path / "a.fits", "SCI", "ERR", "SCI")
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    raised(tmp_path / "a.fits", tmp_path / "b.fits")
    raised(tmp_path / "a.fits.gz", tmp_path / "b.fits.gz")
    with fits.open(tmp_path / "b.fits.gz", checksum=True) as packed:
        assert packed.fileinfo(0)["file"].compression == "gzip"
        with fits.open(tmp_path / "b.fits") as plain:
            assert fits.FITSDiff(packed, plain, **SUMS_LEFT_OUT).identical
    with open_stack(tmp_path / "a.fits.gz") as stack:
        assert isinstance(stack, FitsStack)
        aside = Path(stack._place)
        header, bands = stack.header, list(bands_of(stack))
        assert aside.exists()
    assert not aside.parent.exists()
    write_stack(tmp_path / "c.fits", header, bands)  # when the source is closed
    with fits.open(tmp_path / "a.fits") as plain, fits.open(tmp_path / "c.fits") as copy:
        assert fits.FITSDiff(plain, copy, **SUMS_LEFT_OUT).identical


def test_names_of_what_is_packed(tmp_path):
    for name in ("a.fits.gz", "b.FIT.GZ", "c.tar.gz", "d.fits.fz"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name[0] for path in list_images(tmp_path)] == ["a", "b", "d"]
    places = {}
    for name in ("a.fits.gz", "d.fits.fz", "e.ome.tif"):
        source = Source(tmp_path / name, Path())
        places[name] = Names.of(None, None, [source]).place(source, "grey").name
    expected = ["a_denoised.fits.gz", "d_denoised.fits", "e_denoised.ome.tif"]
    assert [*places.values()] == expected


def test_a_trap_of_zeros_and_what_is_no_fits_are_refused(tmp_path):
    fits.PrimaryHDU(np.zeros((6000, 6000), np.int16)).writeto(tmp_path / "a.fits")
    with gzip.open(tmp_path / "a.fits.gz", "wb") as file:
        file.write((tmp_path / "a.fits").read_bytes())
    with pytest.raises(UserError, match="200 times its size; unpack it with: gunzip"):
        open_stack(tmp_path / "a.fits.gz")
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress(b"a text" * 100))
    with pytest.raises(UserError, match="is not an image"):
        open_stack(tmp_path / "b.fits.gz")
    whole = gzip.compress((tmp_path / "a.fits").read_bytes()[:40000])
    (tmp_path / "c.fits.gz").write_bytes(whole[:-30])
    with pytest.raises(UserError, match="is damaged or cut short"):
        open_stack(tmp_path / "c.fits.gz")


def test_a_file_that_ends_too_early_and_one_without_pixels_are_refused(tmp_path):
    fits.PrimaryHDU(values("int16", 80, 90)).writeto(tmp_path / "a.fits")
    (tmp_path / "cut.fits").write_bytes((tmp_path / "a.fits").read_bytes()[:9000])
    with pytest.raises(UserError, match="cut short"):
        open_stack(tmp_path / "cut.fits")
    fits.PrimaryHDU().writeto(tmp_path / "none.fits")
    with pytest.raises(UserError, match="holds no image"):
        open_stack(tmp_path / "none.fits")


def test_what_fits_can_not_hold_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 9), np.float16))
    with pytest.raises(UserError, match="--dtype float32"):
        written(tmp_path / "a.tif", tmp_path / "a.fits")


def test_without_astropy_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    fits.PrimaryHDU(values("int16", 8, 9)).writeto(tmp_path / "a.fits")
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(UserError, match=r"needs astropy.*; .* pip install 'noise2noise\[fits\]'"):
        open_stack(tmp_path / "a.fits")


def test_a_text_where_a_number_is_meant_is_damage(tmp_path):
    image = fits.PrimaryHDU(values("i2", 8, 9))
    image.header["BSCALE"] = 2.0
    image.writeto(tmp_path / "a.fits")
    content = (tmp_path / "a.fits").read_bytes()
    card = b"BSCALE  =                  2.0"
    assert card in content
    (tmp_path / "a.fits").write_bytes(content.replace(card, b"BSCALE  = '2'".ljust(30)))
    with pytest.raises(UserError, match=r"is damaged \(BSCALE '2'\); copy"):
        open_stack(tmp_path / "a.fits")
    with pytest.raises(UnusableError, match=r"is damaged \(NAXIS '2'\); copy"):
        fits_header.sizes({"NAXIS": "2"})


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"BITPIX": 7}, r"is damaged \(BITPIX 7\)"),
        ({"BITPIX": 16, "BSCALE": 0}, r"is damaged \(BSCALE 0\)"),
    ],
)
def test_numbers_that_can_not_be_are_damage(said, sentence):
    with pytest.raises(UnusableError, match=sentence):
        fits_header.Scaling.of(said)


def test_sizes_that_can_not_be_are_damage():
    with pytest.raises(UnusableError, match="holds an array of 999 dimensions; 2 to 8 are"):
        fits_header.sizes({"NAXIS": 999})
    with pytest.raises(UnusableError, match=r"is damaged \(an array of \(-4,\)\)"):
        fits_header.sizes({"NAXIS": 1, "NAXIS1": -4})


def test_transparency_has_no_place(tmp_path):
    PIL.Image.new("RGBA", (9, 7)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"FITS can't hold transparency; end the name in \.tif"):
        written(tmp_path / "a.png", tmp_path / "a.fits")


def test_the_channel_axis_of_an_array(tmp_path):
    pixels = values("uint16", 3, 8, 9)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "a.fits")
    with open_stack(tmp_path / "a.fits", channel_axis=0) as stack:
        np.testing.assert_array_equal(stack.read(), pixels.transpose(1, 2, 0))


def test_of_very_many_parts_not_all_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("noise2noise.files.fits._MOST_PARTS", 3)
    image = fits.ImageHDU(values("int16", 8, 9))
    fits.HDUList([fits.PrimaryHDU(), *[fits.ImageHDU()] * 3, image]).writeto(tmp_path / "a.fits")
    with pytest.raises(UserError, match="holds no image"):
        open_stack(tmp_path / "a.fits")


def test_tiles_that_fill_memory_are_refused(tmp_path, monkeypatch):
    fits.CompImageHDU(values("int16", 80, 90)).writeto(tmp_path / "a.fits")
    monkeypatch.setattr("noise2noise.files.fits._MOST_TILE", 99)
    with pytest.raises(UserError, match="is compressed in tiles that are too large"):
        open_stack(tmp_path / "a.fits")

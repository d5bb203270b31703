"""Image files: what is kept, what is refused and with which sentence, and that nothing is lost."""

import dataclasses
import errno
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL.JpegImagePlugin import get_sampling

import noise2noise
from noise2noise.errors import UserError
from noise2noise.files import (
    Image,
    Metadata,
    formats,
    from_unit,
    list_images,
    read_image,
    to_unit,
    write_image,
)

ICC = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKE = 274, 271


def noise(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def exif(orientation: int = 6) -> bytes:
    block = PIL.Image.Exif()
    block[ORIENTATION] = orientation
    block[MAKE] = "Camera works"
    block[0x9003] = "2024:02:29 12:00:00"
    return block.tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, depth: int, colour_type: int, rows: bytes = b"", extra=b""
) -> bytes:
    """A PNG written by hand, for the kinds that Pillow can't write."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + data + png_chunk(b"IEND", b"")


# What comes in comes out.

LOSSLESS = [
    (suffix, dtype, shape, alpha)
    for suffix, dtypes, alphas in [
        (".png", ["uint8"], [False, True]),
        (".tif", ["uint8", "uint16", "float32"], [False, True]),
        (".bmp", ["uint8"], [False]),
    ]
    for dtype in dtypes
    for alpha in alphas
    for shape in [(5, 7), (5, 7, 3), (1, 1), (3, 3, 3)]
]
LOSSLESS += [
    (".png", "uint16", shape, alpha) for shape in [(5, 7), (5, 7, 3)] for alpha in (False, True)
]
LOSSLESS += [(".TIFF", "uint8", (4, 4), False)]
LOSSLESS += [(".webp", "uint8", (5, 7, 3), alpha) for alpha in (False, True)]


@pytest.mark.parametrize(("suffix", "dtype", "shape", "alpha"), LOSSLESS)
def test_pixels_come_back_as_they_were(tmp_path, suffix, dtype, shape, alpha):
    image = Image(noise(shape, dtype), noise(shape[:2], dtype) if alpha else None)
    if image.alpha is not None:
        image.alpha[0, 0] = 0  # what nobody sees is kept too
    write_image(tmp_path / f"a{suffix}", image)
    again = read_image(tmp_path / f"a{suffix}")
    assert again.pixels.dtype == dtype
    assert np.array_equal(again.pixels, image.pixels)
    if image.alpha is None:
        assert again.alpha is None
    else:
        assert again.alpha is not None
        assert again.alpha.dtype == dtype
        assert np.array_equal(again.alpha, image.alpha)


@pytest.mark.parametrize("shape", [(64, 48), (64, 48, 3)])
def test_jpeg_stays_near_and_keeps_colour_resolution(tmp_path, shape):
    ramp = np.linspace(0, 255, 64)[:, None] + np.zeros(48)
    pixels = ramp if len(shape) == 2 else np.dstack([ramp, 255 - ramp, ramp / 2])
    image = Image(np.rint(pixels).astype(np.uint8))
    write_image(tmp_path / "a.jpg", image)
    again = read_image(tmp_path / "a.jpg").pixels
    assert again.shape == shape
    assert np.abs(again.astype(int) - image.pixels).max() <= 4
    with PIL.Image.open(tmp_path / "a.jpg") as file:
        assert len(shape) == 2 or get_sampling(file) == 0


@pytest.mark.parametrize("target", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
def test_metadata_survive(tmp_path, source, target):
    picture = PIL.Image.fromarray(noise((8, 12, 3)))
    picture.save(tmp_path / "in", source, exif=exif(), icc_profile=ICC, dpi=(300, 300))
    image = read_image(tmp_path / "in")
    assert image.pixels.shape == (8, 12, 3)  # not turned
    write_image(tmp_path / f"out{target}", image)
    with PIL.Image.open(tmp_path / f"out{target}") as file:
        assert file.info["icc_profile"] == ICC
        tags = file.getexif()
        assert tags[ORIENTATION] == 6
        assert tags[MAKE] == "Camera works"
        assert target == ".tif" or tags[0x9003] == "2024:02:29 12:00:00"
        if "WEBP" not in (source, target[1:].upper()):
            assert file.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_the_exif_block_is_kept_byte_for_byte(tmp_path, suffix):
    # Maker notes hold offsets into the block, so writing its tags anew would break them.
    block = exif() + b"\0\0maker notes"
    PIL.Image.fromarray(noise((8, 12, 3))).save(tmp_path / "in.jpg", exif=block)
    write_image(tmp_path / f"out{suffix}", read_image(tmp_path / "in.jpg"))
    assert read_image(tmp_path / f"out{suffix}").metadata.exif == block.removeprefix(b"Exif\0\0")


@pytest.mark.parametrize("target", [".tif", ".jpg", ".png"])
def test_a_tiff_s_metadata_survive(tmp_path, target):
    tifffile.imwrite(
        tmp_path / "in.tif",
        noise((8, 12, 3)),
        photometric="rgb",
        iccprofile=ICC,
        resolution=(100, 50),
        resolutionunit="CENTIMETER",
        description="a cell",
        metadata=None,
        extratags=[(ORIENTATION, 3, 1, 8, True), (MAKE, 2, 0, b"Scope", True)],
    )
    write_image(tmp_path / f"out{target}", read_image(tmp_path / "in.tif"))
    with PIL.Image.open(tmp_path / f"out{target}") as file:
        assert file.info["icc_profile"] == ICC
        assert file.getexif()[ORIENTATION] == 8
        assert file.getexif()[MAKE] == "Scope"
        assert file.info["dpi"] == pytest.approx((254, 127), abs=0.01)
    if target == ".tif":
        with tifffile.TiffFile(tmp_path / "out.tif") as file:
            assert file.pages.first.description == "a cell"
            assert file.pages.first.tags.valueof(296) == 3


def test_a_microscope_s_pixel_size_survives(tmp_path):
    pixels, metadata = noise((8, 12), "uint16"), {"unit": "um"}
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, imagej=True, resolution=(15.4, 15.4), metadata=metadata
    )
    write_image(tmp_path / "out.tif", read_image(tmp_path / "in.tif"))
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert (file.imagej_metadata or {})["unit"] == "um"
        assert np.divide(*file.pages.first.tags.valueof(282)) == pytest.approx(15.4)
        assert np.array_equal(file.asarray(), pixels)


def test_a_description_survives_the_shape_that_tifffile_notes_beside_it(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", noise((8, 12)), description="40x, 0.1 um a pixel")
    tifffile.imwrite(tmp_path / "bare.tif", noise((8, 12)))
    assert read_image(tmp_path / "bare.tif").metadata.description == ""
    write_image(tmp_path / "out.tif", read_image(tmp_path / "in.tif"))
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.description == "40x, 0.1 um a pixel"
        assert not file.pages.first.is_shaped


def test_an_ome_description_survives_only_beside_its_own_pixels(tmp_path):
    size = {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(tmp_path / "in.ome.tif", noise((8, 12)), ome=True, metadata=size)
    image = read_image(tmp_path / "in.ome.tif")
    write_image(tmp_path / "same.ome.tif", image)
    write_image(tmp_path / "half.tif", dataclasses.replace(image, pixels=image.pixels[:4]))
    with tifffile.TiffFile(tmp_path / "same.ome.tif") as file:
        assert 'PhysicalSizeX="0.1"' in (file.ome_metadata or "")
        assert "µm" in (file.ome_metadata or "")
    with tifffile.TiffFile(tmp_path / "half.tif") as file:
        assert not file.is_ome
        assert file.asarray().shape == (4, 12)


def test_unusable_resolutions_are_left_out(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", noise((4, 4)), resolution=(0, 5))
    image = read_image(tmp_path / "in.tif")
    assert image.metadata.resolution is None
    write_image(tmp_path / "out.png", image)


def test_a_damaged_exif_block_does_not_stop_a_tiff(tmp_path):
    image = Image(noise((4, 4)), metadata=Metadata(exif=b"MM\0*\xff\xff\xff\xffrubbish"))
    write_image(tmp_path / "a.tif", image)
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, image.pixels)


# What becomes of what.


@pytest.mark.parametrize(
    ("mode", "file_format", "shape", "alpha"),
    [
        ("1", "PNG", (6, 8), False),
        ("L", "PNG", (6, 8), False),
        ("LA", "PNG", (6, 8), True),
        ("P", "PNG", (6, 8, 3), False),
        ("RGB", "PNG", (6, 8, 3), False),
        ("RGBA", "PNG", (6, 8, 3), True),
        ("L", "JPEG", (6, 8), False),
        ("RGB", "JPEG", (6, 8, 3), False),
        ("1", "BMP", (6, 8), False),
        ("P", "BMP", (6, 8, 3), False),
        ("RGBA", "WEBP", (6, 8, 3), True),
        ("1", "TIFF", (6, 8), False),
        ("P", "TIFF", (6, 8, 3), False),
        ("LA", "TIFF", (6, 8), True),
        ("RGBA", "TIFF", (6, 8, 3), True),
    ],
)
def test_every_mode_becomes_grey_or_colour(tmp_path, mode, file_format, shape, alpha):
    picture = PIL.Image.fromarray(noise((6, 8, 4)))
    picture = (picture if alpha else picture.convert("RGB")).convert(mode)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    picture.save(tmp_path / "in", file_format, **options)
    image = read_image(tmp_path / "in")
    assert image.pixels.shape == shape
    assert image.pixels.dtype == np.uint8
    assert (image.alpha is not None) == alpha
    if file_format != "JPEG":
        expected = picture.convert("L" if len(shape) == 2 else "RGB")
        assert np.array_equal(image.pixels, np.asarray(expected))
    if alpha:
        assert image.alpha is not None
        assert np.array_equal(image.alpha, np.asarray(picture.getchannel("A")))


def test_one_bit_white_is_255(tmp_path):
    PIL.Image.new("1", (3, 2), 1).save(tmp_path / "a.png")
    assert np.all(read_image(tmp_path / "a.png").pixels == 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_transparent_colour_becomes_alpha(tmp_path, mode):
    picture = PIL.Image.new("RGB", (2, 1), (255, 255, 255))
    picture.putpixel((0, 0), (0, 0, 0))
    picture = picture.convert(mode)
    picture.save(tmp_path / "a.png", transparency=picture.getpixel((0, 0)) or 0)
    if mode == "RGB":
        picture.save(tmp_path / "a.png", transparency=(0, 0, 0))
    alpha = read_image(tmp_path / "a.png").alpha
    assert alpha is not None
    assert alpha.tolist() == [[0, 255]]


def test_a_transparent_grey_of_16_bits_becomes_alpha(tmp_path):
    rows = b"\0" + struct.pack(">HH", 300, 40000)
    data = png(2, 1, 16, 0, rows, extra=png_chunk(b"tRNS", struct.pack(">H", 300)))
    (tmp_path / "a.png").write_bytes(data)
    image = read_image(tmp_path / "a.png")
    assert image.pixels.tolist() == [[300, 40000]]
    assert image.alpha is not None
    assert image.alpha.tolist() == [[0, 65535]]


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_become_float32(tmp_path, dtype):
    pixels = noise((4, 5), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    again = read_image(tmp_path / "a.tif").pixels
    assert again.dtype == np.float32
    assert np.array_equal(again, pixels.astype(np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_three_planes_become_colour(tmp_path, dtype, photometric):
    planes = noise((3, 5, 7), dtype)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric=photometric, planarconfig="separate")
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, planes.transpose(1, 2, 0))
    # tifffile notes the old layout in the description, which must not come along.
    write_image(tmp_path / "out.tif", image)
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), planes)  # in planes again
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert not file.pages.first.is_shaped


def test_a_tiff_of_luma_and_chroma_becomes_rgb(tmp_path):
    PIL.Image.new("YCbCr", (8, 6), (150, 100, 180)).save(tmp_path / "a.tif")
    expected = PIL.Image.new("YCbCr", (1, 1), (150, 100, 180)).convert("RGB").getpixel((0, 0))
    pixels = read_image(tmp_path / "a.tif").pixels
    assert pixels.shape == (6, 8, 3)
    assert tuple(pixels[3, 4].tolist()) == expected


@pytest.mark.parametrize("ome", [False, True])
def test_three_pages_that_are_channels_become_colour(tmp_path, ome):
    planes = noise((3, 5, 7), "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif",
        planes,
        imagej=not ome,
        ome=ome,
        photometric="minisblack",
        metadata={"axes": "CYX"},
    )
    image = read_image(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, planes.transpose(1, 2, 0))
    write_image(tmp_path / "out.tif", image)
    assert np.array_equal(read_image(tmp_path / "out.tif").pixels, image.pixels)


def test_white_is_zero_is_turned_round(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 200]], "u1"), photometric="miniswhite")
    assert read_image(tmp_path / "a.tif").pixels.tolist() == [[255, 55]]


def test_premultiplied_colours_are_divided(tmp_path):
    values = np.array([[[50, 0, 100, 100], [7, 7, 7, 0]]], np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", values, photometric="rgb", extrasamples=["assocalpha"], metadata=None
    )
    image = read_image(tmp_path / "a.tif")
    assert image.pixels.tolist() == [[[128, 0, 255], [0, 0, 0]]]
    assert image.alpha is not None
    assert image.alpha.tolist() == [[100, 0]]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize(
    ("shape", "dtype"), [((16, 16), "uint8"), ((16, 16, 3), "uint8"), ((16, 16), "uint16")]
)
def test_compressed_tiffs(tmp_path, compression, shape, dtype):
    # libtiff's JPEG has 8 bits, and is exact for even areas only.
    dtype = "uint8" if compression == "jpeg" else dtype
    pixels = np.full(shape, 90, dtype) if compression == "jpeg" else noise(shape, dtype)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.tif", compression=compression)
    again = read_image(tmp_path / "a.tif").pixels
    assert again.dtype == pixels.dtype
    assert np.abs(again.astype(int) - pixels).max() <= (1 if compression == "jpeg" else 0)


def test_a_camera_s_jpeg_with_a_preview_gives_its_first_picture(tmp_path):
    first, preview = (PIL.Image.fromarray(noise(shape)) for shape in ((16, 24, 3), (4, 6, 3)))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
    assert read_image(tmp_path / "a.jpg").pixels.shape == (16, 24, 3)


def test_the_content_counts_not_the_suffix(tmp_path):
    PIL.Image.fromarray(noise((4, 4))).save(tmp_path / "really_a_png.jpg", "PNG")
    assert np.array_equal(read_image(tmp_path / "really_a_png.jpg").pixels, noise((4, 4)))


def test_images_beyond_pillow_s_limit_are_read_and_the_limit_is_left_as_it_was(
    tmp_path, monkeypatch
):
    write_image(tmp_path / "a.png", Image(noise((20, 20))))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(tmp_path / "a.png").pixels.shape == (20, 20)
    assert PIL.Image.MAX_IMAGE_PIXELS == 100


# What is refused.


def refuse(path: Path, sentence: str) -> None:
    """Reading fails with one sentence that names the file and matches."""
    with pytest.raises(UserError, match=sentence) as caught:
        read_image(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text


def test_a_missing_file(tmp_path):
    refuse(tmp_path / "none.png", "there is no file .*none.png")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own there")
@pytest.mark.parametrize("target", ["a.png", "none.png"])
def test_a_link_in_a_circle_or_to_nothing(tmp_path, target):
    (tmp_path / "a.png").symlink_to(tmp_path / target)
    refuse(tmp_path / "a.png", "is a link that leads to no file; mend or remove it")


def test_a_folder(tmp_path):
    refuse(tmp_path, "is a folder where an image file is needed")


def test_an_unreadable_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    refuse(path, "could not be read: Permission denied")


def test_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    refuse(tmp_path / "a.png", "is not a regular file")


def test_an_empty_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    refuse(tmp_path / "a.png", r"is empty \(0 bytes\)")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp", "a.webp"])
@pytest.mark.parametrize("text", ["just some words\n", "x", "II*", "BM and other words"])
def test_a_text_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    refuse(tmp_path / name, "is not an image that can be read|is damaged or cut short")


def test_a_format_of_another_kind(tmp_path):
    PIL.Image.fromarray(noise((4, 4))).save(tmp_path / "a.ppm")
    refuse(tmp_path / "a.ppm", "use PNG, JPEG, TIFF, .* or camera raw")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_file(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    write_image(path, Image(noise((40, 50, 3))))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refuse(
        path, "is damaged or cut short" if suffix != ".tif" else r"is cut short \(its pixels end"
    )


def test_no_inside_of_a_decoder_is_shown(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError) as caught:
        read_image(tmp_path / "a.png")
    assert str(caught.value).endswith("a.png is damaged or cut short; copy or save it again")


@pytest.mark.parametrize(
    ("code", "mistake"),
    [
        ("nothing_of_that_name", NameError),
        ("import no_such_module", ImportError),
        ("None.shape", UserError),
        ("len(1)", UserError),
    ],
)
def test_a_mistake_in_our_code_is_not_called_a_damaged_file(tmp_path, monkeypatch, code, mistake):
    write_image(tmp_path / "a.png", Image(noise((4, 5, 3))))
    ours = compile(code, str(Path(noise2noise.__file__).parent / "files" / "png.py"), "exec")
    monkeypatch.setattr(formats, "in_colour", lambda stack: exec(ours))
    with pytest.raises(mistake) as caught:
        read_image(tmp_path / "a.png")
    assert mistake is not UserError or "Error in png.py:1); if others open it" in str(caught.value)


def test_a_decoder_that_stumbles_has_met_a_damaged_file(tmp_path, monkeypatch):
    write_image(tmp_path / "a.png", Image(noise((4, 5, 3))))
    monkeypatch.setattr(formats, "in_colour", lambda stack: exec("None.shape"))
    refuse(tmp_path / "a.png", "is damaged or cut short")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path, value):
    pixels = noise((5, 7, 3), "float32")
    pixels[2, 4, 1] = pixels[3, 0, 0] = value
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    refuse(tmp_path / "a.tif", "has 2 NaN or infinite values, the first at row 2, column 4")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_an_animation(tmp_path, suffix):
    frames = [PIL.Image.fromarray(noise((4, 4, 3)) // k) for k in (1, 2, 3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    refuse(tmp_path / f"a{suffix}", "holds 3 images")


@pytest.mark.parametrize(
    "options",
    [
        {"photometric": "minisblack"},
        {"photometric": "minisblack", "metadata": None},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"photometric": "minisblack", "truncate": True},  # one page that declares ten images
    ],
)
def test_a_stack(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", noise((10, 6, 8)), **options)
    refuse(tmp_path / "a.tif", "holds 10 images")


def test_three_pages_that_are_not_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((3, 6, 8)), imagej=True, metadata={"axes": "TYX"})
    refuse(tmp_path / "a.tif", "holds 3 images")


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channel_counts_that_are_no_image(tmp_path, channels):
    tifffile.imwrite(
        tmp_path / "a.tif",
        noise((6, 8, channels)),
        photometric="minisblack",
        planarconfig="contig",
    )
    refuse(tmp_path / "a.tif", f"has {channels} channels")


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "complex64"])
def test_other_dtypes(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((4, 5), dtype))
    refuse(tmp_path / "a.tif", f"has {dtype} pixels")


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk(tmp_path, suffix):
    PIL.Image.new("CMYK", (4, 4)).save(tmp_path / f"a{suffix}")
    refuse(tmp_path / f"a{suffix}", "has cmyk pixels; save what you want as grey or RGB")


@pytest.mark.parametrize("width", [30_000, 2**31 - 1])
def test_a_png_that_claims_to_be_huge(tmp_path, width):
    (tmp_path / "a.png").write_bytes(png(width, 30_000, 8, 2, bytes(100)))
    refuse(tmp_path / "a.png", f"has {width} x 30000 pixels, more than the 500 million|damaged")


def edit_tag(path: Path, tag: int, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[tag].overwrite(value, dtype=4)


def test_a_tiff_that_claims_to_be_huge(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((4, 4)), metadata=None)
    edit_tag(path, 256, 30_000)
    edit_tag(path, 257, 30_000)
    refuse(path, "has 30000 x 30000 pixels")


def test_a_bmp_with_fewer_data_than_pixels(tmp_path):
    write_image(tmp_path / "a.bmp", Image(noise((4, 4, 3))))
    data = bytearray((tmp_path / "a.bmp").read_bytes())
    data[18:22] = (20_000).to_bytes(4, "little")
    (tmp_path / "a.bmp").write_bytes(data)
    refuse(tmp_path / "a.bmp", r"is damaged \(\d+ bytes of data can't be 20000 x 4 pixels\)")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_tiff_with_fewer_data_than_pixels(tmp_path, compression):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((4, 4)), metadata=None, compression=compression)
    edit_tag(path, 256, 20_000)
    refuse(path, r"is damaged \(\d+ bytes of data can't be 20000 x 4 pixels\)")


def test_a_tiff_that_needs_another_package(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((4, 4, 3), "uint16"), photometric="rgb", metadata=None)
    edit_tag(path, 259, 34712)  # JPEG 2000
    try:
        import imagecodecs  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
    except ImportError:
        refuse(path, "16-bit pixels packed as JPEG2000, .*: pip install imagecodecs")


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0)])
def test_images_without_pixels(tmp_path, width, height):
    (tmp_path / "a.png").write_bytes(png(width, height, 8, 0))
    refuse(tmp_path / "a.png", "has no pixels|is damaged")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((4, 4)), metadata=None)
    edit_tag(path, 256 if width == 0 else 257, 0)
    refuse(path, "has no pixels|is damaged")


def valid_files(folder: Path) -> list[Path]:
    colour, grey16 = noise((12, 10, 3)), noise((12, 10), "uint16")
    metadata = Metadata(exif=exif().removeprefix(b"Exif\0\0"), icc_profile=ICC[:200])
    for name, pixels in [
        ("c.png", colour),
        ("g.png", grey16),
        ("c.jpg", colour),
        ("c.tif", colour),
        ("g.tif", grey16),
        ("f.tif", noise((12, 10), "float32")),
        ("c.bmp", colour),
        ("c.webp", colour),
    ]:
        write_image(folder / name, Image(pixels, None, metadata))
    tifffile.imwrite(folder / "z.tif", colour, photometric="rgb", compression="zlib")
    tifffile.imwrite(folder / "ij.tif", noise((3, 6, 8)), imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(folder / "ome.tif", noise((12, 10)), ome=True)
    PIL.Image.fromarray(colour).save(folder / "lzw.tif", compression="tiff_lzw")
    PIL.Image.fromarray(colour).save(folder / "jpeg.tif", compression="jpeg")
    PIL.Image.fromarray(colour).convert("P").save(folder / "p.png", transparency=3)
    return sorted(folder.iterdir())


def test_flipped_bytes_give_an_image_or_one_sentence(tmp_path, capfd):
    """Damage of any kind: nothing but UserError may come out, and nothing may be printed."""
    rng = np.random.default_rng(0)
    refused = 0
    (tmp_path / "valid").mkdir()
    for source in valid_files(tmp_path / "valid"):
        valid = source.read_bytes()
        damaged = tmp_path / source.name
        for trial in range(100):
            data = bytearray(valid)
            # Half of the damage in the first bytes, where the structure of most formats is.
            reach = len(data) if trial % 2 else min(len(data), 120)
            for place in rng.integers(4, reach, size=rng.integers(1, 5)):
                data[place] = rng.integers(256)
            damaged.write_bytes(data[: rng.integers(4, len(data))] if trial % 10 == 9 else data)
            try:
                image = read_image(damaged)
            except UserError as error:
                refused += 1
                assert str(damaged) in str(error)  # noqa: PT017
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert isinstance(image, Image)
        printed = capfd.readouterr()
        if source.name not in ("lzw.tif", "jpeg.tif"):  # libtiff itself writes to stderr
            assert printed == ("", "")
    assert refused > 300


# Writing.


@pytest.mark.parametrize(
    ("name", "image", "sentence"),
    [
        ("a.ppm", Image(noise((4, 4))), r"end it in \.png, .* or \.npy"),
        ("a", Image(noise((4, 4))), r"end it in \.png"),
        ("a.png", Image(noise((4, 4), "float32")), r"can't hold float pixels; end .* \.tif"),
        ("a.jpg", Image(noise((4, 4), "uint16")), r"16-bit grey pixels here; .* \.png or \.tif"),
        ("a.bmp", Image(noise((4, 4, 3), "uint16")), r"16-bit colour pixels here; .* \.tif"),
        ("a.jpg", Image(noise((4, 4)), noise((4, 4))), r"JPEG can't hold transparency; .* \.png"),
        ("a.bmp", Image(noise((4, 4)), noise((4, 4))), r"BMP can't hold transparency; .* \.png"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path, name, image, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        write_image(tmp_path / name, image)
    assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_image_larger_than_the_format_allows(tmp_path):
    with pytest.raises(UserError, match="can't be written as WebP"):
        write_image(tmp_path / "a.webp", Image(np.zeros((1, 17_000, 3), np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_needs_overwrite(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"a\.png exists already; .* --overwrite"):
        write_image(path, Image(noise((4, 4))))
    assert path.read_bytes() == b"precious"
    write_image(path, Image(noise((4, 4))), overwrite=True)
    assert np.array_equal(read_image(path).pixels, noise((4, 4)))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="none does not exist; create it first"):
        write_image(tmp_path / "none/a.png", Image(noise((4, 4))))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_disk_that_refuses_leaves_the_older_file(tmp_path, suffix):
    resource = pytest.importorskip("resource")
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"precious")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(UserError, match=f"a{suffix} could not be written: File too large"):
            write_image(path, Image(noise((200, 200))), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="could not be written: No space left on device"):
        write_image(tmp_path / "a.png", Image(noise((4, 4))))
    assert list(tmp_path.iterdir()) == []


# Folders.


def test_the_images_of_a_folder(tmp_path):
    for name in ["b.PNG", "a.jpeg", "c.tif", "notes.txt", ".hidden.png", "archive.png.zip"]:
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.jpeg", "b.PNG", "c.tif"]


def test_folders_without_images(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"there is no image in .*\.png, .* or \.npy"):
        list_images(tmp_path)
    with pytest.raises(UserError, match=r"there is no folder .*none"):
        list_images(tmp_path / "none")
    with pytest.raises(UserError, match=r"notes\.txt is a file where a folder"):
        list_images(tmp_path / "notes.txt")


# The unit scale.


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_every_integer_survives_the_unit_scale(dtype):
    top = np.iinfo(dtype).max
    pixels = np.arange(top + 1, dtype=dtype).reshape(16, -1)
    unit = to_unit(pixels)
    assert unit.dtype == np.float32
    assert unit.shape == (1, *pixels.shape)
    assert (unit.min(), unit.max()) == (0, 1)
    assert np.array_equal(from_unit(unit, dtype), pixels)


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    colour=st.booleans(),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    data=st.data(),
)
def test_the_unit_scale_is_undone(shape, colour, dtype, data):
    shape = (*shape, 3) if colour else shape
    elements = st.floats(-1, 2, width=32) if dtype == "float32" else None
    pixels = data.draw(hnp.arrays(dtype, shape, elements=elements))
    unit = to_unit(Image(pixels))
    assert unit.shape == ((3 if colour else 1), *shape[:2])
    assert unit.flags.c_contiguous
    assert not np.shares_memory(unit, pixels)
    again = from_unit(unit, dtype)
    assert again.dtype == dtype
    assert again.flags.c_contiguous
    assert np.array_equal(again, pixels)


def test_colours_keep_their_order():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    assert to_unit(red)[:, 0, 0].tolist() == [1, 0, 0]


def test_results_beyond_the_range_are_clipped_in_integers_only():
    unit = np.array([[[-0.5, 0.4999, 0.5001 / 255, 1.5]]], np.float32)
    assert from_unit(unit, np.uint8).tolist() == [[0, 127, 1, 255]]
    assert from_unit(unit, np.uint16).tolist() == [[0, 32761, 129, 65535]]
    assert np.array_equal(from_unit(unit, np.float32), unit[0])


@pytest.mark.parametrize("pixels", [[[0.0, 255.0]], [[-1.5, 0.0]], [[np.nan, 0.5]]])
def test_floats_of_another_range(pixels):
    with pytest.raises(UserError, match=r"range from .* to .*; scale them to 0\.\.1"):
        to_unit(np.array(pixels, np.float32))


def test_a_broken_result_is_not_written_as_integers():
    with pytest.raises(UserError, match="has 2 NaN or infinite values"):
        from_unit(np.array([[[np.nan, 0, np.inf]]], np.float32), np.uint8)


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (2, 4, 4, 3), (0, 4), (3, 0, 3)])
def test_shapes_that_are_no_image(shape):
    with pytest.raises(ValueError, match="expected"):
        to_unit(np.zeros(shape, np.uint8))


def test_dtypes_and_shapes_between_the_two_scales():
    with pytest.raises(ValueError, match="uint8, uint16 or float32, got int64"):
        to_unit(np.zeros((4, 4), np.int64))
    with pytest.raises(ValueError, match="uint8, uint16 or float32, got int16"):
        from_unit(np.zeros((1, 4, 4), np.float32), np.int16)
    with pytest.raises(ValueError, match=r"got \(2, 4, 4\)"):
        from_unit(np.zeros((2, 4, 4), np.float32), np.uint8)
    with pytest.raises(ValueError, match=r"alpha of shape \(4, 4\) and uint8"):
        Image(noise((4, 4)), noise((4, 5)))

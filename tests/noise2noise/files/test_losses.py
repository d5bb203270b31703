"""What a result can't take back is said; what it can is there."""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import (
    Header,
    Image,
    bands_of,
    format_for,
    open_stack,
    write_image,
    write_stack,
)
from noise2noise.files.jxl_header import recoloured
from noise2noise.inference import Settings

ICC = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
LINEAR = "01011010001010000"  # sRGB's colours, without its curve, as imagecodecs says of 16 bits


def said_of(path: Path) -> Header:
    with open_stack(path) as stack:
        return stack.header


def test_metadata_without_a_place_are_named(tmp_path, make_model):
    block = PIL.Image.Exif()
    block[271] = "Camera works"
    PIL.Image.fromarray(PIXELS).save(tmp_path / "a.jpg", icc_profile=ICC, exif=block)
    said = said_of(tmp_path / "a.jpg")
    assert format_for("a.jpg").losses(said) == ()
    assert format_for("a.png").losses(said) == ()
    assert format_for("a.bmp").losses(said) == ("no place for its EXIF and colour profile",)
    assert format_for("a.jxl").losses(said) == ("no place for its colour profile",)
    denoiser = Denoiser.load(make_model(width=4, depth=1, channels=3))
    with open_stack(tmp_path / "a.jpg") as stack:
        outcome = denoiser.denoise_stack(stack, tmp_path / "a.gif", Settings())
    assert outcome.losses[0] == "written with 256 colours a frame"


def test_a_tiff_that_was_packed_with_loss_is_packed_without(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, photometric="rgb", compression="jpeg")
    said = said_of(tmp_path / "a.tif")
    assert format_for("b.tif").losses(said) == ("packed without loss, not as JPEG again",)
    tifffile.imwrite(tmp_path / "c.tif", PIXELS, photometric="rgb", compression="zlib")
    assert format_for("b.tif").losses(said_of(tmp_path / "c.tif")) == ()


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_hands_its_metadata_on_and_says_that_it_loses_them(tmp_path, bits):
    deep = PIXELS.astype(np.uint16) << (bits - 8)
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(deep, 95, bitspersample=bits))
    assert format_for("b.avif").losses(said_of(tmp_path / "a.avif")) == ()
    block = PIL.Image.Exif()
    block[271] = "Camera works"
    PIL.Image.fromarray(PIXELS).save(tmp_path / "b.avif", exif=block, icc_profile=ICC)
    data = bytearray((tmp_path / "b.avif").read_bytes())
    data[data.index(b"av1C") + 6] |= 0x40 if bits == 10 else 0x60  # nothing is decoded here
    place = data.index(b"pixi") + 9
    data[place : place + 3] = bytes([bits] * 3)
    (tmp_path / "b.avif").write_bytes(data)
    said = said_of(tmp_path / "b.avif")
    assert (said.dtype, said.white) == (np.uint16, 2**bits - 1)
    assert said.metadata.icc_profile == ICC
    assert b"Camera works" in said.metadata.exif
    assert format_for("c.avif").losses(said) == ("no place for its EXIF and colour profile",)


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_colours_that_are_multiplied_by_transparency_are_named(tmp_path, kind):
    pixels = np.dstack([PIXELS, PIXELS[..., 0]])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[kind])
    said = said_of(tmp_path / "a.tif")
    words = "its colours stay multiplied by its transparency"
    for name in ("a.png", "a.webp", "a.jxl", "a.avif", "a.npy"):
        assert (words in format_for(name).losses(said)) == (kind == "assocalpha")
    assert words not in format_for("a.tif").losses(said)


BT2020_PQ, P3 = (9, 16), (12, 13)


def avif(path: Path, bits: int, colours: tuple[int, int]) -> Path:
    pixels = PIXELS if bits == 8 else PIXELS.astype(np.uint16) << (bits - 8)
    primaries, transfer = colours
    path.write_bytes(
        imagecodecs.avif_encode(
            pixels, 95, bitspersample=bits, primaries=primaries, transfer=transfer
        )
    )
    return path


def colours_of(path: Path) -> tuple[int, ...]:
    """What an AVIF says, found by hand, for no library at hand tells it."""
    _, found, behind = path.read_bytes().partition(b"colrnclx")
    return struct.unpack(">HH", behind[:4]) if found else ()


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("colours", [BT2020_PQ, P3, (1, 1), (2, 2)])
def test_an_avif_keeps_what_its_colours_are(tmp_path, bits, colours):
    with open_stack(avif(tmp_path / "a.avif", bits, colours)) as stack:
        write_stack(tmp_path / "b.avif", stack.header, bands_of(stack))
    assert colours_of(tmp_path / "a.avif") == colours_of(tmp_path / "b.avif") == colours


def test_what_colours_are_goes_where_there_is_a_place_and_is_missed_elsewhere(tmp_path):
    with open_stack(avif(tmp_path / "a.avif", 8, P3)) as stack:
        said, pixels = stack.header, list(bands_of(stack))
    for suffix in (".jpg", ".tif", ".webp", ".jxl", ".npy", ".bmp"):
        assert "no place for its colour space" in format_for(f"a{suffix}").losses(said)
    for suffix in (".png", ".avif"):
        assert format_for(f"a{suffix}").losses(said) == ()
        write_stack(tmp_path / f"b{suffix}", said, pixels)
    assert b"cICP\x0c\x0d\0\1" in (tmp_path / "b.png").read_bytes()
    with open_stack(tmp_path / "b.png") as stack:
        write_stack(tmp_path / "c.avif", stack.header, bands_of(stack))
    assert colours_of(tmp_path / "b.avif") == colours_of(tmp_path / "c.avif") == P3
    for common in ((1, 13), (2, 2)):  # what is assumed where nothing is said
        said = said_of(avif(tmp_path / "d.avif", 8, common))
        assert format_for("d.jpg").losses(said) == ()


def test_what_colours_are_goes_to_heif_and_back(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    with open_stack(avif(tmp_path / "a.avif", 8, P3)) as stack:
        write_stack(tmp_path / "a.heic", stack.header, bands_of(stack))
    told = pillow_heif.open_heif(tmp_path / "a.heic").info["nclx_profile"]
    assert (told["color_primaries"], told["transfer_characteristics"]) == P3
    with open_stack(tmp_path / "a.heic") as stack:
        write_stack(tmp_path / "b.avif", stack.header, bands_of(stack))
    assert colours_of(tmp_path / "b.avif") == P3


@pytest.mark.parametrize(
    ("said", "orientation"),
    [(b"irot\1", 8), (b"irot\2", 3), (b"irot\3", 6), (b"imir\0", 4), (b"imir\1", 2)],
)
def test_a_deep_avif_that_is_shown_turned_is_written_so(tmp_path, said, orientation):
    flat = np.repeat(np.repeat(PIXELS[:2, :3], 16, 0), 16, 1).astype(np.uint16) << 2
    data = bytes(imagecodecs.avif_encode(flat, 100, bitspersample=10))
    # The word on colours, of 19 bytes, makes place for one on turning, which readers must mind.
    start = data.index(b"colrnclx") - 4
    box = b"\0\0\0\x09" + said + b"\0\0\0\x0afree\0\0"
    data = data[:start] + box + data[start + 19 :]
    (tmp_path / "a.avif").write_bytes(data.replace(b"\x01\x02\x83\x04", b"\x01\x02\x83\x84"))
    with PIL.Image.open(tmp_path / "a.avif") as file:
        assert file.getexif()[274] == orientation
        shown = np.asarray(PIL.ImageOps.exif_transpose(file)).astype(int)
    with open_stack(tmp_path / "a.avif") as stack:
        assert stack.header.white == 1023
        write_stack(tmp_path / "b.avif", stack.header, bands_of(stack))
    with PIL.Image.open(tmp_path / "b.avif") as file:
        assert 274 not in file.getexif()
        assert file.size == shown.shape[1::-1]
        assert np.abs(np.asarray(file) - shown).mean() < 4


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_jpeg_xl_keeps_its_bits_and_what_its_colours_are(tmp_path, bits):
    deep = PIXELS.astype(np.uint16) << (bits - 8)
    data = bytes(imagecodecs.jpegxl_encode(deep, lossless=True, bitspersample=bits))
    (tmp_path / "a.jxl").write_bytes(data)
    with open_stack(tmp_path / "a.jxl") as stack:
        assert stack.header.white == (None if bits == 16 else 2**bits - 1)
        assert stack.header.metadata.layout.colours == LINEAR
        write_stack(tmp_path / "b.jxl", stack.header, bands_of(stack))
    again = said_of(tmp_path / "b.jxl").metadata.layout
    assert (again.bits, again.colours) == (bits, LINEAR)
    result = imagecodecs.jpegxl_decode((tmp_path / "b.jxl").read_bytes())
    np.testing.assert_array_equal(result, deep)


def test_16_bits_from_elsewhere_are_not_called_linear(tmp_path):
    deep = PIXELS.astype(np.uint16) << 8
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    with open_stack(tmp_path / "a.png") as stack:
        write_stack(tmp_path / "a.jxl", stack.header, bands_of(stack))
    assert said_of(tmp_path / "a.jxl").metadata.layout.colours == "1"
    result = imagecodecs.jpegxl_decode((tmp_path / "a.jxl").read_bytes())
    np.testing.assert_array_equal(result, deep)


def test_a_profile_of_jpeg_xl_that_can_not_be_read_is_named(tmp_path):
    plain = bytes(imagecodecs.jpegxl_encode(PIXELS, lossless=True))
    (tmp_path / "a.jxl").write_bytes(recoloured(plain, "0010"))  # "by a profile"
    assert said_of(tmp_path / "a.jxl").notes == (
        "its colour profile can't be read and is left out",
    )


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_headers_of_jpeg_xl_say_what_is_decoded(tmp_path, samples, dtype):
    pixels = np.zeros((13, 300, samples), dtype)
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(np.squeeze(pixels)))
    with open_stack(path) as stack:
        said = stack.header
        assert stack.read().shape == (13, 300, samples)
    assert (said.dtype, said.alpha) == (pixels.dtype, "" if samples % 2 else "straight")


@pytest.mark.parametrize("samples", [1, 3])
def test_jpeg_of_12_bits_stays_so_with_its_metadata(tmp_path, samples):
    ramp = np.linspace(0, 4095, 32 * 48 * samples).reshape(32, 48, samples)
    deep = np.squeeze(np.rint(ramp).astype(np.uint16))
    block = PIL.Image.Exif()
    block[271] = "Camera works"
    data = bytes(imagecodecs.jpeg8_encode(deep, 95, bitspersample=12))
    exif = b"Exif\0\0" + block.tobytes().removeprefix(b"Exif\0\0")
    added = [(0xE1, exif), (0xE2, b"ICC_PROFILE\0\1\1" + ICC), (0xFE, b"a comment")]
    parts = b"".join(struct.pack(">BBH", 0xFF, m, len(b) + 2) + b for m, b in added)
    (tmp_path / "a.jpg").write_bytes(data[:2] + parts + data[2:])
    with open_stack(tmp_path / "a.jpg") as stack:
        assert (stack.header.dtype, stack.header.white) == (np.uint16, 4095)
        assert stack.header.metadata.icc_profile == ICC
        write_stack(tmp_path / "b.jpg", stack.header, bands_of(stack))
    result = (tmp_path / "b.jpg").read_bytes()
    assert all(body in result for _, body in added)
    again = imagecodecs.jpeg8_decode(result)
    assert (again.dtype, again.shape) == (deep.dtype, deep.shape)
    assert abs(again.astype(int) - deep).mean() < 20
    with pytest.raises(UserError, match="16-bit"):  # only what had 12 bits has them again
        write_image(tmp_path / "c.jpg", Image(np.squeeze(deep)))

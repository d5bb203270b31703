"""PNG, JPEG, WebP and AVIF: what stands around the pixels goes into the result as it was."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL.JpegImagePlugin import get_sampling

from noise2noise.errors import UserError
from noise2noise.files import bands_of, open_stack, write_stack


def noise(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def copied(source: Path, suffix: str = "") -> Path:
    """The file written like itself, or in another format."""
    target = source.with_name(f"copy{suffix or source.suffix}")
    with open_stack(source) as stack:
        write_stack(target, stack.header, bands_of(stack, 5))
    return target


# PNG.


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(path: Path, *chunks: bytes, mode: str = "RGB") -> Path:
    """A PNG with these chunks after its header."""
    PIL.Image.fromarray(noise((8, 12, 3))).convert(mode).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:])
    return path


def chunks_of(path: Path) -> dict[bytes, bytes]:
    data, position, found = path.read_bytes(), 8, {}
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        found[data[position + 4 : position + 8]] = data[position + 8 : position + 8 + length]
        position += length + 12
    return found


KEPT = {
    b"gAMA": struct.pack(">I", 100000),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000),
    b"cICP": bytes([9, 16, 0, 1]),
    b"sRGB": b"\0",
    b"tEXt": b"Comment\0seen from the hill",
    b"zTXt": b"Description\0\0" + zlib.compress("Größe".encode("latin-1")),
    b"vpAg": b"a private chunk that is safe to copy",
}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("name", KEPT, ids=bytes.decode)
def test_chunks_of_colour_and_text_stay(tmp_path, name, mode):
    path = png_with(tmp_path / "a.png", chunk(name, KEPT[name]), mode=mode)
    assert chunks_of(copied(path))[name] == KEPT[name]


def test_xmp_goes_from_format_to_format(tmp_path):
    xmp = b"<x:xmpmeta>who took it</x:xmpmeta>"
    body = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
    path = png_with(tmp_path / "a.png", chunk(b"iTXt", body))
    for suffix in (".jpg", ".webp", ".avif", ".tif", ".jxl", ".png"):
        path = copied(path, suffix).rename(tmp_path / f"next{suffix}")
    assert chunks_of(path)[b"iTXt"] == body


def test_resolution_stays_to_the_pixel(tmp_path):
    body = struct.pack(">IIB", 11811, 5000, 1)
    assert chunks_of(copied(png_with(tmp_path / "a.png", chunk(b"pHYs", body))))[b"pHYs"] == body


def test_a_damaged_text_does_not_keep_anyone_from_the_picture(tmp_path):
    broken = chunk(b"tEXt", b"Comment\0x")[:-4] + b"rubb"
    path = png_with(tmp_path / "a.png", broken, chunk(b"gAMA", KEPT[b"gAMA"]))
    result = copied(path)
    assert np.array_equal(np.asarray(PIL.Image.open(result)), noise((8, 12, 3)))
    assert b"tEXt" not in chunks_of(result)
    assert b"gAMA" in chunks_of(result)


def test_a_text_of_megabytes_does_not_either(tmp_path):
    body = b"Comment\0\0" + zlib.compress(bytes(5 * 2**20))
    path = png_with(tmp_path / "a.png", chunk(b"zTXt", body))
    assert chunks_of(copied(path))[b"zTXt"] == body


def test_a_damaged_picture_is_refused(tmp_path):
    path = png_with(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[data.find(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged or cut short"):
        open_stack(path)


# JPEG.


def test_comments_xmp_and_iptc_of_a_jpeg_stay(tmp_path):
    path = tmp_path / "a.jpg"
    PIL.Image.fromarray(noise((16, 24, 3))).save(path, comment=b"by hand", dpi=(72, 72))
    data = path.read_bytes()
    segments = [
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<xmp>"),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x04IPTC"),
        (0xE5, b"a maker's own"),
    ]
    extra = b"".join(struct.pack(">BBH", 0xFF, m, len(b) + 2) + b for m, b in segments)
    path.write_bytes(data[:20] + extra + data[20:])
    with PIL.Image.open(path) as before, PIL.Image.open(copied(path)) as after:
        kept = [(name, body) for name, body in before.applist if name != "APP0"]  # type: ignore[attr-defined]
        assert sorted(kept) == sorted(each for each in after.applist if each[0] != "APP0")  # type: ignore[attr-defined]
        assert after.info["comment"] == b"by hand"
        assert after.info["dpi"] == (72, 72)


@pytest.mark.parametrize(("quality", "expected"), [(98, 98), (60, 90)])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_jpeg_is_quantized_no_more_coarsely_than_it_was(tmp_path, quality, expected, subsampling):
    image = PIL.Image.fromarray(noise((16, 24, 3)))
    image.save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling, progressive=True)
    image.save(tmp_path / "expected.jpg", quality=expected)
    copy = copied(tmp_path / "a.jpg")
    with PIL.Image.open(copy) as result, PIL.Image.open(tmp_path / "expected.jpg") as wanted:
        assert get_sampling(result) == subsampling
        assert "progressive" in result.info
        assert result.quantization == wanted.quantization  # type: ignore[attr-defined]


def test_cmyk_jpegs_stay_so(tmp_path):
    inks = np.repeat(np.repeat(noise((2, 3, 4)), 8, 0), 8, 1)
    PIL.Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=98, subsampling=0)
    with open_stack(tmp_path / "a.jpg") as stack:
        assert (stack.header.colour, stack.header.samples) == ("cmyk", 4)
    with PIL.Image.open(copied(tmp_path / "a.jpg")) as result:
        assert result.mode == "CMYK"
        assert np.abs(np.asarray(result).astype(int) - inks).max() < 12
    with pytest.raises(UserError, match=r"PNG can't hold cmyk pixels; end the name in \.tif"):
        copied(tmp_path / "a.jpg", ".png")


# Frames.


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif"])
def test_frames_and_their_timing_stay(tmp_path, suffix):
    frames = []
    for shade in range(3):
        pixels = np.zeros((8, 12, 3), np.uint8)
        pixels[:, shade : shade + 6] = [255, 80 * shade, 10]
        frames.append(PIL.Image.fromarray(pixels))
    path = tmp_path / f"a{suffix}"
    options = {"lossless": True} if suffix == ".webp" else {}
    times = [100, 200, 300]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=2, **options)
    with open_stack(path) as stack:
        assert (stack.header.axes, stack.header.shape[:3]) == ("TYXS", (3, 8, 12))
    with PIL.Image.open(copied(path)) as result:
        assert result.n_frames == 3  # type: ignore[attr-defined]
        assert result.info["loop"] == 2
        for frame, (expected, time) in enumerate(zip(frames, times, strict=True)):
            result.seek(frame)
            result.load()
            assert result.info["duration"] == time
            assert np.array_equal(np.asarray(result.convert("RGB")), np.asarray(expected))


def test_an_animation_keeps_what_is_behind_it(tmp_path):
    first, *others = (PIL.Image.fromarray(np.roll(noise((8, 12, 4)), i, 0)) for i in (0, 1))
    colour = (10, 200, 30, 255)
    options = {"lossless": True, "save_all": True, "append_images": others}
    first.save(tmp_path / "a.webp", background=colour, **options)
    with PIL.Image.open(copied(tmp_path / "a.webp")) as result:
        assert result.info["background"] == colour


# JPEG XL and AVIF, arrays.


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_jpeg_xl_loses_nothing(tmp_path, dtype, samples):
    import imagecodecs

    pixels = noise((9, 13, samples), "uint16")
    pixels = (pixels / 65535).astype(dtype) if dtype == "float32" else pixels.astype(dtype)
    plane = pixels[..., 0] if samples == 1 else pixels
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(plane, lossless=True))
    with open_stack(path) as stack:
        assert stack.header.samples == samples
        assert stack.header.alpha == ("straight" if samples in (2, 4) else "")
    result = imagecodecs.jpegxl_decode(copied(path).read_bytes())
    assert result.dtype == dtype
    np.testing.assert_array_equal(result.reshape(pixels.shape), pixels)


def test_exif_goes_into_a_jpeg_xl(tmp_path):
    exif = PIL.Image.Exif()
    exif[271] = "Maker"
    PIL.Image.fromarray(noise((8, 12, 3))).save(tmp_path / "a.png", exif=exif)
    with open_stack(copied(tmp_path / "a.png", ".jxl")) as stack:
        assert b"Maker" in stack.header.metadata.exif


@pytest.mark.parametrize(("width", "height"), [(8, 16), (300, 400), (16, 9), (3001, 7), (1, 1)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jpeg_xl_is_known_before_it_is_decoded(
    tmp_path, width, height, container, monkeypatch
):
    import imagecodecs

    from noise2noise.files import jxl

    sizes = []
    monkeypatch.setattr(jxl, "check_size", lambda *size: sizes.append(size))
    pixels = np.zeros((height, width), np.uint8)
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=container)
    (tmp_path / "a.jxl").write_bytes(data)
    open_stack(tmp_path / "a.jxl").close()
    assert sizes == [(width, height)]


@pytest.mark.parametrize("bits", [10, 12])
def test_an_avif_of_more_than_8_bits_keeps_them(tmp_path, bits):
    import imagecodecs

    pixels = (noise((16, 24, 3), "uint16") >> (16 - bits)).astype(np.uint16)
    data = imagecodecs.avif_encode(pixels, 100, bitspersample=bits)
    (tmp_path / "a.avif").write_bytes(data)
    with open_stack(tmp_path / "a.avif") as stack:
        assert stack.header.white == 2**bits - 1
        np.testing.assert_array_equal(stack.read(), pixels)
    result = imagecodecs.avif_decode(copied(tmp_path / "a.avif").read_bytes())
    assert result.dtype == np.uint16
    assert result.max() < 2**bits


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (5, 9, 7), (2, 3, 9, 7), (2, 3, 4, 9, 7, 3)])
@pytest.mark.parametrize("dtype", ["<u2", ">f4", "|i1"])
def test_arrays_keep_shape_dtype_and_byte_order(tmp_path, shape, dtype):
    array = noise(shape, "uint8").astype(dtype)
    np.save(tmp_path / "a.npy", array)
    result = np.load(copied(tmp_path / "a.npy"))
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


def test_an_array_of_objects_runs_no_code(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(UserError, match="is damaged or cut short"):
        open_stack(tmp_path / "a.npy")

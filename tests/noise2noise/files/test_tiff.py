"""TIFF: every way to store pixels, read in windows, written like the source, and what stays."""

import struct
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from noise2noise.errors import UserError
from noise2noise.files import Scale, bands_of, open_stack, scale_of, survey, write_stack

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


def noise(shape: tuple[int, ...], dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(0)
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def copied(source: Path, rows: int = 7) -> Path:
    """The file written like itself, in bands of so many rows."""
    target = source.with_name(f"copy-{source.name}")
    with open_stack(source) as stack:
        write_stack(target, stack.header, bands_of(stack, rows))
    return target


def tags(path: Path, page: int = 0) -> dict[int, Any]:
    with tifffile.TiffFile(path) as file:
        return {tag.code: tag.value for tag in file.pages[page].aspage().tags}


# Ways to store pixels.


def layouts() -> Iterable[dict[str, Any]]:
    yield {}
    yield {"rowsperstrip": 5}
    yield {"tile": (16, 32)}
    for compression in ("lzw", "zlib", "deflate", "packbits", "lzma", "zstd"):
        yield {"compression": compression, "rowsperstrip": 4}
        yield {"compression": compression, "tile": (32, 16)}
    yield {"compression": "zlib", "predictor": True, "rowsperstrip": 4}
    yield {"compression": "lzw", "predictor": True, "tile": (16, 16)}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", list(layouts()), ids=str)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_windows_and_copies_of_every_layout(tmp_path, dtype, layout, planar, order):
    pixels = noise((37, 45, 3), dtype)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, stored, photometric="rgb", planarconfig=planar, byteorder=order, **layout
    )
    with open_stack(path) as stack:
        assert (stack.header.axes, stack.header.shape) == ("YXS", (37, 45, 3))
        assert stack.header.dtype == dtype
        window = stack.read(0, slice(9, 30), slice(17, 40))
        np.testing.assert_array_equal(window, pixels[9:30, 17:40])
        np.testing.assert_array_equal(stack.read(), pixels)
    result = copied(path)
    np.testing.assert_array_equal(tifffile.imread(result), stored)
    kept = (259, 262, 277, 284, 317, 322, 323)
    before, after = tags(path), tags(result)
    assert [before.get(tag) for tag in kept] == [after.get(tag) for tag in kept]
    assert before.get(278, 37) == after.get(278, 37)
    assert result.read_bytes()[:2] == (b"II" if order == "<" else b"MM")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("samples", [1, 2, 3, 4, 5])
def test_every_dtype_and_number_of_channels(tmp_path, dtype, samples):
    pixels = noise((9, 12, samples), dtype)
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"planarconfig": "contig"} if samples > 1 else {}
    tifffile.imwrite(path, np.squeeze(pixels), photometric="minisblack", **options)
    with open_stack(path) as stack:
        assert stack.header.colour == ("grey" if samples == 1 else "channels")
        np.testing.assert_array_equal(stack.read(), pixels)
    again = tifffile.imread(copied(path))
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, np.squeeze(pixels))


def test_big_tiff_stays_big(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise((9, 12)), bigtiff=True)
    assert copied(tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"


def test_windows_of_tiles_leave_the_others_alone(tmp_path):
    """Damage outside of a window isn't met."""
    path = tmp_path / "a.tif"
    pixels = noise((64, 64), "uint16")
    tifffile.imwrite(path, pixels, tile=(16, 16), compression="zlib")
    with tifffile.TiffFile(path) as file:
        last = file.pages.first.dataoffsets[-1]
    data = bytearray(path.read_bytes())
    data[last : last + 8] = b"rubbish!"
    path.write_bytes(data)
    with open_stack(path) as stack:
        window = stack.read(0, slice(0, 48), slice(0, 64))
        np.testing.assert_array_equal(window[..., 0], pixels[:48])
        with pytest.raises(UserError, match=r"a\.tif is damaged or cut short"):
            stack.read()


def packed(values: np.ndarray, bits: int, **options: int) -> bytes:
    """Rows of four integers, bit by bit, the highest first: some versions of imagecodecs can't."""
    each = values.reshape(-1, 4, 1) >> np.arange(bits - 1, -1, -1) & 1
    return np.packbits(each.reshape(-1, 4 * bits).astype(bool), axis=-1).tobytes()


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_bits_that_do_not_fill_bytes_are_stretched(tmp_path, monkeypatch, bits, photometric):
    monkeypatch.setattr(imagecodecs, "packints_encode", packed)
    most = 2**bits - 1
    pixels = np.array([[0, 1, most // 3, most]] * 3, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, bitspersample=bits, photometric=photometric)
    expected = np.rint(pixels * (65535 / most)).astype(np.uint16)
    with open_stack(tmp_path / "a.tif") as stack:
        values = stack.read()[..., 0]
    inverted = photometric == "miniswhite"
    np.testing.assert_array_equal(values, 65535 - expected if inverted else expected)
    again = tifffile.imread(copied(tmp_path / "a.tif"))
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("how", ["SMaxSampleValue", "MaxSampleValue", "SignificantBits"])
def test_what_is_white_is_said_by_the_file(tmp_path, how):
    pixels = noise((9, 12), "uint16") >> 6
    path = tmp_path / "a.ome.tif"
    if how == "SignificantBits":
        tifffile.imwrite(path, pixels, ome=True, metadata={"SignificantBits": 12})
    else:
        code = {"SMaxSampleValue": 341, "MaxSampleValue": 281}[how]
        tifffile.imwrite(path, pixels, extratags=[(code, 3, 1, 4095, True)], metadata=None)
    for each in (path, copied(path)):
        with open_stack(each) as stack:
            assert stack.header.white == 4095
            assert scale_of(stack.header, survey(stack)) == Scale(0, 4095)


def test_white_is_zero_stays_so(tmp_path):
    pixels = noise((9, 12), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    with open_stack(tmp_path / "a.tif") as stack:
        np.testing.assert_array_equal(stack.read()[..., 0], 65535 - pixels)
    result = copied(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(result), pixels)
    assert tags(result)[262] == 0


def test_a_palette_of_one_bit(tmp_path):
    path = tmp_path / "a.tif"
    PIL.Image.new("P", (4, 2)).save(path)
    image = PIL.Image.new("1", (16, 2))
    image.putpixel((3, 1), 1)
    image.save(path)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags[262].overwrite(3)
    colours = struct.pack("<6H", 65535, 0, 0, 65535, 256, 512)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags[278]  # becomes the colour map
        struct.pack_into("<HHII", data, place.offset, 320, 3, 6, len(data))
    path.write_bytes(data + colours)
    with open_stack(path) as stack:
        pixels = stack.read()
    assert pixels[0, 0].tolist() == [255, 0, 1]
    assert pixels[1, 3].tolist() == [0, 255, 2]


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha"])
def test_transparency_stays_bit_for_bit(tmp_path, kind):
    pixels = noise((9, 12, 4), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[kind])
    result = copied(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(result), pixels)
    assert tags(result)[338] == tags(tmp_path / "a.tif")[338]


@pytest.mark.parametrize("extra", [["unspecified"], ["unassalpha", "unspecified"]])
def test_samples_beside_the_colours_are_what_they_were(tmp_path, extra):
    pixels = noise((9, 12, 3 + len(extra)), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=extra)
    result = copied(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(result), pixels)
    for tag in (262, 338):
        assert tags(result)[tag] == tags(tmp_path / "a.tif")[tag]


ALPHAS = {"assocalpha": 1, "unassalpha": 2}


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", ALPHAS)
@pytest.mark.parametrize("colours", [1, 3, 4])
def test_transparency_before_another_sample_is_transparency(tmp_path, colours, kind, planar):
    pixels = noise((9, 12, colours + 2), "uint8")
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    photometric = {1: "minisblack", 3: "rgb", 4: "separated"}[colours]
    extra = [kind, "unspecified"]
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        photometric=photometric,
        planarconfig=planar,
        extrasamples=extra,
    )
    with open_stack(tmp_path / "a.tif") as stack:
        assert (stack.header.colour, stack.header.colours) == ("channels", colours + 1)
        assert stack.header.alpha == {1: "premultiplied", 2: "straight"}[ALPHAS[kind]]
        np.testing.assert_array_equal(stack.read()[..., -1], pixels[..., colours])
        np.testing.assert_array_equal(stack.read()[..., -2], pixels[..., -1])
    result = copied(tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(result), stored)
    for tag in (262, 284, 338):
        assert tags(result)[tag] == tags(tmp_path / "a.tif")[tag]


def test_transparency_that_is_said_to_be_a_channel_stays_among_them(tmp_path):
    pixels = noise((9, 12, 5), "uint8")
    extra = ["unassalpha", "unspecified"]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=extra)
    with open_stack(tmp_path / "a.tif", "YXC") as stack:
        assert stack.header.alpha == ""
        np.testing.assert_array_equal(stack.read(), pixels)


def write_thinned(path: Path, grey: np.ndarray, orientation: int) -> None:
    """Luma and chroma by LZW, the latter once for two by two pixels: Pillow reads it."""
    height, width = grey.shape
    luma = grey.reshape(height // 2, 2, width // 2, 2).swapaxes(1, 2).reshape(-1, 4)
    data = imagecodecs.lzw_encode(np.pad(luma, ((0, 0), (0, 2)), constant_values=128).tobytes())
    numbers = {259: 5, 262: 6, 274: orientation, 277: 3, 278: height, 279: len(data)}
    entries: dict[int, tuple[str, list[int]]] = {
        tag: ("I", [value]) for tag, value in {256: width, 257: height, **numbers}.items()
    }
    entries |= {258: ("H", [8, 8, 8]), 530: ("H", [2, 2])}
    entries[532] = ("R", [0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1])
    entries[273] = ("I", [0])
    start = 8 + 2 + 12 * len(entries) + 4
    directory, behind = struct.pack("<H", len(entries)), b""
    for tag, (kind, values) in sorted(entries.items()):
        body = struct.pack(f"<{len(values)}{'I' if kind == 'R' else kind}", *values)
        count = len(values) // 2 if kind == "R" else len(values)
        if tag == 273:
            body = struct.pack("<I", start + 6 + 48)
        if len(body) > 4:
            place, behind = start + len(behind), behind + body
            body = struct.pack("<I", place)
        code = {"H": 3, "I": 4, "R": 5}[kind]
        directory += struct.pack("<HHI4s", tag, code, count, body.ljust(4, b"\0"))
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + behind + data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "raw", "ycbcr", "thinned"])
def test_orientation_is_kept_and_not_applied(tmp_path, compression, orientation):
    stripes = np.zeros((16, 32, 3), np.uint8)
    stripes[:8] = 200
    stripes[:, :8] = 90
    path = tmp_path / "a.tif"
    exif = PIL.Image.Exif()
    exif[274] = orientation
    image = PIL.Image.fromarray(stripes)
    if compression == "thinned":
        write_thinned(path, stripes[..., 0], orientation)
    elif compression == "ycbcr":
        image.convert("YCbCr").save(path, exif=exif)
    else:
        image.save(path, compression=compression, exif=exif)
    with open_stack(path) as stack:
        assert np.abs(stack.read().astype(int) - stripes).max() <= 3
    result = copied(path)
    assert tags(result)[274] == orientation
    assert np.abs(tifffile.imread(result).astype(int) - stripes).max() <= 3


# Stacks.


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("TYX", (3, 8, 9)), ("ZCYX", (3, 2, 8, 9)), ("TZCYX", (2, 3, 2, 8, 9)), ("CYX", (3, 8, 9))],
)
@pytest.mark.parametrize("kind", ["imagej", "ome", "shaped", "ome compressed"])
def test_stacks_keep_axes_and_metadata(tmp_path, kind, axes, shape):
    pixels = noise(shape, "uint16")
    metadata: dict[str, Any] = {"axes": axes}
    options: dict[str, Any] = {"photometric": "minisblack"}
    if kind == "imagej":
        options = {"imagej": True, "resolution": (15.4, 15.4)}
        metadata |= {"unit": "um", "spacing": 0.3, "Info": "a cell", "Labels": ["one", "two"]}
    elif kind.startswith("ome"):
        options["ome"] = True
        metadata |= {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm"}
    if kind.endswith("compressed"):
        options |= {"compression": "zlib", "tile": (16, 16)}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, metadata=metadata, **options)
    with open_stack(path) as stack:
        assert (stack.header.axes, stack.header.shape) == (axes, shape)
        np.testing.assert_array_equal(
            np.concatenate([stack.read(plane)[..., 0] for plane in range(stack.header.planes)]),
            pixels.reshape(-1, 9),
        )
    result = copied(path)
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(result) as after:
        assert after.series[0].axes == before.series[0].axes == axes
        np.testing.assert_array_equal(after.asarray(), pixels)
        assert after.imagej_metadata == before.imagej_metadata
        assert after.ome_metadata == before.ome_metadata
        assert after.shaped_metadata == before.shaped_metadata


def test_a_stack_never_has_to_fit_into_memory(tmp_path):
    path = tmp_path / "a.tif"
    pixels = noise((30, 512, 512), "uint16")
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "TYX"})
    tracemalloc.start()
    with open_stack(path) as stack:
        survey(stack)
        write_stack(tmp_path / "b.tif", stack.header, bands_of(stack, 64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < pixels.nbytes / 4
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), pixels)


def test_a_stack_of_colour(tmp_path):
    pixels = noise((4, 8, 9, 3))
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "ZYXS"})
    with open_stack(tmp_path / "a.tif") as stack:
        assert (stack.header.axes, stack.header.colour) == ("ZYXS", "rgb")
    with tifffile.TiffFile(copied(tmp_path / "a.tif")) as file:
        assert file.series[0].axes == "ZYXS"
        np.testing.assert_array_equal(file.asarray(), pixels)


def test_a_stack_whose_planes_have_no_directories(tmp_path):
    pixels = noise((5, 8, 9), "uint16")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, imagej=True, truncate=False, metadata={"axes": "TYX"})
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        first = file.pages.first
        end = first.offset + 2 + 12 * len(first.tags)
    data[end : end + 4] = bytes(4)  # no second directory: as ImageJ writes beyond 4 GB
    path.write_bytes(data)
    with open_stack(path) as stack:
        assert stack.header.shape == (5, 8, 9)
        window = stack.read(3, slice(2, 6), slice(1, 5))[..., 0]
        np.testing.assert_array_equal(window, pixels[3, 2:6, 1:5])
    with tifffile.TiffFile(copied(path)) as file:
        np.testing.assert_array_equal(file.asarray(), pixels)


def test_a_look_up_table_is_for_show(tmp_path):
    ramp = np.arange(256, dtype=np.uint16) * 257
    table = np.stack([ramp, 0 * ramp, ramp[::-1]])
    pixels = noise((8, 9))
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, colormap=table)
    with open_stack(tmp_path / "a.tif") as stack:
        assert stack.header.colour == "grey"
        np.testing.assert_array_equal(stack.read()[..., 0], pixels)
    result = copied(tmp_path / "a.tif")
    np.testing.assert_array_equal(tags(result)[320], table)
    np.testing.assert_array_equal(tifffile.imread(result), pixels)


def test_a_thumbnail_does_not_make_an_image_a_stack(tmp_path):
    path = tmp_path / "a.tif"
    for order in (0, 1):
        pages = [noise((40, 60, 3)), noise((4, 6, 3))]
        with tifffile.TiffWriter(path) as file:
            for page in pages[:: -1 if order else 1]:
                file.write(page, photometric="rgb", metadata=None)
        with open_stack(path) as stack:
            assert stack.header.shape == (40, 60, 3)
            assert stack.header.notes == ("1 smaller page left out",)


def test_pages_of_other_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for shape in ((40, 60), (60, 40)):
            file.write(noise(shape), metadata=None)
    with pytest.raises(UserError, match=r"different kinds or sizes .*; save the one you want"):
        open_stack(tmp_path / "a.tif")


def test_of_a_pyramid_the_full_level_is_read(tmp_path):
    pixels = noise((64, 96))
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        file.write(pixels, subifds=2, tile=(16, 16))
        for step in (2, 4):
            file.write(pixels[::step, ::step], subfiletype=1, tile=(16, 16))
    with open_stack(tmp_path / "a.ome.tif") as stack:
        assert stack.header.shape == (64, 96)
        assert stack.header.notes == ("2 smaller levels left out",)
    np.testing.assert_array_equal(tifffile.imread(copied(tmp_path / "a.ome.tif")), pixels)


def test_an_ome_stack_in_several_files_becomes_one(tmp_path):
    pixels = noise((3, 2, 8, 9), "uint16")
    names = [f"part{time}.ome.tif" for time in range(3)]
    parts = "".join(
        f'<TiffData IFD="{c}" FirstT="{t}" FirstC="{c}" FirstZ="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{t:08}-0000-0000-0000-000000000000</UUID></TiffData>'
        for t, name in enumerate(names)
        for c in range(2)
    )
    for time, name in enumerate(names):
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{time:08}-0000-0000-0000-000000000000">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
            'SizeX="9" SizeY="8" SizeC="2" SizeZ="1" SizeT="3" PhysicalSizeX="0.1">'
            '<Channel ID="Channel:0:0" Name="DAPI"/><Channel ID="Channel:0:1" Name="GFP"/>'
            f"{parts}</Pixels></Image></OME>"
        )
        with tifffile.TiffWriter(tmp_path / name) as file:
            for channel in range(2):
                description = text.encode() if channel == 0 else None
                file.write(pixels[time, channel], description=description, metadata=None)
    result = copied(tmp_path / names[0])
    for name in names:
        (tmp_path / name).unlink()
    with tifffile.TiffFile(result) as file:
        assert file.series[0].axes == "TCYX"
        np.testing.assert_array_equal(file.asarray(), pixels)
        assert 'Name="GFP"' in (file.ome_metadata or "")
        assert 'PhysicalSizeX="0.1"' in (file.ome_metadata or "")


# What stays.


def test_private_tags_stay_on_each_page(tmp_path):
    geo = (33550, 12, 3, (0.5, 0.5, 0.0), False)
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=">") as file:
        for page in range(3):
            mine = (65001, 2, 0, f"frame {page}", False)
            file.write(noise((8, 9)), extratags=[geo, mine], metadata=None)
    result = copied(tmp_path / "a.tif")
    for page in range(3):
        assert tags(result, page)[33550] == (0.5, 0.5, 0.0)
        assert tags(result, page)[65001] == f"frame {page}"


def directories(path: Path) -> tuple[dict[int, object], dict[int, object]]:
    with PIL.Image.open(path) as image:
        exif = image.getexif()
        return dict(exif.get_ifd(34665)), dict(exif.get_ifd(34853))


@pytest.mark.parametrize("source", [".jpg", ".png"])
@pytest.mark.parametrize("first", [".tif", ".jpg", ".png"])
@pytest.mark.parametrize("second", [".tif", ".jpg", ".png"])
def test_exif_and_gps_directories_stay(tmp_path, source, first, second):
    exif = PIL.Image.Exif()
    exif[271] = "Camera works"
    exif.get_ifd(34665)[33434] = (1, 250)
    exif.get_ifd(34665)[36867] = "2024:02:29 12:00:00"
    exif.get_ifd(34665)[37500] = bytes(range(100))
    exif.get_ifd(34853)[1] = "N"
    exif.get_ifd(34853)[2] = (46.0, 31.0, 12.5)
    path = tmp_path / f"a{source}"
    PIL.Image.fromarray(noise((8, 9, 3))).save(path, exif=exif)
    before = directories(path)
    assert before[0][36867] == "2024:02:29 12:00:00"
    for target in (f"b{first}", f"c{second}"):
        with open_stack(path) as stack:
            path = tmp_path / target
            write_stack(path, stack.header, bands_of(stack))
        assert directories(path) == before


def test_xmp_iptc_and_odd_text_stay(tmp_path):
    latin = "Größe µm".encode("cp1252") + b"\0"
    extra = [(700, 1, 5, b"<xmp>", True), (33723, 7, 8, b"\x1c\x02\0\0\0\0IP", True)]
    extra += [(315, 2, len(latin), latin, True), (34377, 1, 4, b"8BIM", True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((8, 9)), extratags=extra, metadata=None)
    result = copied(path)
    before, after = (tifffile.TiffFile(each) for each in (path, result))
    with before, after:
        for code in (700, 33723, 315, 34377):
            raw = []
            for file in (before, after):
                tag = file.pages.first.tags[code]
                file.filehandle.seek(tag.valueoffset)
                raw.append(file.filehandle.read(tag.valuebytecount))
            assert raw[0] == raw[1]


# What is refused, and how soon.


def test_directories_that_name_themselves(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise((150, 4, 4)), metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        page = file.pages[149].aspage()
        end = page.offset + 2 + 12 * len(page.tags)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, end, page.offset)
    path.write_bytes(data)
    with pytest.raises(UserError, match="directory 150 names an earlier one"):
        open_stack(path)


def test_more_pixels_than_the_data_can_hold(tmp_path):
    """64 channels of packed zeros, of which the file has but a few bytes each."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.zeros((64, 16, 16), np.uint8),
        photometric="minisblack",
        planarconfig="separate",
        compression="lzma",
    )
    with tifffile.TiffFile(path, mode="r+") as file:
        for tag in (256, 257, 278):
            file.pages.first.tags[tag].overwrite(3600)
    with open_stack(path) as stack, pytest.raises(UserError, match="can't be 3600 x 3600 pixels"):
        stack.read(0, slice(0, 1), slice(0, 1))


def test_a_camera_s_raw_file_is_named(tmp_path):
    version = (50706, 1, 4, bytes([1, 4, 0, 0]), True)
    with tifffile.TiffWriter(tmp_path / "a.dng") as file:
        file.write(noise((48, 64, 3)), photometric="rgb", extratags=[version], metadata=None)
        file.write(noise((96, 128), "uint16"), metadata=None)
    with pytest.raises(UserError, match="is a camera raw file of a kind that LibRaw"):
        open_stack(tmp_path / "a.dng")


def test_a_page_of_several_planes_is_refused(tmp_path):
    options: dict[str, Any] = {"volumetric": True, "tile": (4, 16, 16)}
    tifffile.imwrite(tmp_path / "a.tif", noise((4, 16, 16)), photometric="minisblack", **options)
    with pytest.raises(UserError, match="holds a page of 4 planes; save it as a stack"):
        open_stack(tmp_path / "a.tif")


def test_strips_that_are_not_there_are_empty(tmp_path):
    pixels = noise((8, 9)) | 1
    tifffile.imwrite(tmp_path / "a.tif", pixels, rowsperstrip=4, compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        counts = file.pages.first.tags[279]
        counts.overwrite((counts.value[0], 0))
    with open_stack(tmp_path / "a.tif") as stack:
        np.testing.assert_array_equal(stack.read()[:4, :, 0], pixels[:4])
        assert not stack.read()[4:].any()

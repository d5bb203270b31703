"""Format x dtype x channels x axes x metadata: each file is written by a library of its own,
denoised, and looked at by that library again."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.files import open_stack
from noise2noise.inference import Settings
from tests.noise2noise.files.made import ink_profile
from tests.noise2noise.files.matrix import HEIGHT, WIDTH, Cell, Facts, pixels_of
from tests.noise2noise.files.matrix_science import science_cells

ICC = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>who took it</x:xmpmeta>"


def exif() -> PIL.Image.Exif:
    block = PIL.Image.Exif()
    block[274] = 6  # Orientation
    block[271] = "Camera works"
    block[0x8769] = {0x9003: "2024:02:29 12:00:00"}
    return block


# Pillow: PNG, JPEG, WebP, BMP, AVIF, GIF.

MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}


def pillow_image(mode: str, seed: int = 0) -> PIL.Image.Image:
    if mode == "P":
        return pillow_image("RGB").quantize(64)
    pixels = np.roll(pixels_of((HEIGHT, WIDTH, MODES[mode]), "uint8"), seed, 0)
    return PIL.Image.frombytes(mode, (WIDTH, HEIGHT), pixels.tobytes())


def pillow_cell(suffix: str, mode: str, loss: float = 0, **options: Any) -> Cell:
    """An image with a profile, EXIF, XMP and resolution, as far as the format has them."""

    def write(path: Path) -> None:
        pillow_image(mode).save(path, **options)

    return Cell(f"{mode}-{len(options)}{suffix}", write, pillow_facts, loss)


def pillow_facts(path: Path) -> Facts:
    with PIL.Image.open(path) as file:
        block = file.getexif()
        dpi = file.info.get("dpi")
        said = {
            "format": file.format,
            "size": file.size,
            "mode": "RGB" if file.mode == "P" else file.mode,  # a palette has no room for results
            "profile": file.info.get("icc_profile"),
            "exif": (dict(block), dict(block.get_ifd(0x8769))),
            "xmp": file.info.get("xmp"),
            "resolution": dpi and tuple(round(float(each), 1) for each in dpi),
        }
        image = file.convert("RGB") if file.mode == "P" else file.copy()
    values = np.asarray(image).reshape(HEIGHT, WIDTH, -1)
    if image.mode in ("LA", "RGBA"):
        return Facts(said, values[..., :-1], values[..., -1])
    return Facts(said, values)


def animated_cell(suffix: str, loss: float = 0, **options: Any) -> Cell:
    def write(path: Path) -> None:
        first, *others = (pillow_image("RGB", seed) for seed in (0, 3, 6))
        first.save(path, save_all=True, append_images=others, duration=[40, 80, 120], **options)

    return Cell(f"animated{suffix}", write, animated_facts, loss)


def animated_facts(path: Path) -> Facts:
    frames, durations = [], []
    with PIL.Image.open(path) as file:
        for number in range(getattr(file, "n_frames", 1)):
            file.seek(number)
            frames.append(np.asarray(file.convert("RGB")))
            durations.append(file.info["duration"])
        said = {"format": file.format, "durations": durations, "loop": file.info.get("loop")}
    return Facts(said | {"shape": np.shape(frames)}, np.stack(frames))


def pillow_cells() -> list[Cell]:
    everything: dict[str, Any] = {"icc_profile": ICC, "exif": exif(), "dpi": (300, 300)}
    inks = everything | {"icc_profile": ink_profile()}
    return [
        *(pillow_cell(".png", mode, **everything) for mode in ("L", "LA", "RGB", "RGBA", "P")),
        *(
            pillow_cell(".jpg", mode, 3, quality=95, xmp=XMP, **everything)
            for mode in ("L", "RGB", "CMYK")
        ),
        pillow_cell(".jpg", "CMYK", 6, quality=95, subsampling=0, **inks),
        *(
            pillow_cell(".webp", mode, lossless=True, xmp=XMP, icc_profile=ICC, exif=exif())
            for mode in ("RGB", "RGBA")
        ),
        pillow_cell(".webp", "RGB", 8, quality=90),
        *(pillow_cell(".bmp", mode, dpi=(96, 96)) for mode in ("L", "RGB")),
        *(
            pillow_cell(".avif", mode, 4, quality=95, xmp=XMP, icc_profile=ICC, exif=exif())
            for mode in ("RGB", "RGBA")
        ),
        animated_cell(".png", loop=2),
        animated_cell(".webp", lossless=True, loop=2),
        animated_cell(".gif", 12, loop=2),
    ]


# imagecodecs: 16-bit PNG, JPEG XL, AVIF of 10 bits.


def codec_cell(
    suffix: str, samples: int, dtype: str, loss: float = 0, top: float | None = None, **options: Any
) -> Cell:
    codec = {".png": "png", ".jxl": "jpegxl", ".avif": "avif"}[suffix]
    encode = getattr(imagecodecs, f"{codec}_encode")
    decode = getattr(imagecodecs, f"{codec}_decode")
    pixels = pixels_of((HEIGHT, WIDTH, samples), dtype, top)

    def facts(path: Path) -> Facts:
        values = decode(path.read_bytes())
        said = {"dtype": values.dtype, "shape": values.shape}
        values = values.reshape(HEIGHT, WIDTH, -1)
        if samples in (2, 4):
            return Facts(said, values[..., :-1], values[..., -1])
        return Facts(said, values)

    return Cell(
        f"{dtype}-{samples}{suffix}",
        lambda path: path.write_bytes(encode(np.squeeze(pixels), **options)),
        facts,
        loss,
    )


def codec_cells() -> list[Cell]:
    return [
        *(codec_cell(".png", samples, "uint16") for samples in (1, 2, 3, 4)),
        *(
            codec_cell(".jxl", samples, dtype, lossless=True)
            for samples, dtype in itertools.product((1, 3, 4), ("uint8", "uint16"))
        ),
        *(codec_cell(".avif", samples, "uint16", 16, 1023, bitspersample=10) for samples in (3, 4)),
    ]


# tifffile.

SIZES = {"T": 2, "Z": 3, "C": 2, "Y": HEIGHT, "X": WIDTH, "S": 3}
INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]


def tiff_cell(
    name: str, axes: str, dtype: str, kind: str = "", top: float | None = None, **options: Any
) -> Cell:
    sizes = SIZES | {"S": 4 if options.get("extrasamples") else 3}
    pixels = pixels_of(tuple(sizes[axis] for axis in axes), dtype, top)
    if options.get("planarconfig") == "separate":
        pixels = np.moveaxis(pixels, -1, 0)
    options = {"resolution": (11811, 11811), "resolutionunit": "centimeter", **options}
    if kind not in ("imagej", "ome"):
        options |= {"iccprofile": ICC, "extratags": [(700, 1, len(XMP), XMP, True)]}
    if kind:
        options[kind] = True

    def write(path: Path) -> None:
        tifffile.imwrite(path, pixels, **options)

    suffix = ".ome.tif" if kind == "ome" else ".tif"
    return Cell(f"{name}-{axes}-{dtype}{suffix}", write, tiff_facts)


def tiff_facts(path: Path) -> Facts:
    names = ["Compression", "PlanarConfiguration", "PhotometricInterpretation", "ExtraSamples"]
    names += ["TileWidth", "TileLength", "BitsPerSample", "SampleFormat"]
    names += ["XResolution", "YResolution", "ResolutionUnit", "XMP", "InterColorProfile"]
    with tifffile.TiffFile(path) as file:
        series, page = file.series[0], file.pages.first
        values = series.asarray()
        said = {
            "axes": series.axes,
            "shape": series.shape,
            "dtype": series.dtype,
            "order": file.byteorder,
            "big": file.is_bigtiff,
            "imagej": file.imagej_metadata,
            "ome": file.ome_metadata,
            "tags": {name: str(page.tags.valueof(name)) for name in names},
            # tifffile makes up one that only repeats the shape.
            "text": "" if file.is_shaped else page.description,
        }
        if page.extrasamples:
            place = series.axes.index("S")
            colours, alpha = np.split(values, [3], place)
            return Facts(said, colours, alpha)
    return Facts(said, values)


def tiff_cells() -> list[Cell]:
    floats = [("float16", 1.0), ("float32", 65535.0), ("float64", 1e-3)]
    packed = ["lzw", "zlib", "zstd", "packbits"]
    hyper = {"axes": "TZCYX", "spacing": 0.5, "unit": "um", "finterval": 2.0}
    ome = {
        "axes": "TCZYX",
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "Channel": {"Name": ["DAPI", "GFP"]},
        "SignificantBits": 12,
    }
    rgb: dict[str, Any] = {"photometric": "rgb"}
    alpha: dict[str, Any] = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    return [
        *(tiff_cell("grey", "YX", dtype) for dtype in INTEGERS),
        *(tiff_cell("grey", "YX", dtype, top=top) for dtype, top in floats),
        *(tiff_cell("big-endian", "YX", dtype, byteorder=">") for dtype in ("uint16", "float64")),
        *(tiff_cell("rgb", "YXS", dtype, **rgb) for dtype in ("uint8", "uint16", "float32")),
        *(tiff_cell("rgba", "YXS", dtype, **alpha) for dtype in ("uint8", "uint16")),
        tiff_cell("planar", "YXS", "uint16", planarconfig="separate", **rgb),
        tiff_cell("planar-rgba", "YXS", "uint8", planarconfig="separate", **alpha),
        tiff_cell("tiled", "YX", "uint16", tile=(16, 16)),
        tiff_cell("tiled", "YXS", "uint8", tile=(16, 32), compression="zlib", **rgb),
        tiff_cell("strips", "YX", "uint16", rowsperstrip=5),
        tiff_cell("white-is-zero", "YX", "uint8", photometric="miniswhite"),
        tiff_cell("bigtiff", "YX", "uint16", kind="bigtiff"),
        *(tiff_cell(each, "YX", "uint16", compression=each, predictor=True) for each in packed[:3]),
        tiff_cell("packbits", "YXS", "uint8", compression="packbits", **rgb),
        tiff_cell("pages", "ZYX", "uint16", photometric="minisblack"),
        tiff_cell("pages", "ZYXS", "uint8", **rgb),
        tiff_cell("twelve", "YX", "uint16", top=4095, metadata=None, description="a stain"),
        tiff_cell("imagej", "TZCYX", "uint16", "imagej", metadata=hyper, resolutionunit="none"),
        tiff_cell("imagej", "ZYXS", "uint8", "imagej", metadata={"axes": "ZYXS"}),
        *(
            tiff_cell("ome", "TCZYX", dtype, "ome", top=4000, metadata=ome)
            for dtype in ("uint16", "float64")
        ),
    ]


# numpy.


def npy_cell(axes: str, dtype: str, order: Any = "C") -> Cell:
    top = 1e4 if np.dtype(dtype).kind == "f" else None
    pixels = pixels_of(tuple(SIZES[axis] for axis in axes), dtype, top).astype(dtype, order=order)

    def facts(path: Path) -> Facts:
        values = np.load(path)
        said = {"dtype": values.dtype.str, "shape": values.shape}
        return Facts(said | {"fortran": values.flags.fnc}, values)

    name = f"{axes}-{np.dtype(dtype)}-{np.dtype(dtype).byteorder.replace('>', 'b')}-{order}.npy"
    return Cell(name, lambda path: np.save(path, pixels), facts)


def npy_cells() -> list[Cell]:
    dtypes = [*INTEGERS, "float16", "float32", "float64", ">u2", ">f4"]
    shapes = ("YXS", "ZYX", "TZYX", "TZCYX")
    return [
        *(npy_cell("YX", dtype) for dtype in dtypes),
        *(npy_cell(axes, "uint16") for axes in shapes),
        *(npy_cell(axes, "float32", "F") for axes in ("YX", "ZYX", "YXS")),
    ]


# zarr.


def zarr_cell(version: int, axes: str, dtype: str, **options: Any) -> Cell:
    zarr = pytest.importorskip("zarr")
    pixels = pixels_of(tuple(SIZES[axis] for axis in axes), dtype, 4000)
    kinds = {"T": "time", "C": "channel"}
    scale = {"type": "scale", "scale": [0.5] * len(axes)}
    image = {
        "axes": [{"name": axis.lower(), "type": kinds.get(axis, "space")} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
    }
    if version == 2:
        attributes: dict[str, Any] = {"multiscales": [image | {"version": "0.4"}]}
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": [image]}}

    def write(path: Path) -> None:
        group = zarr.create_group(path, zarr_format=version, attributes=attributes)
        chunks = (1,) * (len(axes) - 2) + (16, 16)
        array = group.create_array("0", shape=pixels.shape, dtype=dtype, chunks=chunks, **options)
        array[...] = pixels

    def facts(path: Path) -> Facts:
        group = zarr.open_group(path, mode="r")
        array = group["0"]
        said = {"dtype": array.dtype, "shape": array.shape, "attributes": group.attrs.asdict()}
        return Facts(said | {"metadata": array.metadata.to_dict()}, array[...])

    return Cell(f"v{version}-{axes}-{dtype}.ome.zarr", write, facts)


def zarr_cells() -> list[Cell]:
    if importlib.util.find_spec("zarr") is None:  # it needs a newer Python than the lowest
        return []
    kinds = [("YX", "uint8"), ("ZYX", "int16"), ("TCZYX", "uint16"), ("CYX", "float32")]
    return [zarr_cell(version, *kind) for version in (2, 3) for kind in kinds]


CELLS = [*pillow_cells(), *codec_cells(), *tiff_cells(), *npy_cells(), *zarr_cells()]
CELLS += science_cells()


@pytest.fixture
def denoiser(make_model) -> Denoiser:
    return Denoiser.load(make_model(width=4, depth=1, channels=1))


def result_of(cell: Cell, source: Path, denoiser: Denoiser, strength: float) -> Facts:
    target = source.with_name(f"{strength:g}-{cell.name}")
    with open_stack(source) as stack:
        denoiser.denoise_stack(stack, target, Settings(strength))
    return cell.facts(target)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_all_but_the_noise_stays(tmp_path, denoiser, cell):
    source = tmp_path / cell.name
    cell.write(source)
    before = cell.facts(source)
    for strength in (0, 1):
        after = result_of(cell, source, denoiser, strength)
        assert after.said == before.said
        if before.alpha is None:
            assert after.alpha is None
        else:
            np.testing.assert_array_equal(after.alpha, before.alpha)
        assert after.colours.shape == before.colours.shape
        assert after.colours.dtype == before.colours.dtype
        old, new = before.colours.astype(np.float64), after.colours.astype(np.float64)
        if strength == 0:
            assert abs(new - old).mean() <= cell.loss
        else:  # an untrained network changes what it sees, on the scale of it
            assert 0 < abs(new - old).max() <= 2 * np.ptp(old) + 2 * cell.loss

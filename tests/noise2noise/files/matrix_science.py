"""Cells of the matrix: what telescopes, scanners, microscopes and phones write."""

from __future__ import annotations

import importlib
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageCms

from tests.noise2noise.files.made import write_dicom
from tests.noise2noise.files.matrix import HEIGHT, WIDTH, Cell, Facts, pixels_of


def science_cells() -> list[Cell]:
    """Those whose libraries are there."""
    return [*fits_cells(), *mrc_cells(), *dicom_cells(), *heif_cells()]


# astropy.


def fits_cell(name: str, shape: tuple[int, ...], dtype: str, top: float | None = None) -> Cell:
    """A table, an image of something else and a header with a world's coordinates around it."""
    fits: Any = importlib.import_module("astropy.io.fits")
    pixels = pixels_of(shape, dtype, top)

    def write(path: Path) -> None:
        said = fits.Header([("OBJECT", "M 31"), ("CTYPE1", "RA---TAN"), ("CRVAL1", 10.68)])
        said["HISTORY"] = "flat fielded"
        image = fits.PrimaryHDU(pixels, said) if name != "second" else fits.ImageHDU(pixels, said)
        if name == "scaled":
            image.scale("int16", bscale=0.25, bzero=100)
        parts = [image, fits.ImageHDU(np.ones((3, 4), np.float32), name="ERR")]
        parts.append(fits.BinTableHDU.from_columns([fits.Column("t", "J", array=[1, 2])]))
        empty = [fits.PrimaryHDU()] if name == "second" else []
        fits.HDUList(empty + parts).writeto(path, checksum=True)

    def facts(path: Path) -> Facts:
        with fits.open(path, checksum=True, memmap=False) as file:  # warns where a sum is wrong
            place = int(name == "second")
            kept = [str(card) for card in file[place].header.cards if "SUM" not in card.keyword]
            others = [np.asarray(part.data).tobytes() for part in file[place + 1 :]]
            values = np.array(file[place].data)
            stored = file[place].header["BITPIX"]
        said = {"cards": kept, "others": others, "dtype": values.dtype, "stored": stored}
        return Facts(said, values.astype(values.dtype.newbyteorder("=")))

    return Cell(f"{name}-{dtype}.fits", write, facts)


def fits_cells() -> list[Cell]:
    if importlib.util.find_spec("astropy") is None:
        return []
    plane, cube = (HEIGHT, WIDTH), (2, 3, HEIGHT, WIDTH)
    dtypes = ("uint8", "int16", "uint16", "int32", "uint32")
    return [
        *(fits_cell("plane", plane, dtype) for dtype in dtypes),
        *(fits_cell("plane", plane, dtype, 3e4) for dtype in ("float32", "float64")),
        *(fits_cell("cube", cube, dtype, 900) for dtype in ("float32", "uint16")),
        fits_cell("second", plane, "uint16"),
        fits_cell("scaled", plane, "float32", 3000),
    ]


# mrcfile.


def mrc_cell(shape: tuple[int, ...], dtype: str, volume: bool = False) -> Cell:
    mrcfile: Any = importlib.import_module("mrcfile")
    pixels = pixels_of(shape, dtype, 0.05 if np.dtype(dtype).kind == "f" else None)

    def write(path: Path) -> None:
        with mrcfile.new(path, pixels) as file:
            if volume:
                file.set_volume()
            file.voxel_size = (1.5, 1.5, 2.5)
            file.set_extended_header(np.frombuffer(b"tilt angles" * 7, "V1"))
            file.add_label("motion corrected")
            file.header.exttyp = b"SERI"

    def facts(path: Path) -> Facts:
        assert mrcfile.validate(path, print_file=io.StringIO())
        with mrcfile.open(path) as file:
            values = file.data.copy()
            names = [name for name in file.header.dtype.names if name[0] != "d" and name != "rms"]
            said: dict[str, Any] = {name: file.header[name].tobytes() for name in names}
            said |= {"extended": file.extended_header.tobytes(), "dtype": values.dtype}
        return Facts(said, values)

    return Cell(f"{len(shape)}-{volume}-{dtype}.mrc", write, facts)


def mrc_cells() -> list[Cell]:
    if importlib.util.find_spec("mrcfile") is None:
        return []
    dtypes = ("int8", "int16", "uint16", "float16", "float32")
    return [
        *(mrc_cell((HEIGHT, WIDTH), dtype) for dtype in dtypes),
        *(mrc_cell((3, HEIGHT, WIDTH), "float32", volume) for volume in (False, True)),
        mrc_cell((2, 3, HEIGHT, WIDTH), "int16"),
    ]


# pydicom.

NEW = ("SOPInstanceUID", "SeriesInstanceUID", "ImageType", "DerivationDescription", "PixelData")
NEW += ("SourceImageSequence", "SmallestImagePixelValue", "LargestImagePixelValue")


def dicom_cell(
    name: str, shape: tuple[int, ...], dtype: str, top: float | None = None, **said: Any
) -> Cell:
    pydicom: Any = importlib.import_module("pydicom")
    pixels = pixels_of(shape, dtype, top)

    def write(path: Path) -> None:
        write_dicom(path, pixels, **said)

    def facts(path: Path) -> Facts:
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array
        kept = [str(each) for each in dataset if each.keyword not in NEW]
        syntax = str(dataset.file_meta.TransferSyntaxUID)
        said = {"kept": kept, "dtype": values.dtype, "shape": values.shape, "syntax": syntax}
        return Facts(said, values)

    return Cell(f"{name}-{dtype}.dcm", write, facts)


def dicom_cells() -> list[Cell]:
    if importlib.util.find_spec("pydicom") is None:
        return []
    plane, movie = (HEIGHT, WIDTH), (3, HEIGHT, WIDTH)
    return [
        *(dicom_cell("grey", plane, dtype) for dtype in ("uint8", "uint16", "int16", "uint32")),
        dicom_cell("twelve", plane, "uint16", 4095, BitsStored=12),
        dicom_cell(
            "inverted", plane, "uint16", 900, PhotometricInterpretation="MONOCHROME1", BitsStored=10
        ),
        dicom_cell("implicit", plane, "int16", syntax="1.2.840.10008.1.2"),
        dicom_cell("movie", movie, "uint16", FrameTime=40),
        dicom_cell("colour", (*plane, 3), "uint8"),
        dicom_cell("colour-movie", (*movie, 3), "uint8"),
    ]


# pillow-heif.


def heif_cell(mode: str, bits: int = 8, loss: float = 4) -> Cell:
    """A phone's picture: profile, EXIF and XMP."""
    pillow_heif: Any = importlib.import_module("pillow_heif")
    samples = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    dtype, top = ("uint8", None) if bits == 8 else ("uint16", 2.0**bits - 1)
    pixels = pixels_of((HEIGHT, WIDTH, samples), dtype, top)

    def write(path: Path) -> None:
        told = mode if bits == 8 else f"{mode};{bits}"
        picture = pillow_heif.from_bytes(told, (WIDTH, HEIGHT), pixels.tobytes())
        block = PIL.Image.Exif()
        block[271] = "Phone works"
        profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
        picture.save(
            path,
            quality=-1,
            exif=block.tobytes(),
            xmp=b"<x:xmpmeta/>",
            icc_profile=profile,
            icc_profile_type="prof",
            subsampling="4:4:4",
            matrix_coefficients=0,
        )

    def facts(path: Path) -> Facts:
        picture = pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        names = ("exif", "xmp", "icc_profile", "bit_depth", "chroma", "nclx_profile")
        said = {name: picture.info.get(name) for name in names}
        said |= {"mode": picture.mode, "size": picture.size}
        values = np.asarray(picture).reshape(HEIGHT, WIDTH, -1)
        if samples == 4:
            return Facts(said, values[..., :3], values[..., 3])
        return Facts(said, values)

    return Cell(f"{mode}-{bits}.heic", write, facts, loss)


def heif_cells() -> list[Cell]:
    if importlib.util.find_spec("pillow_heif") is None:
        return []
    deep = [heif_cell("RGB", bits, loss) for bits, loss in ((10, 16), (12, 64))]
    return [*(heif_cell(mode) for mode in ("L", "RGB", "RGBA")), *deep, heif_cell("RGBA", 10, 0)]

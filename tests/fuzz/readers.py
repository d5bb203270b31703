"""Everything that reads a file of somebody else's, each with whole files to damage."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import io
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import PIL.Image
import tifffile
import torch

from chainrule.serialization import save_tensors
from ee559.course_model import read_best
from noise2noise import networks
from noise2noise.data import load_pair_file
from noise2noise.denoiser import Denoiser
from noise2noise.export import export, standalone
from noise2noise.figures import save_curves
from noise2noise.files import Image, Metadata, bands_of, open_stack, read_image, write_image
from noise2noise.fit import Trainer, configure
from noise2noise.fit.recipe import read_recipe
from noise2noise.noise.profile import NoiseProfile
from tests.fuzz.mutate import mutated, mutated_safetensors
from tests.noise2noise.files.made import write_dicom, write_dng

SIZES = {"channels": 1, "width": 2}
EXIF = PIL.Image.Exif().tobytes().removeprefix(b"Exif\0\0")


class Reader(NamedTuple):
    """What is tried.

    Attributes:
        suffix: of the files.
        samples: makes whole ones; the argument is a folder to work in.
        prepare: given the folder, returns what reads a file and may raise a UserError only.
        damage: makes a damaged file of the whole ones.
    """

    suffix: str
    samples: Callable[[Path], list[bytes]]
    prepare: Callable[[Path], Callable[[Path], object]]
    damage: Callable[[list[bytes], random.Random], bytes] = mutated


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _pillow(form: str) -> Callable[[Path], list[bytes]]:
    def samples(folder: Path) -> list[bytes]:
        made = []
        for shape in ((9, 7), (8, 8, 3)):
            buffer = io.BytesIO()
            PIL.Image.fromarray(_pixels(*shape)).save(buffer, form)
            made.append(buffer.getvalue())
        return made

    return samples


def _avifs(folder: Path) -> list[bytes]:
    deep = _pixels(16, 18, 3).astype(np.uint16)
    encoded = imagecodecs.avif_encode(deep << 2, 90, bitspersample=10)
    return [*_pillow("AVIF")(folder), bytes(encoded)]


def _jxls(folder: Path) -> list[bytes]:
    made = []
    for pixels in (_pixels(16, 18), _pixels(16, 18, 3).astype(np.uint16), _pixels(16, 18, 4)):
        path = folder / "whole.jxl"
        image = Image(pixels[..., :3], metadata=Metadata(exif=EXIF, xmp=b"<x/>"))
        write_image(path, image, overwrite=True)
        made += [path.read_bytes(), imagecodecs.jpegxl_encode(pixels, 90, usecontainer=False)]
    return made


def _tiffs(folder: Path) -> list[bytes]:
    made = []
    options: tuple[dict[str, Any], ...] = (
        {},
        {"compression": "zlib", "predictor": True},
        {"tile": (16, 16)},
        {"bigtiff": True, "byteorder": ">"},
        {"imagej": True},
        {"ome": True},
    )
    for option, shape in itertools.product(options, ((20, 18), (3, 9, 8))):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, _pixels(*shape), **option)
        made.append(buffer.getvalue())
    return made


def _raw(folder: Path) -> list[bytes]:
    mosaic = np.random.default_rng(0).integers(600, 16000, (24, 26), np.uint16)
    write_dng(folder / "whole.dng", mosaic)
    return [(folder / "whole.dng").read_bytes()]


def _fits(folder: Path) -> list[bytes]:
    from astropy.io import fits

    scaled = fits.PrimaryHDU(_pixels(9, 7).astype(np.int16))
    scaled.header["BSCALE"], scaled.header["BLANK"] = 0.5, 3
    images = [scaled, fits.PrimaryHDU(_pixels(2, 9, 7).astype(np.float32))]
    made = []
    for image in images:
        fits.HDUList([image, fits.ImageHDU(_pixels(3, 3), name="DQ")]).writeto(
            folder / "whole.fits", checksum=True, overwrite=True
        )
        made.append((folder / "whole.fits").read_bytes())
    for kind in ("RICE_1", "GZIP_1", "HCOMPRESS_1", "PLIO_1"):
        image = fits.CompImageHDU(_pixels(16, 18), compression_type=kind)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / "whole.fits", overwrite=True)
        made.append((folder / "whole.fits").read_bytes())
    return made


def _zipped_fits(folder: Path) -> list[bytes]:
    return [gzip.compress(whole) for whole in _fits(folder)[:2]]


def _mutated_within(whole: list[bytes], rng: random.Random) -> bytes:
    """What is damaged before it is packed, as the sums of gzip keep the rest of it from being seen;
    or the other way round."""
    if rng.random() < 0.3:
        return mutated(whole, rng)
    return gzip.compress(mutated([gzip.decompress(each) for each in whole], rng))


def _mrc(folder: Path) -> list[bytes]:
    import mrcfile

    made = []
    for pixels in (_pixels(9, 7).astype(np.int16), _pixels(2, 9, 7).astype(np.float32)):
        with mrcfile.new(folder / "whole.mrc", pixels, overwrite=True) as file:
            file.set_extended_header(np.zeros(16, "V1"))
        made.append((folder / "whole.mrc").read_bytes())
    return made


def _dicoms(folder: Path) -> list[bytes]:
    pydicom: Any = importlib.import_module("pydicom")
    path, made = folder / "whole.dcm", []
    for pixels in (_pixels(9, 7).astype(np.int16), _pixels(8, 9, 3), _pixels(2, 9, 7)):
        write_dicom(path, pixels)
        made.append(path.read_bytes())
    dataset = pydicom.dcmread(path)
    dataset.compress("1.2.840.10008.1.2.5")  # runs
    dataset.save_as(path)
    made.append(path.read_bytes())
    grey = _pixels(16, 18)
    frames = {
        "50": imagecodecs.jpeg8_encode(grey),
        "70": imagecodecs.ljpeg_encode(grey),
        "80": imagecodecs.jpegls_encode(grey),
        "90": imagecodecs.jpeg2k_encode(grey, codecformat="j2k"),
    }
    for syntax, frame in frames.items():
        write_dicom(path, grey)
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{syntax}"
        dataset.PixelData = pydicom.encaps.encapsulate([bytes(frame)])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(path)
        made.append(path.read_bytes())
    return made


def _heifs(folder: Path) -> list[bytes]:
    import pillow_heif

    made = []
    for mode, shape in (("L", (32, 24)), ("RGB", (24, 32, 3)), ("RGBA", (24, 32, 4))):
        buffer = io.BytesIO()
        size = (shape[1], shape[0])
        pillow_heif.from_bytes(mode, size, _pixels(*shape).tobytes()).save(buffer)
        made.append(buffer.getvalue())
    return made


def _czis(folder: Path) -> list[bytes]:
    czi: Any = importlib.import_module("pylibCZIrw.czi")
    path = folder / "whole.czi"
    with czi.create_czi(str(path)) as file:
        file.write(data=_pixels(24, 32, 1))
    return [path.read_bytes()]


def _model(path: Path) -> bytes:
    network = networks.build("compact", **SIZES)
    facts = {"architecture": "compact", "sizes": json.dumps(SIZES), "title": "a stand-in"}
    save_tensors(path, network.state_dict(), facts, overwrite=True)
    return path.read_bytes()


def _exported(form: str) -> Callable[[Path], list[bytes]]:
    def samples(folder: Path) -> list[bytes]:
        path = folder / "own.safetensors"
        _model(path)
        export(standalone(path), folder / "exported", form, overwrite=True)
        return [(folder / "exported").read_bytes()]

    return samples


def _published(folder: Path) -> list[bytes]:
    made = [
        networks.build("dncnn", channels=1, width=2, depth=3).state_dict(),
        networks.build("drunet", channels=1, width=1, blocks=1).state_dict(),
    ]
    return [file for state in made for file in _saved(state)]


def _saved(content: object) -> list[bytes]:
    made = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
        made.append(buffer.getvalue())
    return made


def _pairs(folder: Path) -> list[bytes]:
    images = torch.from_numpy(_pixels(2, 1, 6, 6))
    return _saved((images, images)) + _saved([images.float(), images.float()])


def _best(folder: Path) -> list[bytes]:
    weights = networks.build("compact", **SIZES).state_dict()
    return _saved({"architecture": "compact", "sizes": SIZES, "weights": weights})


def _trainer(folder: Path) -> Trainer:
    config = configure(
        generated=2,
        corruption="gaussian:25",
        crop=8,
        batch_size=2,
        epochs=1,
        architecture="compact",
        sizes=SIZES,
    )
    return Trainer(config, folder / "run")


def _checkpoint(folder: Path) -> list[bytes]:
    trainer = _trainer(folder)
    trainer.fit()
    return [trainer.last.read_bytes()]


def _resume(folder: Path) -> Callable[[Path], object]:
    trainer = _trainer(folder)

    def read(path: Path) -> None:
        path.replace(trainer.last)
        trainer.resume()

    return read


def _profile(folder: Path) -> list[bytes]:
    path = folder / "profile.json"
    NoiseProfile(shot=(0.01,), read=(0.001,)).save(path)
    return [path.read_bytes()]


RECIPE = b"""\
generated = 4
corruption = "gaussian:25"
crop = 32
epochs = 3
learning_rate = 1e-3
architecture = "compact"
sizes = { width = 8, depth = 1 }
"""


HISTORY = b"""\
epoch,training_loss,validation_psnr,seconds
1,0.5,20.1,1.234
2,0.05,24.6,1.2
3,0.01,25.0,1.1
"""


def _curves(folder: Path) -> Callable[[Path], object]:
    return lambda path: save_curves(path, folder / "curves.png")


def _zarr_store(folder: Path) -> Path:
    """A small store of each version: OME-Zarr in the third, an array in the second."""
    import zarr

    for version in (3, 2):
        scale = {"axes": [{"name": name} for name in "zyx"], "datasets": [{"path": "0"}]}
        said = {"ome": {"multiscales": [scale], "omero": {"channels": [{"label": "DAPI"}]}}}
        group = zarr.create_group(folder / f"{version}.zarr", zarr_format=version, attributes=said)
        array = group.create_array("0", shape=(1, 9, 7), dtype="u2", chunks=(1, 9, 4))
        array[...] = _pixels(1, 9, 7)
    return folder


_ZARR_FILES = ("3.zarr/zarr.json", "3.zarr/0/zarr.json", "2.zarr/0/.zarray", "3.zarr/0/c/0/0/0")


def _zarrs(folder: Path) -> list[bytes]:
    """Files of the store, each with its number as the first byte."""
    store = _zarr_store(folder)
    return [bytes([i]) + (store / name).read_bytes() for i, name in enumerate(_ZARR_FILES)]


def _zarr(folder: Path) -> Callable[[Path], object]:
    """Reads the store with one of its files damaged."""
    store = _zarr_store(folder / "stores")

    def read(path: Path) -> None:
        damaged = path.read_bytes() or bytes(1)
        place = store / _ZARR_FILES[damaged[0] % len(_ZARR_FILES)]
        whole = place.read_bytes()
        place.write_bytes(damaged[1:])
        try:
            _stack(store / "2.zarr" / "0" if "2.zarr" in place.parts else store / "3.zarr")
        finally:
            place.write_bytes(whole)

    return read


def _plain(read: Callable[[Path], object]) -> Callable[[Path], Callable[[Path], object]]:
    return lambda folder: read


def _stack(path: Path) -> None:
    """A file whose planes are read as `denoise` does, and as a single picture."""
    _planes(path)
    read_image(path)


def _planes(path: Path) -> None:
    with open_stack(path) as stack:
        for _ in bands_of(stack):
            pass


READERS = {
    "png": Reader(".png", _pillow("PNG"), _plain(_stack)),
    "jpeg": Reader(".jpg", _pillow("JPEG"), _plain(_stack)),
    "webp": Reader(".webp", _pillow("WEBP"), _plain(_stack)),
    "bmp": Reader(".bmp", _pillow("BMP"), _plain(_stack)),
    "gif": Reader(".gif", _pillow("GIF"), _plain(_stack)),
    "avif": Reader(".avif", _avifs, _plain(_stack)),
    "jxl": Reader(".jxl", _jxls, _plain(_stack)),
    "tiff": Reader(".tif", _tiffs, _plain(_stack)),
    "raw": Reader(".dng", _raw, _plain(_planes)),
    "model": Reader(
        ".safetensors",
        lambda folder: [_model(folder / "model.safetensors")],
        _plain(Denoiser.load),
        mutated_safetensors,
    ),
    "package": Reader(".zip", _exported("bioimageio"), _plain(Denoiser.load)),
    "onnx": Reader(".onnx", _exported("onnx"), _plain(Denoiser.load)),
    "published": Reader(".pth", _published, _plain(Denoiser.load)),
    "checkpoint": Reader(".safetensors", _checkpoint, _resume, mutated_safetensors),
    "pairs": Reader(".pkl", _pairs, _plain(load_pair_file)),
    "bestmodel": Reader(".pth", _best, _plain(read_best)),
    "profile": Reader(".json", _profile, _plain(NoiseProfile.load)),
    "history": Reader(".csv", lambda folder: [HISTORY], _curves),
    "recipe": Reader(
        ".toml", lambda folder: [RECIPE], _plain(lambda path: configure(**read_recipe(path)))
    ),
}

if importlib.util.find_spec("zarr"):  # there is none for Python 3.10
    READERS["zarr"] = Reader(".json", _zarrs, _zarr)
if importlib.util.find_spec("astropy"):
    READERS["fits"] = Reader(".fits", _fits, _plain(_planes))
    READERS["fits.gz"] = Reader(".fits.gz", _zipped_fits, _plain(_planes), _mutated_within)
if importlib.util.find_spec("mrcfile"):
    READERS["mrc"] = Reader(".mrc", _mrc, _plain(_planes))
if importlib.util.find_spec("pydicom"):
    READERS["dicom"] = Reader(".dcm", _dicoms, _plain(_planes))
if importlib.util.find_spec("pillow_heif"):
    READERS["heif"] = Reader(".heic", _heifs, _plain(_stack))
if importlib.util.find_spec("bioio_czi"):
    READERS["czi"] = Reader(".czi", _czis, _plain(_planes))

"""Files that no library at hand writes: a profile of inks, a camera's raw file."""

import functools
import importlib
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import skimage.color
import tifffile

_GRID = 17  # of the table from Lab to inks


@functools.cache
def ink_profile() -> bytes:
    """An ICC profile of ideal inks: CMYK to Lab, and back with as much black as there can be."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"inks\0" + bytes(78),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": _table(4, 3, 2, _to_lab(np.moveaxis(np.indices((2, 2, 2, 2)), 0, -1))),
        b"B2A0": _table(3, 4, _GRID, _to_inks(np.moveaxis(np.indices((_GRID,) * 3), 0, -1))),
    }
    place = 128 + 4 + 12 * len(tags)
    index, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        body += b"\0" * (-len(body) % 4)
        index += struct.pack(">4sII", name, place + len(bodies), len(body))
        bodies += body
    size = place + len(bodies)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    head += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + index + bodies


def _to_lab(inks: np.ndarray) -> np.ndarray:
    lab = skimage.color.rgb2lab((1.0 - inks[..., :3]) * (1 - inks[..., 3:]))
    return np.stack([lab[..., 0] * 652.8, *(lab[..., 1:].transpose(4, 0, 1, 2, 3) + 128) * 256], -1)


def _to_inks(steps: np.ndarray) -> np.ndarray:
    share = steps / (_GRID - 1) * 65535
    lab = np.stack([share[..., 0] / 652.8, *(share[..., 1:] / 256 - 128).transpose(3, 0, 1, 2)], -1)
    with warnings.catch_warnings():  # of colours that there aren't
        warnings.simplefilter("ignore")
        rgb = skimage.color.lab2rgb(np.minimum(lab, [100, 127, 127]))
    black = 1 - rgb.max(-1, keepdims=True)
    inks = (1 - rgb - black) / np.maximum(1 - black, 1e-6)
    return np.concatenate([inks, black], -1) * 65535


def _table(inputs: int, outputs: int, grid: int, values: np.ndarray) -> bytes:
    """A table of 16 bits (lut16Type), with straight curves before and after."""
    straight = struct.pack(">2H", 0, 65535)
    head = b"mft2\0\0\0\0" + bytes([inputs, outputs, grid, 0])
    matrix = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table = np.rint(values.clip(0, 65535)).astype(">u2").tobytes()
    return head + matrix + struct.pack(">2H", 2, 2) + straight * inputs + table + straight * outputs


def write_dng(path: Path, mosaic: np.ndarray, black: int = 512, white: int = 16383) -> None:
    """A camera's raw file: red, green / green, blue, white balance 2, 1, 1.6667.

    Of pixels (H, W, 3), a file whose colours are complete already.
    """
    identity = tuple(n for i in range(9) for n in (int(i % 4 == 0), 1))
    tags: list[tuple[Any, ...]] = [
        (33421, 3, 2, (2, 2)),  # CFARepeatPatternDim
        (33422, 1, 4, bytes([0, 1, 1, 2])),  # CFAPattern
        (50706, 1, 4, bytes([1, 4, 0, 0])),  # DNGVersion
        (50708, 2, 0, "A camera"),  # UniqueCameraModel
        (50714, 3, 1, (black,)),  # BlackLevel
        (50717, 3, 1, (white,)),  # WhiteLevel
        (50721, 10, 9, identity),  # ColorMatrix1
        (50728, 5, 3, (1, 2, 1, 1, 3, 5)),  # AsShotNeutral
        (50778, 3, 1, (21,)),  # CalibrationIlluminant1: D65
        (271, 2, 0, "Maker"),
        (272, 2, 0, "Camera"),
        (274, 3, 1, 6),
    ]
    kind = "cfa"
    if mosaic.ndim == 3:
        kind, tags = "linear_raw", [tag for tag in tags if tag[0] not in (33421, 33422)]
        tags[2:4] = [(50714, 3, 3, (black,) * 3), (50717, 3, 3, (white,) * 3)]
    tifffile.imwrite(path, mosaic, photometric=kind, extratags=tags, metadata=None, software=False)


def write_dicom(
    path: Path, pixels: np.ndarray, syntax: str = "1.2.840.10008.1.2.1", **said: Any
) -> None:
    """A scanner's image, (H, W), (H, W, 3), (frames, H, W) or (frames, H, W, 3): of a patient, in
    Hounsfield's units, with a window and a private element.

    Arguments:
        said: elements by their keyword, in the place of those that follow from the pixels.
    """
    pydicom: Any = importlib.import_module("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4.5"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Weiß^Anna", "42", "CT"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.4", "1.2.3.4.1"
    dataset.PixelSpacing, dataset.ImageType = [0.5, 0.25], ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    block = dataset.private_block(0x0033, "a maker", create=True)
    block.add_new(1, "LO", "what only it knows")
    colour = pixels.ndim == 4 or (pixels.ndim == 3 and pixels.shape[-1] == 3)
    frames = pixels if pixels.ndim == 3 + colour else pixels[None]
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in said.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    data = frames.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset.PixelData = data + bytes(len(data) % 2)
    dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    implicit, little = syntax == "1.2.840.10008.1.2", order == "<"
    pydicom.dcmwrite(
        path, dataset, implicit_vr=implicit, little_endian=little, enforce_file_format=True
    )

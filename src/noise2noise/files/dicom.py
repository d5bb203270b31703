"""DICOM: what scanners in hospitals write. All but the pixels stays, patient and windows too.

pydicom reads what is said; pixels that aren't compressed are read from the disk as they are asked
for, others frame by frame by pydicom or imagecodecs. A result is a derived image of its source: it
has a SOPInstanceUID of its own, and names that of the source. `dicom_pixels.py` knows what the
numbers mean.

Source: https://dicom.nema.org/medical/dicom/current (PS3.3 C.7.6, PS3.5 8 and A.4).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from noise2noise.files import dicom_pixels
from noise2noise.files.axes import Axes
from noise2noise.files.dicom_pixels import (
    BIG,
    EXPLICIT,
    FLOATS,
    IMPLICIT,
    NATIVE,
    Meaning,
    bounded,
)
from noise2noise.files.extras import missing, needed
from noise2noise.files.flat import Flat
from noise2noise.files.format import Format
from noise2noise.files.guard import UnusableError, check_size, quiet, shown
from noise2noise.files.stack import ALL, STREAMED, Header, Held, Metadata, Stack, Step

_MOST_FRAMES = 2**20
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_HEAD = 2**20  # bytes, in which it is said how the rest is written down
_PIXELS = {np.dtype(np.float32): (0x0008, b"OF"), np.dtype(np.float64): (0x0009, b"OD")}
_LONGEST = 2**32 - 2
# The icon and the extremes are those of other pixels, and signatures break.
_STALE = (0x00880200, 0x00280106, 0x00280107, 0xFFFAFFFA)
_TIMES = ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate")
_DEPTHS = ("SpacingBetweenSlices", "GridFrameOffsetVector", "SliceThickness")


@dataclass(frozen=True)
class DicomLayout:
    """The file that was read.

    Attributes:
        said: the data set without its pixels, pydicom's.
        meaning: of the pixels.
        stored: a band of plane p, as it was handed out before anything was masked; while the file
            is open.
    """

    said: Any
    meaning: Meaning
    stored: Callable[[int, slice], np.ndarray]


class _Dicom(Format):
    name, suffixes = "DICOM", (".dcm", ".dicom")

    def recognises(self, head: bytes) -> bool:
        return head[128:132] == b"DICM"

    def open(self, path: Path) -> Stack:
        with needed("dicom", "a DICOM file"):
            import pydicom
        with bounded(path) as file:
            # Whatever it grows to, pydicom would inflate it.
            if _DEFLATED in file.read(_HEAD):
                raise UnusableError("is deflated as a whole; save it uncompressed")
            file.seek(0)
            said = pydicom.dcmread(file, stop_before_pixels=True)
            syntax = str(said.file_meta.get("TransferSyntaxUID", IMPLICIT))
            return _DicomStack(said, syntax, file.tell(), path)

    def refusal(self, header: Header) -> str:
        lacking = missing("pydicom", "dicom", self.name)
        if lacking:
            return lacking
        if _own(header) is None:
            return "only files that were DICOM become DICOM again; end the name in .tif"
        if header.metadata.converted:
            return "the values of DICOM stay; leave --dtype and --bit-depth out, or end it in .tif"
        size = header.planes * header.height * header.width * header.samples
        if size * header.metadata.layout.meaning.stored.itemsize > _LONGEST:
            return "DICOM can't hold more than 4 GB without compression; end the name in .tif"
        return ""

    def losses(self, header: Header) -> tuple[str, ...]:
        syntax = str(header.metadata.layout.said.file_meta.get("TransferSyntaxUID", IMPLICIT))
        return () if syntax in NATIVE else ("written uncompressed",)

    def held(self, header: Header) -> Held:
        del header
        return STREAMED

    def write(self, path: Path, header: Header, bands: Iterable[np.ndarray]) -> None:
        import pydicom

        layout: DicomLayout = header.metadata.layout
        meaning = layout.meaning
        with quiet():
            said = _derived(layout)
        length = header.planes * header.height * header.width * header.samples
        length *= meaning.stored.itemsize
        tag, kind = _PIXELS.get(meaning.stored, (0x0010, b"OB" if meaning.bits <= 8 else b"OW"))
        with path.open("wb") as file:
            with quiet():
                pydicom.dcmwrite(file, said, enforce_file_format=True)
            file.write(struct.pack("<HH", 0x7FE0, tag))
            if said.file_meta.TransferSyntaxUID == EXPLICIT:
                file.write(kind + bytes(2))
            file.write(struct.pack("<I", length + length % 2))
            for values in _stored(bands, header, layout):
                file.write(values.astype(meaning.stored.newbyteorder("<")).tobytes())
            file.write(bytes(length % 2))


DICOM = _Dicom()


class _DicomStack(Stack):
    """The frames of a file.

    Arguments:
        said: the data set without its pixels.
        syntax: the UID of how it is written down.
        offset: where the pixels' element begins.
        path: of the file.
    """

    def __init__(self, said: Any, syntax: str, offset: int, path: Path) -> None:
        if "Rows" not in said or "Columns" not in said:
            kind = f" ({shown(said.Modality)})" if said.get("Modality") else ""
            raise UnusableError(f"is a DICOM file that holds no image{kind}; use one that does")
        width, height = int(said.Columns), int(said.Rows)
        frames = int(said.get("NumberOfFrames") or 1)
        check_size(width, height)
        if not 0 < frames <= _MOST_FRAMES:
            raise UnusableError(f"is damaged ({frames} frames); copy or save it again")
        self._syntax, self._path, self._frames = syntax, path, frames
        self._plane, self._pixels = -1, np.empty(0)
        element = replace(dicom_pixels.element(path, offset, syntax), height=height, width=width)
        self._meaning = meaning = Meaning.of(said, element.tag)
        self._flat = None
        swapped = syntax == BIG and meaning.bits == 8  # bytes, in words of two
        if syntax in NATIVE and meaning.plain and not swapped:
            self._flat = _flat(said, meaning, element.offset, path, big=syntax == BIG)
            self._flat.check()
        else:
            dicom_pixels.check_packed(meaning, frames, element)
        self._element = element
        letters, shape = "YX", (height, width)
        if meaning.samples > 1:
            letters, shape = "YXS", (height, width, 3)
        if frames > 1:
            letters, shape = _leading(said) + letters, (frames, *shape)
        metadata = Metadata(
            icc_profile=bytes(said.get("ICCProfile") or b""),
            steps=tuple(_steps(said)),
            layout=DicomLayout(said, meaning, self._stored),
        )
        masked = meaning.padding is not None
        header = Header(
            letters,
            shape,
            meaning.masked if masked else meaning.dtype,
            "rgb" if meaning.samples > 1 else "grey",
            white=meaning.white,
            metadata=metadata,
            whole=meaning.dtype if masked else None,
        )
        super().__init__(header, path)

    @property
    def held(self) -> Held:
        if self._flat is not None:
            return STREAMED
        plane = self.header.plane_bytes
        return Held(plane, 4 * plane + self._element.length)

    def forget(self) -> None:
        self._plane, self._pixels = -1, np.empty(0)

    def _read(self, plane: int, rows: slice, columns: slice) -> np.ndarray:
        values = self._stored(plane, rows)[:, columns]
        return self._meaning.mask(values)

    def _stored(self, plane: int, rows: slice) -> np.ndarray:
        """Rows of a plane, (h, W, samples), of the meaning's dtype."""
        meaning = self._meaning
        if self._flat is not None:
            return meaning.load(self._flat.read(plane, rows, ALL))
        if plane != self._plane:
            size = (self._element.height, self._element.width)
            frame = dicom_pixels.frame(self._path, plane, self._frames, self._element, meaning)
            if frame.shape[:2] != size:
                raise ValueError(f"frame {plane} is of {frame.shape}, not of {size}")
            self._plane, self._pixels = plane, meaning.load(frame.reshape(*size, -1))
        return self._pixels[rows]


def _flat(said: Any, meaning: Meaning, offset: int, path: Path, big: bool) -> Flat:
    """Where pixels lie that aren't compressed."""
    height, width = int(said.Rows), int(said.Columns)
    letters, shape = "QYX", (int(said.get("NumberOfFrames") or 1), height, width)
    if meaning.samples > 1:
        planar = said.get("PlanarConfiguration") == 1
        letters = "QSYX" if planar else "QYXS"
        shape = (shape[0], 3, height, width) if planar else (*shape, 3)
    order = ">" if big else "<"
    return Flat(path, offset, Axes(letters, shape), meaning.stored.newbyteorder(order))


def _leading(said: Any) -> str:
    """The axis of the frames."""
    if any(said.get(name) for name in _TIMES):
        return "T"
    return "Z" if any(said.get(name) for name in _DEPTHS) else "Q"


def _steps(said: Any) -> Iterator[Step]:
    measured = [said]
    for group in said.get("SharedFunctionalGroupsSequence") or ():
        measured += list(group.get("PixelMeasuresSequence") or ())
    for each in measured:
        spacing = each.get("PixelSpacing") or each.get("ImagerPixelSpacing")
        if spacing and len(spacing) == 2:
            yield from (_step("Y", spacing[0]), _step("X", spacing[1]))
            break
    for each in measured:
        if each.get("SpacingBetweenSlices"):
            yield _step("Z", each.SpacingBetweenSlices)
            break
    if said.get("FrameTime"):
        yield replace(_step("T", said.FrameTime), unit="millisecond")


def _step(axis: str, size: Any) -> Step:
    return Step(axis, abs(float(size)), "millimeter")


# Out.


def _own(header: Header) -> DicomLayout | None:
    layout = header.metadata.layout
    if not isinstance(layout, DicomLayout):
        return None
    said = layout.said
    shape = (int(said.get("NumberOfFrames") or 1), int(said.Rows), int(said.Columns))
    own = (*shape, layout.meaning.samples)
    return layout if own == (header.planes, header.height, header.width, header.samples) else None


def _stored(
    bands: Iterable[np.ndarray], header: Header, layout: DicomLayout
) -> Iterator[np.ndarray]:
    """Bands as the file has them; what was masked is as it was."""
    meaning, place = layout.meaning, 0
    for band in bands:
        if meaning.padding is None:
            yield meaning.store(band)
        else:
            plane, row = divmod(place, header.height)
            before = layout.stored(plane, slice(row, row + len(band)))
            rounded = meaning.rounded(band)
            yield meaning.store(np.where(np.isfinite(band), rounded, before))
        place += len(band)


def _derived(layout: DicomLayout) -> Any:
    """What is said of the result: a derived image, which names its source."""
    import copy

    from pydicom.dataset import Dataset
    from pydicom.uid import UID, generate_uid

    said, meaning = copy.deepcopy(layout.said), layout.meaning
    for tag in _STALE:
        if tag in said:
            del said[tag]
    source = Dataset()
    source.ReferencedSOPClassUID = said.get("SOPClassUID", "")
    source.ReferencedSOPInstanceUID = said.get("SOPInstanceUID", "")
    said.SourceImageSequence = [source]
    # Random: no two images in the world may have the same one.
    said.SOPInstanceUID = generate_uid()
    if said.get("SeriesInstanceUID"):  # the same for all images of a series, each in its file
        said.SeriesInstanceUID = generate_uid(entropy_srcs=[said.SeriesInstanceUID, "denoised"])
    kinds = said.get("ImageType")
    said.ImageType = ["DERIVED", *(list(kinds)[1:] if kinds else ["SECONDARY"])]
    before = said.get("DerivationDescription") or ""
    said.DerivationDescription = f"{before}; noise removed".lstrip("; ")[:1024]
    if meaning.samples > 1:
        said.PhotometricInterpretation, said.PlanarConfiguration = "RGB", 0
    said.file_meta.MediaStorageSOPInstanceUID = said.SOPInstanceUID
    syntax = str(said.file_meta.TransferSyntaxUID)
    if syntax not in (EXPLICIT, IMPLICIT):
        said.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    said.preamble = bytes(128)  # some hold a TIFF's directory, of other pixels
    if meaning.stored in FLOATS:
        return said
    said.HighBit = meaning.used - 1
    return said

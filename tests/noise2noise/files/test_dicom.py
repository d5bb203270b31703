"""DICOM: what numbers mean, what is said of a derived image, how frames are packed."""

import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from noise2noise.denoiser import Denoiser
from noise2noise.errors import UserError
from noise2noise.files import (
    Wanted,
    bands_of,
    format_for,
    open_stack,
    result_of,
    survey,
    write_stack,
)
from noise2noise.inference import Settings
from tests.noise2noise.files.made import write_dicom

pydicom = pytest.importorskip("pydicom")

LOSSLESS_JPEG, JPEG_LS, JPEG_2000 = (f"1.2.840.10008.1.2.4.{end}" for end in (70, 80, 90))
JPEG, EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
RLE, BIG, DEFLATED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"


def written(source: Path, target: Path, wanted: Wanted | None = None) -> Path:
    with open_stack(source) as stack:
        result = result_of(target, stack, wanted)
        bands = result.bands(bands_of(result.source(stack), 5), survey(stack))
        write_stack(target, result.header, bands)
    return target


def values(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(10, 90, shape).astype(dtype)


def packed(path: Path, frames: list[bytes], syntax: str) -> None:
    """Put compressed frames into a file in the place of its pixels."""
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True)


def test_a_result_is_a_derived_image_that_names_its_source(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("int16", 9, 11), SmallestImagePixelValue=10)
    result = pydicom.dcmread(written(tmp_path / "a.dcm", tmp_path / "b.dcm"))
    source = pydicom.dcmread(tmp_path / "a.dcm")
    assert result.SOPInstanceUID != source.SOPInstanceUID
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    assert result.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert list(result.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    assert result.StudyInstanceUID == source.StudyInstanceUID
    assert "SmallestImagePixelValue" not in result
    assert (result.PatientName, result.WindowCenter, result.RescaleIntercept) == (
        "Weiß^Anna",
        40,
        -1024,
    )


def test_images_of_a_series_stay_together_apart_from_their_sources(tmp_path):
    for name in "ab":
        write_dicom(tmp_path / f"{name}.dcm", values("int16", 9, 11))
        written(tmp_path / f"{name}.dcm", tmp_path / f"{name}2.dcm")
    source, first, second = (
        pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("a", "a2", "b2")
    )
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != source.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID


@pytest.mark.parametrize("limit", [None, -1990])
def test_what_lies_outside_of_the_scan_stays_as_it_is(tmp_path, make_model, limit):
    pixels = values("int16", 24, 30)
    pixels[:5], pixels[-3:] = -2000, -2000 if limit is None else -1995
    said = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    write_dicom(tmp_path / "a.dcm", pixels, PixelPaddingValue=-2000, **said)
    with open_stack(tmp_path / "a.dcm") as stack:
        assert survey(stack).low == 10
        assert survey(stack).bad == 8 * 30
        denoiser = Denoiser.load(make_model(width=4, depth=1, channels=1))
        denoiser.denoise_stack(stack, tmp_path / "b.dcm", Settings())
    result = pydicom.dcmread(tmp_path / "b.dcm").pixel_array
    outside = pixels < 0
    np.testing.assert_array_equal(result[outside], pixels[outside])
    assert (result[~outside] != pixels[~outside]).any()
    written(tmp_path / "a.dcm", tmp_path / "c.dcm")
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "c.dcm").pixel_array, pixels)


def test_white_is_white_whatever_zero_is(tmp_path):
    pixels = values("uint16", 9, 11)
    said = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12}
    write_dicom(tmp_path / "a.dcm", pixels, **said)
    with open_stack(tmp_path / "a.dcm") as stack:
        np.testing.assert_array_equal(stack.read()[..., 0], 4095 - pixels)
        assert stack.header.white == 4095


def test_white_is_white_of_numbers_with_a_sign_too(tmp_path):
    pixels = values("int16", 9, 11) - 50
    write_dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
    with open_stack(tmp_path / "a.dcm") as stack:
        np.testing.assert_array_equal(stack.read()[..., 0], -1 - pixels)
    result = written(tmp_path / "a.dcm", tmp_path / "b.dcm")
    np.testing.assert_array_equal(pydicom.dcmread(result).pixel_array, pixels)


@pytest.mark.parametrize(
    ("dtype", "name"), [("f4", "FloatPixelData"), ("f8", "DoubleFloatPixelData")]
)
def test_floats_are_read_and_written(tmp_path, dtype, name):
    pixels = values("int16", 9, 10).astype(dtype) / 8
    write_dicom(tmp_path / "a.dcm", values("uint16", 9, 10))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated = 8 * pixels.itemsize
    setattr(dataset, name, pixels.tobytes())
    dataset.save_as(tmp_path / "a.dcm")
    with open_stack(tmp_path / "a.dcm") as stack:
        assert stack.header.dtype == dtype
        np.testing.assert_array_equal(stack.read()[..., 0], pixels)
    result = pydicom.dcmread(written(tmp_path / "a.dcm", tmp_path / "b.dcm"))
    assert result[name].value == pixels.tobytes()
    assert "HighBit" not in result


def test_what_all_frames_share_says_how_far_apart_they_are(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint16", 4, 8, 9))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    del dataset.PixelSpacing
    measures, group = pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SpacingBetweenSlices = [0.75, 0.5], 2
    group.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [group]
    dataset.save_as(tmp_path / "a.dcm")
    with open_stack(tmp_path / "a.dcm") as stack:
        steps = {each.axis: each.size for each in stack.header.metadata.steps}
    assert (steps["Y"], steps["X"]) == (0.75, 0.5)


def test_what_no_decoder_at_hand_reads_is_named(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint8", 8, 9))
    packed(tmp_path / "a.dcm", [b"\0\0\1\xb3"], "1.2.840.10008.1.2.4.100")
    with pytest.raises(UserError, match=r"packed as MPEG2 .*, which can't be read; save it uncomp"):
        open_stack(tmp_path / "a.dcm")


def test_what_lies_above_the_bits_that_count_is_no_part_of_a_value(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint16", 9, 11) | 0x8000, BitsStored=12)
    with open_stack(tmp_path / "a.dcm") as stack:
        np.testing.assert_array_equal(stack.read()[..., 0], values("uint16", 9, 11))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("samples", [1, 3])
def test_big_endian_files_are_written_little_endian(tmp_path, bits, samples):
    pixels = values(f"uint{bits}", 8, 10, *[3] * (samples == 3))
    write_dicom(tmp_path / "a.dcm", pixels, BIG)
    result = pydicom.dcmread(written(tmp_path / "a.dcm", tmp_path / "b.dcm"))
    expected = pydicom.dcmread(tmp_path / "a.dcm").pixel_array
    np.testing.assert_array_equal(result.pixel_array, expected)
    assert result.file_meta.TransferSyntaxUID.is_little_endian


def test_colours_whose_planes_lie_apart(tmp_path):
    pixels = values("uint8", 8, 10, 3)
    write_dicom(tmp_path / "a.dcm", pixels)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.PlanarConfiguration = 1
    dataset.PixelData = pixels.transpose(2, 0, 1).tobytes()
    dataset.save_as(tmp_path / "a.dcm")
    result = pydicom.dcmread(written(tmp_path / "a.dcm", tmp_path / "b.dcm"))
    np.testing.assert_array_equal(result.pixel_array, pixels)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (LOSSLESS_JPEG, imagecodecs.ljpeg_encode),
        (JPEG_LS, imagecodecs.jpegls_encode),
        (JPEG_2000, lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k")),
    ],
)
def test_frames_that_are_packed_are_read_and_written_unpacked(tmp_path, syntax, encode):
    pixels = values("uint16", 3, 24, 26)
    write_dicom(tmp_path / "a.dcm", pixels)
    packed(tmp_path / "a.dcm", [bytes(encode(frame)) for frame in pixels], syntax)
    with open_stack(tmp_path / "a.dcm") as stack:
        assert format_for("b.dcm").losses(stack.header) == ("written uncompressed",)
    result = pydicom.dcmread(written(tmp_path / "a.dcm", tmp_path / "b.dcm"))
    assert result.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    np.testing.assert_array_equal(result.pixel_array, pixels)


def test_runs_are_read(tmp_path):
    pixels = values("int16", 2, 24, 26)
    write_dicom(tmp_path / "a.dcm", pixels)
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.compress(RLE, generate_instance_uid=False)
    dataset.save_as(tmp_path / "a.dcm")
    result = pydicom.dcmread(written(tmp_path / "a.dcm", tmp_path / "b.dcm"))
    np.testing.assert_array_equal(result.pixel_array, pixels)


def test_luma_and_chroma_become_colours(tmp_path):
    pixels = np.full((24, 32, 3), (200, 40, 90), np.uint8)
    write_dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="YBR_FULL_422")
    packed(tmp_path / "a.dcm", [bytes(imagecodecs.jpeg8_encode(pixels, level=98))], JPEG)
    with open_stack(tmp_path / "a.dcm") as stack:
        assert abs(stack.read().astype(int) - pixels).max() <= 3
    result = pydicom.dcmread(written(tmp_path / "a.dcm", tmp_path / "b.dcm"))
    assert result.PhotometricInterpretation == "RGB"
    assert abs(result.pixel_array.astype(int) - pixels).max() <= 3


def test_jpeg_of_12_bits_is_read(tmp_path):
    pixels = np.full((24, 32), 3000, np.uint16)
    data = bytes(imagecodecs.jpeg8_encode(pixels, level=98, bitspersample=12))
    write_dicom(tmp_path / "a.dcm", pixels, BitsStored=12)
    packed(tmp_path / "a.dcm", [data], EXTENDED)
    with open_stack(tmp_path / "a.dcm") as stack:
        assert abs(stack.read().astype(int) - 3000).max() <= 8


def test_a_frame_of_another_size_than_is_said_is_refused_before_it_is_decoded(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint16", 24, 26))
    data = bytearray(imagecodecs.jpegls_encode(values("uint16", 24, 26)))
    place = data.index(b"\xff\xf7") + 5
    data[place : place + 4] = b"\xff\xff\xff\xff"
    packed(tmp_path / "a.dcm", [bytes(data)], JPEG_LS)
    with (
        open_stack(tmp_path / "a.dcm") as stack,
        pytest.raises(UserError, match="a frame of 65535 x 65535 in an image of 26 x 24"),
    ):
        stack.read()


@pytest.mark.parametrize(
    ("said", "axis"),
    [({"FrameTime": 40}, "T"), ({"SpacingBetweenSlices": 2.5}, "Z"), ({}, "Q")],
)
def test_what_frames_are_and_how_far_apart(tmp_path, said, axis):
    write_dicom(tmp_path / "a.dcm", values("uint16", 4, 8, 9), **said)
    with open_stack(tmp_path / "a.dcm") as stack:
        assert stack.header.axes == f"{axis}YX"
        steps = {each.axis: (each.size, each.unit) for each in stack.header.metadata.steps}
    between = {"T": {"T": (40.0, "millisecond")}, "Z": {"Z": (2.5, "millimeter")}}
    spacing = {"Y": (0.5, "millimeter"), "X": (0.25, "millimeter")}
    assert steps == spacing | between.get(axis, {})


def test_other_formats_get_stored_values(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("int16", 4, 8, 9), FrameTime=40)
    written(tmp_path / "a.dcm", tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), values("int16", 4, 8, 9))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR pixels; convert it"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels, more than"),
        ({"Rows": 6000}, "cut short"),
        ({"BitsStored": 17}, "17 bits in 16"),
        ({"NumberOfFrames": 2**31 - 1}, "2147483647 frames"),
        (
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PixelRepresentation": 1},
            "has colours with a sign; save it as RGB of 8 or 16 bits",
        ),
    ],
)
def test_what_is_no_image_that_can_be_read_is_refused(tmp_path, change, sentence):
    write_dicom(tmp_path / "a.dcm", values("uint16", 8, 9), **change)
    with pytest.raises(UserError, match=sentence):
        open_stack(tmp_path / "a.dcm")


def test_a_mask_of_one_bit_is_no_image(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint8", 8, 9))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit, dataset.PixelData = 0, bytes(10)
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UserError, match="has 1 bit a pixel, a mask without noise; use the image"):
        open_stack(tmp_path / "a.dcm")


def test_a_data_set_that_is_deflated_is_refused_unread(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint16", 8, 9))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.file_meta.TransferSyntaxUID = DEFLATED
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UserError, match="deflated as a whole"):
        open_stack(tmp_path / "a.dcm")


def test_reports_hold_no_image(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint16", 8, 9))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    del dataset.Rows, dataset.PixelData
    dataset.Modality = "SR"
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(UserError, match=r"holds no image \(SR\); use one that does"):
        open_stack(tmp_path / "a.dcm")


def test_values_are_never_stretched_nor_made_of_another_file(tmp_path):
    write_dicom(tmp_path / "a.dcm", values("uint16", 8, 9))
    with pytest.raises(UserError, match="leave --dtype and --bit-depth out"):
        written(tmp_path / "a.dcm", tmp_path / "b.dcm", Wanted("uint8"))
    tifffile.imwrite(tmp_path / "a.tif", values("uint16", 8, 9))
    with pytest.raises(UserError, match="only files that were DICOM"):
        written(tmp_path / "a.tif", tmp_path / "b.dcm")


def test_without_pydicom_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    write_dicom(tmp_path / "a.dcm", values("int16", 8, 9))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"needs pydicom; .* pip install 'noise2noise\[dicom\]'"):
        open_stack(tmp_path / "a.dcm")

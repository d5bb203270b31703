"""MRC: modes, voxels, extended headers, and what IMOD says of bytes."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from noise2noise.errors import UserError
from noise2noise.files import Wanted, bands_of, open_stack, result_of, survey, write_stack

mrcfile = pytest.importorskip("mrcfile")


def written(source: Path, target: Path, wanted: Wanted | None = None) -> Path:
    with open_stack(source) as stack:
        result = result_of(target, stack, wanted)
        bands = result.bands(bands_of(result.source(stack), 5), survey(stack))
        write_stack(target, result.header, bands)
    return target


def values(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(10, 90, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "volume", "letters"),
    [((7, 9), False, "YX"), ((4, 7, 9), False, "QYX"), ((4, 7, 9), True, "ZYX")],
)
def test_stacks_and_volumes_are_told_apart(tmp_path, shape, volume, letters):
    with mrcfile.new(tmp_path / "a.mrc", values("float32", *shape)) as file:
        if volume:
            file.set_volume()
        elif len(shape) > 2:
            file.set_image_stack()
        file.voxel_size = 2.5
    with open_stack(tmp_path / "a.mrc") as stack:
        assert stack.header.axes == letters
        step = stack.header.metadata.steps[0]
        assert (step.axis, step.size, step.unit) == ("X", 2.5, "angstrom")


def test_statistics_are_those_of_the_result(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", values("float32", 7, 9)):
        pass
    with open_stack(tmp_path / "a.mrc") as stack:
        write_stack(tmp_path / "b.mrc", stack.header, (2 * band for band in bands_of(stack)))
    with mrcfile.open(tmp_path / "b.mrc") as file:
        pixels = file.data.astype(float)
        said = [float(file.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    expected = [pixels.min(), pixels.max(), pixels.mean(), pixels.std()]
    np.testing.assert_allclose(said, expected, rtol=1e-5)


def test_big_endian_files_stay_so(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", values("int16", 7, 9)) as file:
        header, pixels = file.header.copy(), file.data.copy()
    header = header.astype(header.dtype.newbyteorder(">"))
    header["machst"] = (0x11, 0x11, 0, 0)
    data = header.tobytes() + pixels.astype(">i2").tobytes()
    (tmp_path / "a.mrc").write_bytes(data)
    result = written(tmp_path / "a.mrc", tmp_path / "b.mrc").read_bytes()
    assert result[:76] == data[:76]
    assert result[1024:] == data[1024:]


def test_imods_bytes_without_a_sign_are_taken_so(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", values("int8", 7, 9)):
        pass
    data = bytearray((tmp_path / "a.mrc").read_bytes())
    data[152:160] = (1146047817).to_bytes(4, "little") + bytes(4)
    data[1024:1026] = b"\xff\x80"
    (tmp_path / "a.mrc").write_bytes(data)
    with open_stack(tmp_path / "a.mrc") as stack:
        assert stack.header.dtype == np.uint8
        assert stack.read()[0, :2, 0].tolist() == [255, 128]
    assert written(tmp_path / "a.mrc", tmp_path / "b.mrc").read_bytes()[1024:] == data[1024:]


def test_from_other_formats_and_to_them(tmp_path):
    said = {"axes": "ZYX", "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "nm"}
    pixels = values("uint16", 4, 7, 9)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True, metadata=said)
    with mrcfile.open(written(tmp_path / "a.ome.tif", tmp_path / "a.mrc")) as file:
        assert file.is_volume()
        assert float(file.voxel_size.x) == 2.5
        np.testing.assert_array_equal(file.data, pixels)
    with tifffile.TiffFile(written(tmp_path / "a.mrc", tmp_path / "b.tif")) as file:
        assert 'PhysicalSizeX="2.5"' in file.ome_metadata
        np.testing.assert_array_equal(file.asarray(), pixels)


def test_another_dtype_keeps_the_header(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", values("int16", 7, 9)) as file:
        file.add_label("motion corrected")
    written(tmp_path / "a.mrc", tmp_path / "b.mrc", Wanted("float32"))
    with mrcfile.open(tmp_path / "b.mrc") as file:
        assert (file.data.dtype, file.get_labels()[-1][:16]) == (np.float32, "motion corrected")


def test_what_mrc_can_not_hold_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values("uint8", 7, 9))
    with pytest.raises(UserError, match="can't hold uint8 pixels; add --dtype uint16"):
        written(tmp_path / "a.tif", tmp_path / "a.mrc")
    with mrcfile.new(tmp_path / "c.mrc", values("complex64", 7, 9)):
        pass
    with pytest.raises(UserError, match="pixels of mode 4"):
        open_stack(tmp_path / "c.mrc")


def test_a_file_that_ends_too_early_is_refused(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", values("int16", 70, 90)):
        pass
    (tmp_path / "cut.mrc").write_bytes((tmp_path / "a.mrc").read_bytes()[:9000])
    with pytest.raises(UserError, match="cut short"):
        open_stack(tmp_path / "cut.mrc")


def test_without_mrcfile_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    with mrcfile.new(tmp_path / "a.mrc", values("int16", 7, 9)):
        pass
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    with pytest.raises(UserError, match=r"needs mrcfile; .* pip install 'noise2noise\[mrc\]'"):
        open_stack(tmp_path / "a.mrc")


def test_colours_have_no_place(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", values("uint16", 7, 9, 3), photometric="rgb")
    with pytest.raises(UserError, match=r"MRC can't hold rgb pixels; end the name in \.tif"):
        written(tmp_path / "a.tif", tmp_path / "a.mrc")


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (92, 2**31 - 1, "an extended header of 2147483647 bytes"),
        (92, -1, "an extended header of -1 bytes"),
        (0, 0, r"has no pixels \(0 x 7 x 1\)"),
    ],
)
def test_sizes_that_can_not_be_are_refused(tmp_path, place, value, sentence):
    with mrcfile.new(tmp_path / "a.mrc", values("int16", 7, 9)):
        pass
    data = bytearray((tmp_path / "a.mrc").read_bytes())
    data[place : place + 4] = value.to_bytes(4, "little", signed=True)
    (tmp_path / "a.mrc").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        open_stack(tmp_path / "a.mrc")


def test_old_files_that_do_not_say_their_order_are_little_endian(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", values("int16", 7, 9)):
        pass
    data = bytearray((tmp_path / "a.mrc").read_bytes())
    data[212:216] = bytes(4)
    (tmp_path / "a.mrc").write_bytes(data)
    with open_stack(tmp_path / "a.mrc") as stack:
        np.testing.assert_array_equal(stack.read()[..., 0], values("int16", 7, 9))


def test_without_a_number_there_are_no_statistics(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc", values("float32", 7, 9)):
        pass
    data = (tmp_path / "a.mrc").read_bytes()
    (tmp_path / "a.mrc").write_bytes(data[:1024] + np.full((7, 9), np.nan, "<f4").tobytes())
    with mrcfile.open(written(tmp_path / "a.mrc", tmp_path / "b.mrc"), header_only=True) as file:
        said = (file.header.dmin, file.header.dmax, file.header.dmean, file.header.rms)
    assert said == (0, -1, -2, -1)

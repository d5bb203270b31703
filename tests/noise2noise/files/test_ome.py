"""Axes, pixel sizes and channels between OME-TIFF, ImageJ, OME-Zarr and arrays."""

import numpy as np
import pytest
import tifffile

from noise2noise.files import Channel, Step, bands_of, open_stack, write_stack

PIXELS = np.arange(2 * 3 * 4 * 9 * 8, dtype=np.uint16).reshape(2, 3, 4, 9, 8)
METADATA = {
    "axes": "TZCYX",
    "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "nm",
    "PhysicalSizeY": 0.5,
    "PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "mm",
    "TimeIncrement": 3.0, "TimeIncrementUnit": "ms",
    "Channel": {"Name": ["a", "b < c", "d", "e"], "Color": [-16776961, 16711935, 65535, 0]},
}  # fmt: skip
STEPS = {
    Step("X", 0.25, "nanometer"),
    Step("Y", 0.5, "micrometer"),
    Step("Z", 2.0, "millimeter"),
    Step("T", 3.0, "millisecond"),
}


def copied(source, target, **said):
    with open_stack(source, **said) as stack:
        write_stack(target, stack.header, bands_of(stack, 4))
    return target


def test_ome_says_steps_and_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, metadata=METADATA)
    with open_stack(tmp_path / "a.ome.tif") as stack:
        metadata = stack.header.metadata
    assert set(metadata.steps) == STEPS
    assert metadata.channels[:2] == (Channel("a", "FF0000"), Channel("b < c", "00FF00"))


def test_imagej_says_steps(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", PIXELS, imagej=True, resolution=(4, 5),
        metadata={"axes": "TZCYX", "unit": "um", "spacing": 3, "finterval": 0.5},
    )  # fmt: skip
    with open_stack(tmp_path / "a.tif") as stack:
        steps = {
            step.axis: (round(step.size, 6), step.unit) for step in stack.header.metadata.steps
        }
    micro = "micrometer"
    assert steps == {"X": (0.25, micro), "Y": (0.2, micro), "Z": (3, micro), "T": (0.5, "second")}


def test_from_tiff_to_zarr_and_back_nothing_is_lost(tmp_path):
    zarr = pytest.importorskip("zarr")
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, metadata=METADATA)
    store = copied(tmp_path / "a.ome.tif", tmp_path / "b.ome.zarr")
    said = zarr.open_group(store, mode="r").attrs["ome"]
    units = [axis.get("unit") for axis in said["multiscales"][0]["axes"]]
    assert units == ["millisecond", None, "millimeter", "micrometer", "nanometer"]
    assert [each["label"] for each in said["omero"]["channels"]] == ["a", "b < c", "d", "e"]
    back = copied(store, tmp_path / "c.ome.tif")
    with tifffile.TiffFile(back) as file:
        assert file.series[0].axes == "TCZYX"
        np.testing.assert_array_equal(file.asarray(), PIXELS.transpose(0, 2, 1, 3, 4))
    with open_stack(back) as stack:
        assert set(stack.header.metadata.steps) == STEPS
        assert [each.name for each in stack.header.metadata.channels] == ["a", "b < c", "d", "e"]


@pytest.mark.parametrize("axes", ["TZCYX", "CZYX", "ZYXS", "TYX"])
def test_axes_of_an_array_are_said_in_a_tiff(tmp_path, axes):
    sizes = {"T": 2, "Z": 4, "C": 5, "Y": 9, "X": 8, "S": 3}
    pixels = np.zeros([sizes[axis] for axis in axes], np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    result = copied(tmp_path / "a.npy", tmp_path / "b.tif", axes=axes)
    with tifffile.TiffFile(result) as file:
        assert (file.series[0].axes, file.series[0].shape) == (axes, pixels.shape)


@pytest.mark.parametrize("size", ["nan", "-1", "", "inf", "x"])
def test_sizes_that_are_none_are_left_out(tmp_path, size):
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, metadata=METADATA)
    data = (tmp_path / "a.ome.tif").read_bytes()
    old = b'PhysicalSizeX="0.25"'
    new = f'PhysicalSizeX="{size}"'.encode().ljust(len(old))
    (tmp_path / "a.ome.tif").write_bytes(data.replace(old, new))
    with open_stack(tmp_path / "a.ome.tif") as stack:
        assert {step.axis for step in stack.header.metadata.steps} == {"Y", "Z", "T"}

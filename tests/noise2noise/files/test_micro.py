"""Microscope makers' files: CZI as Zeiss' library writes it, others by a reader that stands in."""

import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from noise2noise.errors import UserError
from noise2noise.files import bands_of, open_stack, result_name, result_of, survey, write_stack


def written(source: Path, target: Path) -> Path:
    with open_stack(source) as stack:
        result = result_of(target, stack)
        bands = result.bands(bands_of(result.source(stack), 5), survey(stack))
        write_stack(target, result.header, bands)
    return target


def test_czi_becomes_ome_tiff(tmp_path):
    pytest.importorskip("bioio_czi")
    czi: Any = pytest.importorskip("pylibCZIrw.czi")
    pixels = np.random.default_rng(0).integers(0, 4000, (2, 2, 3, 21, 34)).astype(np.uint16)
    with czi.create_czi(str(tmp_path / "a.czi")) as file:
        for t, c, z in np.ndindex(2, 2, 3):
            file.write(data=pixels[t, c, z, :, :, None], plane={"T": t, "Z": z, "C": c})
        names = {0: "DAPI", 1: "GFP"}
        file.write_metadata("a", channel_names=names, scale_x=2.5e-7, scale_y=2.5e-7, scale_z=1e-6)
    assert result_name("a.czi", "a_denoised") == "a_denoised.ome.tif"
    with open_stack(tmp_path / "a.czi") as stack:
        assert (stack.header.axes, stack.header.shape) == ("TCZYX", pixels.shape)
    with tifffile.TiffFile(written(tmp_path / "a.czi", tmp_path / "b.ome.tif")) as file:
        np.testing.assert_array_equal(file.asarray(), pixels)
        assert file.series[0].axes == "TCZYX"
        for said in ('Name="DAPI"', 'PhysicalSizeX="0.25"', 'PhysicalSizeZ="1.0"'):
            assert said in (file.ome_metadata or "")


class Lazy(np.ndarray):
    """An array that is computed, as dask's are."""

    def compute(self) -> np.ndarray:
        return np.asarray(self)


def stand_in(monkeypatch, module: str, pixels: np.ndarray, order: str, scenes: int = 1) -> None:
    """A bioio reader of whatever file, which always reads plane by plane."""

    class Reader:
        dims = SimpleNamespace(order=order, shape=pixels.shape)
        dtype, dask_data = pixels.dtype, pixels.view(Lazy)
        channel_names = ("red", "green")
        physical_pixel_sizes = SimpleNamespace(Z=None, Y=0.5, X=0.5)
        time_interval = timedelta(seconds=2)

        def __init__(self, path: str) -> None:
            self.scenes = tuple(str(scene) for scene in range(scenes))

    made = ModuleType(module)
    made.Reader = Reader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module, made)


@pytest.mark.parametrize(
    ("module", "magic"),
    [("bioio_nd2", b"\xda\xce\xbe\x0a"), ("bioio_lif", b"\x70\0\0\0")],
)
def test_others_by_their_readers(tmp_path, monkeypatch, module, magic):
    pixels = np.random.default_rng(0).integers(0, 99, (4, 2, 1, 9, 7)).astype(np.uint16)
    stand_in(monkeypatch, module, pixels, "TCZYX", scenes=3)
    (tmp_path / "a.bin").write_bytes(magic + bytes(9000))
    with open_stack(tmp_path / "a.bin") as stack:
        header = stack.header
        np.testing.assert_array_equal(stack.read(5, slice(2, 4))[..., 0], pixels[2, 1, 0, 2:4])
    assert (header.axes, header.shape) == ("TCYX", (4, 2, 9, 7))
    assert header.notes == ("2 other scenes left out",)
    assert [channel.name for channel in header.metadata.channels] == ["red", "green"]
    steps = {step.axis: (step.size, step.unit) for step in header.metadata.steps}
    assert steps == {
        "Y": (0.5, "micrometer"),
        "X": (0.5, "micrometer"),
        "T": (2.0, "second"),
    }


def test_colours_and_mosaics(tmp_path, monkeypatch):
    pixels = np.zeros((2, 1, 9, 7, 3), np.uint8)
    stand_in(monkeypatch, "bioio_lif", pixels, "MCYXS")
    (tmp_path / "a.lif").write_bytes(b"\x70\0\0\0" + bytes(9000))
    with open_stack(tmp_path / "a.lif") as stack:
        assert (stack.header.axes, stack.header.colour) == ("QYXS", "rgb")


def test_sizes_that_a_file_can_not_have_are_refused(tmp_path, monkeypatch):
    pixels = np.broadcast_to(np.uint16(0), (1, 20000, 20000))
    stand_in(monkeypatch, "bioio_lif", pixels, "TYX")
    (tmp_path / "a.lif").write_bytes(b"\x70\0\0\0")
    with pytest.raises(UserError, match="bytes of data can't be 20000 x 20000 pixels"):
        open_stack(tmp_path / "a.lif")


def test_a_single_sample_is_no_axis(tmp_path, monkeypatch):
    stand_in(monkeypatch, "bioio_lif", np.zeros((3, 9, 7, 1), np.uint8), "TYXS")
    (tmp_path / "a.lif").write_bytes(b"\x70\0\0\0" + bytes(9000))
    with open_stack(tmp_path / "a.lif") as stack:
        assert (stack.header.axes, stack.header.colour) == ("TYX", "grey")


@pytest.mark.parametrize(
    ("order", "shape", "sentence"),
    [
        ("YXT", (9, 7, 2), "has axes YXT of uint8; save it as OME-TIFF by its maker's program"),
        ("ABDEGHIYX", (2,) * 9, "has 9 axes; save it as OME-TIFF by its maker's program"),
        ("TYX", (9999, 1, 1), r"is damaged \(9999 planes\); copy or save it again"),
    ],
)
def test_axes_that_can_not_be_are_refused(tmp_path, monkeypatch, order, shape, sentence):
    stand_in(monkeypatch, "bioio_lif", np.zeros(shape, np.uint8), order)
    (tmp_path / "a.lif").write_bytes(b"\x70\0\0\0" + bytes(900))
    with pytest.raises(UserError, match=sentence):
        open_stack(tmp_path / "a.lif")


def test_they_are_only_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 7), np.uint8))
    with pytest.raises(UserError, match=r"can only be read; end the name in \.ome\.tif"):
        written(tmp_path / "a.npy", tmp_path / "a.czi")


def test_without_a_reader_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.nd2").write_bytes(b"\xda\xce\xbe\x0a" + bytes(9000))
    monkeypatch.setitem(sys.modules, "bioio_nd2", None)
    with pytest.raises(UserError, match=r"needs bioio_nd2; .* 'noise2noise\[micro\]'"):
        open_stack(tmp_path / "a.nd2")

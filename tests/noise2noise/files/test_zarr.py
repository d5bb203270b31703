"""OME-Zarr and plain Zarr arrays: written by the zarr library, copied, and checked by it."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from noise2noise.errors import UserError
from noise2noise.files import bands_of, list_images, open_stack, write_stack

zarr = pytest.importorskip("zarr")

SIZES = {"t": 2, "c": 2, "z": 3, "y": 19, "x": 21}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
STEPS = {"t": 2.5, "c": 1.0, "z": 0.5, "y": 0.1, "x": 0.1}
OMERO = {
    "channels": [
        {
            "label": name,
            "color": colour,
            "active": True,
            "window": {"min": 0, "max": 65535, "start": 10, "end": 999},
        }
        for name, colour in (("DAPI", "0000FF"), ("GFP", "00FF00"))
    ],
    "rdefs": {"model": "color"},
}
KINDS = {"t": "time", "c": "channel"}


def pixels_of(axes: str, dtype: str = "uint16") -> np.ndarray:
    shape = tuple(SIZES[axis] for axis in axes)
    return np.random.default_rng(0).integers(0, 4000, shape).astype(dtype)


def multiscales(axes: str, levels: int) -> dict[str, Any]:
    return {
        "name": "cells",
        "axes": [
            {"name": axis, "type": KINDS.get(axis, "space")}
            | ({"unit": UNITS[axis]} if axis in UNITS else {})
            for axis in axes
        ],
        "datasets": [
            {
                "path": f"s{level}",
                "coordinateTransformations": [
                    {
                        "type": "scale",
                        "scale": [STEPS[a] * (2**level if a in "yx" else 1) for a in axes],
                    },
                ],
            }
            for level in range(levels)
        ],
        "metadata": {"method": "somebody's"},
    }


def ome_zarr(
    path: Path,
    axes: str = "tczyx",
    version: int = 3,
    levels: int = 1,
    dtype: str = "uint16",
    **options: Any,
) -> np.ndarray:
    """As other programs write it."""
    pixels = pixels_of(axes, dtype)
    said: dict[str, Any] = {"multiscales": [multiscales(axes, levels)], "omero": OMERO}
    if version == 2:
        said["multiscales"][0]["version"] = "0.4"
        options.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
    attributes = said if version == 2 else {"ome": said | {"version": "0.5"}}
    group = zarr.create_group(path, zarr_format=version, attributes=attributes)
    options.setdefault("chunks", (1,) * (len(axes) - 2) + (16, 16))
    for level in range(levels):
        small = pixels[..., :: 2**level, :: 2**level]
        array = group.create_array(f"s{level}", shape=small.shape, dtype=dtype, **options)
        array[...] = small
    labels = group.create_group("labels")
    labels.create_array("nuclei", shape=(8, 8), dtype="uint8")[:] = 7
    return pixels


def copied(source: Path, target: Path | None = None, rows: int = 7, **said: Any) -> Path:
    target = target or source.with_name(f"copy-{source.name}")
    with open_stack(source, **said) as stack:
        write_stack(target, stack.header, bands_of(stack, rows))
    return target


def json_files(folder: Path) -> dict[str, Any]:
    names = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
    return {
        str(path.relative_to(folder)): json.loads(path.read_text())
        for path in sorted(folder.rglob("*"))
        if path.name in names
    }


# What is read, and what comes back.


def kinds() -> list[tuple[str, int, str]]:
    dtypes = ["uint8", "int8", "uint32", "int64", "float16", "float32", "float64"]
    cases = [(axes, 3, "uint16") for axes in ("tczyx", "czyx", "zyx", "cyx", "tyx", "yx")]
    cases += [("yx", version, dtype) for version in (2, 3) for dtype in dtypes]
    return [*cases, ("tczyx", 2, "uint16"), ("yx", 2, ">u2"), ("yx", 2, ">f4")]


@pytest.mark.parametrize(("axes", "version", "dtype"), kinds())
def test_ome_zarr_is_read_and_comes_back_as_it_was(tmp_path, axes, version, dtype):
    pixels = ome_zarr(tmp_path / "a.ome.zarr", axes, version, dtype=dtype)
    with open_stack(tmp_path / "a.ome.zarr") as stack:
        header = stack.header
        assert (header.axes, header.shape) == (axes.upper(), pixels.shape)
        assert header.dtype == np.dtype(dtype).newbyteorder("=")
        planes = pixels.reshape(-1, 19, 21)
        for plane, expected in enumerate(planes):
            window = stack.read(plane, slice(5, 18), slice(9, 20))
            np.testing.assert_array_equal(window[..., 0], expected[5:18, 9:20])
        steps = {step.axis: (step.size, step.unit) for step in header.metadata.steps}
        assert steps == {a.upper(): (STEPS[a], UNITS[a]) for a in axes if a in UNITS}
        assert [each.name for each in header.metadata.channels] == ["DAPI", "GFP"]
    copy = copied(tmp_path / "a.ome.zarr")
    assert json_files(copy) == json_files(tmp_path / "a.ome.zarr")
    result = zarr.open_group(copy, mode="r")
    assert result["s0"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result["s0"][...], pixels)
    np.testing.assert_array_equal(result["labels/nuclei"][...], 7)


def packings() -> list[tuple[int, dict[str, Any]]]:
    codecs = zarr.codecs
    second = pytest.importorskip("numcodecs")
    both: list[dict[str, Any]] = [
        {"chunks": (1, 1, 1, 19, 21)},
        {"chunks": (1, 1, 3, 8, 21)},
        {"chunks": (1, 1, 2, 10, 10)},
        {"chunks": (2, 1, 1, 16, 16)},
        {"chunks": (2, 2, 3, 16, 16)},
        {"chunks": (1, 2, 1, 64, 64)},
        {"chunks": (1, 1, 1, 16, 16), "compressors": None},
    ]
    cases = [(version, options) for version in (2, 3) for options in both]
    cases += [(2, {"compressors": second.Blosc("lz4", 5)}), (2, {"compressors": second.GZip(3)})]
    cases += [(2, {"compressors": second.LZMA(), "filters": [second.Delta("<u2")]})]
    cases += [(3, {"compressors": codecs.BloscCodec(cname="zstd", typesize=2)})]
    cases += [(3, {"compressors": codecs.GzipCodec(level=1)})]
    cases += [(3, {"shards": (1, 1, 1, 32, 48)}), (3, {"shards": (1, 2, 3, 64, 64)})]
    cases += [(3, {"chunks": (1, 1, 2, 8, 8), "shards": (2, 1, 4, 16, 16)})]
    cases += [(2, {"chunk_key_encoding": {"name": "v2", "separator": "."}})]
    return cases


@pytest.mark.parametrize(("version", "options"), packings(), ids=str)
def test_chunks_shards_and_compression_stay(tmp_path, version, options):
    pixels = ome_zarr(tmp_path / "a.zarr", "tczyx", version, **options)
    copy = copied(tmp_path / "a.zarr")
    assert json_files(copy) == json_files(tmp_path / "a.zarr")
    np.testing.assert_array_equal(zarr.open_group(copy, mode="r")["s0"][...], pixels)
    before, after = (
        sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        for root in (tmp_path / "a.zarr", copy)
    )
    assert after == before


def test_smaller_levels_are_means_of_the_result(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "zyx", levels=3)
    with open_stack(tmp_path / "a.zarr") as stack:
        bands = (band + 1000 for band in bands_of(stack, 7))
        write_stack(tmp_path / "b.zarr", stack.header, bands)
    result = zarr.open_group(tmp_path / "b.zarr", mode="r")
    levels = [result[f"s{level}"][...] for level in range(3)]
    assert [level.shape for level in levels] == [(3, 19, 21), (3, 10, 11), (3, 5, 6)]
    for large, small in itertools.pairwise(levels):
        padded = np.pad(large.astype(float), [(0, 0), (0, 1), (0, 1)], "edge")
        padded = padded[:, : 2 * small.shape[1], : 2 * small.shape[2]]
        means = padded.reshape(3, small.shape[1], 2, small.shape[2], 2).mean((2, 4))
        np.testing.assert_array_equal(small, np.rint(means))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("said", "names", "axes"),
    [
        ({}, None, "TZYX"),
        ({"axes": "CTYX"}, None, "CTYX"),
        ({"axes": "YXTC"}, None, "TYXS"),
        ({}, ("time", "Y", "channel", "x"), "TCYX"),
        ({}, ("a", "b", "y", "x"), "QQYX"),
    ],
)
def test_plain_arrays(tmp_path, version, said, names, axes):
    pixels = np.arange(5 * 6 * 7 * 8, dtype=np.float32).reshape(5, 6, 7, 8)
    attributes: dict[str, Any] = {"note": "kept"}
    if version == 2 and names:
        attributes["_ARRAY_DIMENSIONS"] = names
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=pixels.shape,
        dtype="f4",
        chunks=(2, 3, 4, 5),
        zarr_format=version,
        attributes=attributes,
        dimension_names=names if version == 3 else None,
    )
    array[...] = pixels
    with open_stack(tmp_path / "a.zarr", **said) as stack:
        assert stack.header.axes == axes
    copy = copied(tmp_path / "a.zarr", rows=3, **said)
    assert json_files(copy) == json_files(tmp_path / "a.zarr")
    np.testing.assert_array_equal(zarr.open_array(copy, mode="r")[...], pixels)


def test_chunks_that_are_not_there_are_empty(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(50, 60), dtype="u2", chunks=(16, 16), fill_value=7
    )
    array[20:30, 20:30] = 9
    with open_stack(tmp_path / "a.zarr") as stack:
        np.testing.assert_array_equal(stack.read()[..., 0], array[...])
        assert stack.read()[0, 0, 0] == 7


# From other formats, and into them.


def test_a_new_store_says_what_the_source_said(tmp_path):
    pixels = ome_zarr(tmp_path / "a.zarr", "tczyx", 2)
    with open_stack(tmp_path / "a.zarr") as stack:
        metadata = replace(stack.header.metadata, layout=None)
        header = replace(stack.header, metadata=metadata)
        write_stack(tmp_path / "b.zarr", header, bands_of(stack))
    group = zarr.open_group(tmp_path / "b.zarr", mode="r")
    said = group.attrs["ome"]
    scale = said["multiscales"][0]
    assert said["version"] == "0.5"
    assert scale["axes"] == multiscales("tczyx", 1)["axes"]
    transformation = scale["datasets"][0]["coordinateTransformations"][0]
    assert transformation == {"type": "scale", "scale": [STEPS[a] for a in "tczyx"]}
    shown = [(each["label"], each["color"]) for each in said["omero"]["channels"]]
    assert shown == [("DAPI", "0000FF"), ("GFP", "00FF00")]
    np.testing.assert_array_equal(group["0"][...], pixels)
    assert group["0"].metadata.dimension_names == tuple("tczyx")


@pytest.mark.parametrize(
    ("axes", "stored"), [("TZCYX", "tczyx"), ("YXS", "cyx"), ("ZYXS", "czyx"), ("QYX", "qyx")]
)
def test_a_new_store_has_the_axes_in_the_order_of_ome_zarr(tmp_path, axes, stored):
    sizes = {"T": 2, "Z": 3, "C": 4, "Y": 5, "X": 6, "S": 3, "Q": 2}
    pixels = np.arange(np.prod([sizes[a] for a in axes]), dtype=np.uint16)
    pixels = pixels.reshape([sizes[a] for a in axes])
    np.save(tmp_path / "a.npy", pixels)
    copied(tmp_path / "a.npy", tmp_path / "b.zarr", rows=2, axes=axes)
    group = zarr.open_group(tmp_path / "b.zarr", mode="r")
    names = [axis["name"] for axis in group.attrs["ome"]["multiscales"][0]["axes"]]
    assert "".join(names) == stored
    letters = axes.lower().replace("s", "c")
    np.testing.assert_array_equal(group["0"][...], np.einsum(f"{letters}->{stored}", pixels))


def test_a_large_new_store_is_a_pyramid(tmp_path):
    np.save(tmp_path / "a.npy", np.full((1025, 3000), 9, np.uint8))
    group = zarr.open_group(copied(tmp_path / "a.npy", tmp_path / "b.zarr"), mode="r")
    shapes = [group[str(level)].shape for level in range(3)]
    assert shapes == [(1025, 3000), (513, 1500), (257, 750)]
    datasets = group.attrs["ome"]["multiscales"][0]["datasets"]
    scales = [each["coordinateTransformations"][0]["scale"] for each in datasets]
    assert scales == [[1, 1], [2, 2], [4, 4]]
    assert (group["2"][...] == 9).all()


@pytest.mark.parametrize("axes", ["TCQYX", "CYXS"])
def test_axes_that_ome_zarr_has_not_are_refused(tmp_path, axes):
    np.save(tmp_path / "a.npy", np.zeros((2,) * len(axes), np.uint8))
    with pytest.raises(UserError, match=rf"b\.zarr: OME-Zarr can't hold axes {axes}; end"):
        copied(tmp_path / "a.npy", tmp_path / "b.zarr", axes=axes)


# Places.


def test_a_store_in_a_folder_is_an_image(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "yx")
    (tmp_path / "other.zarr").mkdir()
    assert list_images(tmp_path) == [tmp_path / "a.zarr"]
    with pytest.raises(UserError, match=r"other\.zarr is a folder where an image file is needed"):
        open_stack(tmp_path / "other.zarr")


def test_a_half_written_store_leaves_nothing(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "tyx")
    with open_stack(tmp_path / "a.zarr") as stack:

        def bands() -> Iterator[np.ndarray]:
            yield stack.read(0)
            names = [path.name for path in tmp_path.iterdir()]
            assert [name for name in names if not name.startswith(".")] == ["a.zarr"]
            raise UserError("no more")

        with pytest.raises(UserError, match="no more"):
            write_stack(tmp_path / "b.zarr", stack.header, bands())
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_store_is_replaced_only_when_asked_and_another_folder_never(tmp_path):
    pixels = ome_zarr(tmp_path / "a.zarr", "tyx")
    target = copied(tmp_path / "a.zarr")
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("years of work")
    with open_stack(tmp_path / "a.zarr") as stack:
        with pytest.raises(UserError, match=r"copy-a\.zarr exists already; choose another name"):
            write_stack(target, stack.header, bands_of(stack))
        with pytest.raises(UserError, match=r"mine\.zarr is something else than an image"):
            write_stack(tmp_path / "mine.zarr", stack.header, bands_of(stack), overwrite=True)
        write_stack(target, stack.header, (band // 2 for band in bands_of(stack)), overwrite=True)
    np.testing.assert_array_equal(zarr.open_group(target, mode="r")["s0"][...], pixels // 2)
    assert (tmp_path / "mine.zarr" / "thesis.txt").exists()
    assert len(list(tmp_path.iterdir())) == 3


def test_a_result_inside_its_source_is_refused(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "yx")
    with pytest.raises(UserError, match=r"would lie in .*a\.zarr itself; choose another place"):
        copied(tmp_path / "a.zarr", tmp_path / "a.zarr" / "b.zarr")


def test_links_are_not_followed(tmp_path):
    """What is written through one would end in somebody else's file."""
    ome_zarr(tmp_path / "a.zarr", "yx")
    (tmp_path / "outside").mkdir()
    os.symlink(tmp_path / "outside", tmp_path / "a.zarr" / "tables")
    with pytest.raises(UserError, match=r"tables is a link, or no file; make a copy with cp -rL"):
        copied(tmp_path / "a.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "outside"]


# Stores of strangers.


def changed(path: Path, **entries: Any) -> Path:
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | entries))
    return path.parent


def test_a_codec_that_runs_code_is_refused(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(9, 9),
        dtype="u1",
        chunks=(9, 9),
        zarr_format=2,
        compressors=None,
    )
    array[:] = 1
    changed(tmp_path / "a.zarr" / ".zarray", filters=[{"id": "pickle", "protocol": 4}])

    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    (tmp_path / "a.zarr" / "0.0").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(UserError, match=r"has chunks packed by 'pickle', which can't be read"):
        open_stack(tmp_path / "a.zarr").read()
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"shape": [10**6, 10**6]}, "more than the 500 million that are read"),
        ({"shape": [10**9, 9, 9]}, "damaged .chunks and shape differ"),
        ({"shape": [9, -9]}, r"is damaged \(shape \[9, -9\]\)"),
        ({"shape": [9.5, 9]}, r"is damaged \(shape \[9\.5, 9\]\)"),
        ({"shape": [9]}, "holds an array of 1 dimensions; 2 to 8 are an image"),
        ({"chunks": [10**6, 10**6]}, r"has chunks of 931\.3 GB; save it with smaller ones"),
        ({"shape": [20000, 20000], "chunks": [1, 1]}, "has planes of 400000000 chunks"),
        ({"dtype": "|O"}, r"holds '\|O'; save it as integers or floats"),
        ({"dtype": [["a", "<u2"]]}, "save it as integers or floats"),
        ({"dtype": "<c8"}, "holds '<c8'; save it as integers"),
    ],
)
def test_sizes_are_bounded_before_anything_is_allocated(tmp_path, entries, message):
    zarr.create_array(tmp_path / "a.zarr", shape=(9, 9), dtype="u1", chunks=(9, 9), zarr_format=2)[
        :
    ] = 1
    changed(tmp_path / "a.zarr" / ".zarray", **entries)
    with pytest.raises(UserError, match=message):
        open_stack(tmp_path / "a.zarr")


def test_so_many_planes_that_counting_them_would_fill_memory_are_refused(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(10**9, 9, 9), dtype="u1", chunks=(1, 9, 9))
    with pytest.raises(UserError, match="has 1000000000 planes; 1 to 4194304 can be read"):
        open_stack(tmp_path / "a.zarr")


def test_a_chunk_that_is_too_short_for_its_pixels_is_refused(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(8000, 8000),
        dtype="u2",
        chunks=(8000, 8000),
        compressors=zarr.codecs.GzipCodec(),
    )
    array[0, 0] = 1
    (tmp_path / "a.zarr" / "c" / "0" / "0").write_bytes(b"\x1f\x8b" + bytes(100))
    with (
        open_stack(tmp_path / "a.zarr") as stack,
        pytest.raises(UserError, match=r"102 bytes of data can't be 8000 x 8000 pixels"),
    ):
        stack.read(0, slice(0, 1))


BOMBS = {"zstd": "Zstd", "blosc": "Blosc", "gzip": "GZip"}
BOMBS |= {"zlib": "Zlib", "bz2": "BZ2", "lzma": "LZMA", "lz4": "LZ4"}


@pytest.mark.parametrize("name", BOMBS)
def test_a_chunk_that_unpacks_to_more_than_it_holds_is_refused_before(tmp_path, monkeypatch, name):
    packer = getattr(pytest.importorskip("numcodecs"), BOMBS[name])
    array = zarr.create_array(
        tmp_path / "a.zarr",
        shape=(9, 9),
        dtype="u1",
        chunks=(9, 9),
        zarr_format=2,
        compressors=packer(),
    )
    array[:] = 1
    (tmp_path / "a.zarr" / "0.0").write_bytes(packer().encode(bytes(2**24)))
    monkeypatch.setattr("zarr.Array.__getitem__", None)  # nothing must be decoded
    with (
        open_stack(tmp_path / "a.zarr") as stack,
        pytest.raises(UserError, match=r"0\.0 unpacks to more than the 145 bytes of a chunk"),
    ):
        stack.read()


@pytest.mark.parametrize("location", ["start", "end"])
def test_a_chunk_in_a_shard_that_unpacks_to_more_is_refused_before(tmp_path, monkeypatch, location):
    """A small chunk's place in the index leads to a large one."""
    for name, chunk in (("a.zarr", 8), ("large.zarr", 512)):
        shard = {"shape": (chunk, 2 * chunk), "index_location": location}
        array = zarr.create_array(
            tmp_path / name,
            shape=shard["shape"],
            dtype="u1",
            chunks=(chunk, chunk),
            shards=shard,
            compressors=zarr.codecs.GzipCodec(),
        )
        array[:] = 1
    assert np.all(open_stack(tmp_path / "a.zarr").read() == 1)
    shutil.copy(tmp_path / "large.zarr/c/0/0", tmp_path / "a.zarr/c/0/0")
    monkeypatch.setattr("zarr.Array.__getitem__", None)  # nothing must be decoded
    with pytest.raises(UserError, match="unpacks to more than the 128 bytes of a chunk"):
        open_stack(tmp_path / "a.zarr").read()


@pytest.mark.parametrize("path", ["../b.zarr/s0", "/etc", "s0/../../b", "", 7, "c:/s0", "a" * 999])
def test_arrays_outside_of_the_store_are_not_read(tmp_path, path):
    ome_zarr(tmp_path / "a.zarr", "yx")
    ome_zarr(tmp_path / "b.zarr", "yx")
    scale = multiscales("yx", 1)
    scale["datasets"][0]["path"] = path
    changed(tmp_path / "a.zarr" / "zarr.json", attributes={"ome": {"multiscales": [scale]}})
    with pytest.raises(UserError, match=r"outside of itself|a dataset's path is"):
        open_stack(tmp_path / "a.zarr")


def test_several_images_are_named(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", attributes={"bioformats2raw.layout": 3})
    group.create_group("0")
    group.create_group("1")
    with pytest.raises(UserError, match=r"holds groups or arrays \(0, 1\); name the one you want"):
        open_stack(tmp_path / "a.zarr")


def test_a_damaged_chunk_is_a_sentence(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "yx")
    (tmp_path / "a.zarr" / "s0" / "c" / "1" / "1").write_bytes(b"rubbish" * 60)
    with open_stack(tmp_path / "a.zarr") as stack:
        stack.read(0, slice(0, 16))
        with pytest.raises(UserError, match=r"a\.zarr is damaged or cut short"):
            stack.read()


def test_without_the_library_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    ome_zarr(tmp_path / "a.zarr", "yx")
    np.save(tmp_path / "a.npy", np.zeros((4, 5), np.uint8))
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(UserError, match=r"needs zarr; .*pip install 'noise2noise\[zarr\]'"):
        open_stack(tmp_path / "a.zarr")
    with pytest.raises(UserError, match=r"pip install 'noise2noise\[zarr\]'"):
        copied(tmp_path / "a.npy", tmp_path / "b.zarr")


def sharded(inner: list[Any], **said: Any) -> dict[str, Any]:
    """The codec of a shard, of chunks of 4 x 4."""
    index = [{"name": "bytes", "configuration": {"endian": "little"}}]
    settings = {"chunk_shape": [4, 4], "codecs": inner, "index_codecs": index} | said
    return {"name": "sharding_indexed", "configuration": settings}


PLAIN = {"name": "bytes", "configuration": {"endian": "little"}}
REGULAR = {"name": "regular", "configuration": {"chunk_shape": [10**6, 10**6]}}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"data_type": "nonsense"}, "holds 'nonsense'; save it as integers or floats"),
        ({"storage_transformers": [{"name": "x"}]}, "has storage transformers"),
        ({"chunk_grid": {"name": "uneven"}}, "has chunks on a 'uneven' grid; save it on a regular"),
        ({"chunk_grid": 7}, r"is damaged \(7 where an object is needed\); save it again"),
        ({"codecs": {}}, r"is damaged \(\{\} where a list is needed\); save it again"),
        ({"codecs": [sharded([sharded([sharded([PLAIN])])])]}, "shards in shards in shards"),
        ({"codecs": [sharded([PLAIN]), {"name": "gzip"}]}, "shards that are packed as a whole"),
        ({"codecs": [sharded([PLAIN], index_codecs=[{"name": "gzip"}])]}, "with a packed index"),
        (
            {"chunk_grid": REGULAR, "codecs": [sharded([PLAIN], chunk_shape=[1, 1])]},
            r"has shards of more than \d+ chunks; save it with larger chunks",
        ),
        ({"node_type": "group"}, "is damaged"),
    ],
)
def test_arrays_that_can_not_be_read_are_refused_unread(tmp_path, entries, message):
    ome_zarr(tmp_path / "a.zarr", "yx")
    changed(tmp_path / "a.zarr" / "s0" / "zarr.json", **entries)
    with pytest.raises(UserError, match=message):
        open_stack(tmp_path / "a.zarr").read()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"datasets": []}, "its multiscales name no datasets"),
        ({"datasets": [{"path": "s9"}]}, r"is damaged \(s9 holds no array\)"),
        ({"axes": ["y", "x", "z"]}, r"is damaged \(axes \['y', 'x', 'z'\] of an array of 2 dim"),
        ({"axes": ["x", "x"]}, r"is damaged \(axes \['x', 'x'\] of an array of 2 dimensions\)"),
    ],
)
def test_what_a_store_says_of_its_image_must_fit(tmp_path, entries, message):
    ome_zarr(tmp_path / "a.zarr", "yx")
    scale = multiscales("yx", 1) | entries
    changed(tmp_path / "a.zarr" / "zarr.json", attributes={"ome": {"multiscales": [scale]}})
    with pytest.raises(UserError, match=message):
        open_stack(tmp_path / "a.zarr")


def test_a_group_without_anything_is_no_image(tmp_path):
    zarr.create_group(tmp_path / "a.zarr")
    with pytest.raises(UserError, match=r"a\.zarr holds no image; copy or save it again"):
        open_stack(tmp_path / "a.zarr")


def test_descriptions_are_files_and_no_longer_than_any_is(tmp_path, monkeypatch):
    ome_zarr(tmp_path / "a.zarr", "yx", version=2)
    monkeypatch.setattr("noise2noise.files.zarr_store._MOST_JSON", 99)
    with pytest.raises(UserError, match=r"has \d+ bytes of \.zattrs, more than any image's"):
        open_stack(tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / ".zattrs").unlink()
    (tmp_path / "a.zarr" / ".zattrs").mkdir()
    with pytest.raises(UserError, match=r"is damaged \(\.zattrs is no file\)"):
        open_stack(tmp_path / "a.zarr")


def test_the_oldest_stores_name_no_axes(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "tczyx", version=2)
    scale = multiscales("tczyx", 1)
    del scale["axes"]
    changed(tmp_path / "a.zarr" / ".zattrs", multiscales=[scale])
    with open_stack(tmp_path / "a.zarr") as stack:
        assert stack.header.axes == "TCZYX"


def test_a_folder_in_the_place_of_a_chunk_is_damage(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "yx")
    chunk = tmp_path / "a.zarr" / "s0" / "c" / "1" / "1"
    chunk.unlink()
    chunk.mkdir()
    with (
        open_stack(tmp_path / "a.zarr") as stack,
        pytest.raises(UserError, match=r"is damaged \(1 is no file\)"),
    ):
        stack.read()


def test_the_channel_axis_of_an_array(tmp_path):
    pixels = pixels_of("cyx")
    zarr.create_array(tmp_path / "a.zarr", data=pixels, chunks=(1, 16, 16))
    with open_stack(tmp_path / "a.zarr", channel_axis=0) as stack:
        assert stack.header.samples == len(pixels)
        np.testing.assert_array_equal(stack.read(), pixels.transpose(1, 2, 0))


def test_transparency_has_no_place_in_a_store(tmp_path):
    PIL.Image.new("RGBA", (9, 7)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"OME-Zarr can't hold transparency; end the name in \.tif"):
        copied(tmp_path / "a.png", tmp_path / "b.zarr")

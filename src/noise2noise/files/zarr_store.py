"""What a Zarr store says, read as JSON and checked before the zarr library sees it.

Versions 2 and 3, plain arrays and OME-Zarr 0.1 to 0.5. The library is handed only arrays whose
sizes are bounded and whose codecs are known: one of them, "pickle", runs code.

Sources: https://ngff.openmicroscopy.org/0.5, https://zarr-specs.readthedocs.io.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from noise2noise.files.guard import MAX_BYTES, UnusableError, check_size
from noise2noise.files.stack import Channel, Header, Metadata, Step
from noise2noise.files.zarr_chunks import PACKERS, Packing, packing_of

Json = dict[str, Any]

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs")
"""Names of the files that aren't pixels."""

_MOST_JSON = 2**24  # bytes; those of whole plates have a few million
_MOST_PLANES = 2**22
_MOST_DIMENSIONS = 8
_MOST_LEVELS = 64
_LONGEST_PATH = 200
_DTYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
FILTERS = ("delta", "astype", "fixedscaleoffset", "bitround", "quantize", "packbits", "shuffle")
"""Codecs that turn values into others, for their dtype alone."""
_PLAIN = ("bytes", "transpose", "crc32c", "crc32", "adler32", "fletcher32", "jenkins_lookup3")
# How many times its size a chunk can grow: plain, deflate, and others, some of which store "all
# zero" in a number. A filter makes 64 bits of one at most.
_GROWTH = {**dict.fromkeys(_PLAIN, 1), **dict.fromkeys(FILTERS, 64), "gzip": 1040, "zlib": 1040}
_MOST_GROWTH = 1e6
_MOST_CHUNKS = 2**20  # in a plane, or in a shard
_SHARDS = "sharding_indexed"
_NAMES = {"t": "T", "time": "T", "z": "Z", "depth": "Z", "c": "C", "channel": "C", "channels": "C"}
_NAMES |= {"y": "Y", "row": "Y", "x": "X", "column": "X", "s": "S", "rgb": "S", "sample": "S"}


@dataclass(frozen=True)
class Node:
    """A folder of a store: a group or an array.

    Attributes:
        folder: where it is.
        version: of Zarr, 2 or 3.
        array: what is said of an array; None for a group.
        attributes: what anybody adds.
    """

    folder: Path
    version: int
    array: Json | None
    attributes: Json


@dataclass(frozen=True)
class Picture:
    """The image of a store.

    Attributes:
        root: the store.
        levels: the folders of its arrays in the root, the largest first; "" is the root itself.
        letters: of the axes, as a `Header` names them; "" if none are said.
        metadata: steps and channels.
        notes: what is left out.
    """

    root: Node
    levels: tuple[str, ...]
    letters: str = ""
    metadata: Metadata = field(default=Metadata())
    notes: tuple[str, ...] = ()


def is_node(folder: Path) -> bool:
    """Whether there is a group or an array in a folder."""
    return any((folder / name).is_file() for name in METADATA[:3])


def node(folder: Path) -> Node:
    """What is in a folder.

    Raises:
        UnusableError: nothing of Zarr, or damaged.
    """
    if (folder / "zarr.json").is_file():
        said = _json(folder / "zarr.json")
        array = said if said.get("node_type") == "array" else None
        return Node(folder, 3, array, _dict(said.get("attributes", {})))
    attributes = _json(folder / ".zattrs") if (folder / ".zattrs").exists() else {}
    if (folder / ".zarray").is_file():
        return Node(folder, 2, _json(folder / ".zarray"), attributes)
    if (folder / ".zgroup").is_file():
        return Node(folder, 2, None, attributes)
    raise UnusableError(f"is damaged ({folder.name} holds no array); copy or save it again")


def picture(folder: Path) -> Picture:
    """The image that a store holds.

    Raises:
        UnusableError: there is none, there are several, or it is damaged.
    """
    root = node(folder)
    if root.array is not None:
        return Picture(root, ("",), _letters_of_array(root))
    said = _dict(root.attributes.get("ome", root.attributes))
    scales = said.get("multiscales")
    if not isinstance(scales, list) or not scales:
        raise UnusableError(_no_image(folder))
    scale = _dict(scales[0])
    datasets = scale.get("datasets")
    if not isinstance(datasets, list) or not 0 < len(datasets) <= _MOST_LEVELS:
        raise UnusableError("is damaged (its multiscales name no datasets); copy or save it again")
    levels = tuple(_inside(_dict(each).get("path")) for each in datasets)
    array = node(folder / levels[0]).array
    dimensions = len(_sizes(array, "shape")) if array is not None else 0
    letters, units = _axes(scale.get("axes"), dimensions)
    factors = _scales(scale, dimensions), _scales(_dict(datasets[0]), dimensions)
    steps = tuple(
        Step(letter, size * factor, unit)
        for letter, size, factor, unit in zip(letters, *factors, units, strict=True)
        if letter in "TZYX"
    )
    notes = (f"{len(scales) - 1} other multiscale images are copied",) if len(scales) > 1 else ()
    return Picture(root, levels, letters, Metadata(steps=steps, channels=_channels(said)), notes)


def check_array(found: Node) -> float:
    """Refuse arrays that can't be pixels, that have no bounds, or whose codecs aren't known.

    Returns:
        How many times its size a chunk can grow at most when it is decoded.

    Raises:
        UnusableError: any of these.
    """
    array = found.array
    if array is None:
        raise UnusableError(f"is damaged ({found.folder.name} is no array); copy or save it again")
    shape = _sizes(array, "shape")
    if not 2 <= len(shape) <= _MOST_DIMENSIONS:
        raise UnusableError(
            f"holds an array of {len(shape)} dimensions; 2 to {_MOST_DIMENSIONS} are an image"
        )
    dtype = _dtype(array, found.version)
    chunks, codecs = _packing(array, found.version)
    if any(len(each) != len(shape) for each in chunks):
        raise UnusableError("is damaged (chunks and shape differ); copy or save it again")
    _check_chunks(chunks, dtype)
    growth = 1.0
    for name in codecs:
        if name not in (*_PLAIN, *FILTERS, *PACKERS):
            raise UnusableError(
                f"has chunks packed by {name!r:.40}, which can't be read; save it with zstd"
            )
        growth *= _GROWTH.get(name, _MOST_GROWTH)
    return growth


def packing(found: Node) -> Packing:
    """How the chunks, or shards, of an array that was checked are packed.

    Raises:
        UnusableError: in a way that can't be bounded.
    """
    array = found.array or {}
    itemsize = _dtype(array, found.version).itemsize
    if found.version == 3:
        (chunk, *_), _ = _packing(array, 3)
        return _packing_of(_list(array.get("codecs")), chunk, itemsize)
    codecs = [*(array.get("filters") or []), array.get("compressor")]
    names = [_name(each, "id") for each in codecs if each is not None]
    return packing_of(names, math.prod(_sizes(array, "chunks")) * itemsize, _wider(names))


def _packing_of(codecs: list[Any], chunk: tuple[int, ...], itemsize: int) -> Packing:
    names = [_name(each, "name") for each in codecs]
    if _SHARDS not in names:
        return packing_of(names, math.prod(chunk) * itemsize, _wider(names))
    place = names.index(_SHARDS)
    if names[place + 1 :]:
        raise UnusableError("has shards that are packed as a whole; save it without")
    said = _dict(_dict(codecs[place]).get("configuration"))
    inner = _sizes(said, "chunk_shape")
    count = math.prod(chunk) // math.prod(inner)
    index_codecs = [_name(each, "name") for each in _list(said.get("index_codecs"))]
    if not set(index_codecs) <= {"bytes", "crc32c"}:
        raise UnusableError("has shards with a packed index; save it with a plain one")
    index = 16 * count + 4 * index_codecs.count("crc32c")
    first = said.get("index_location") == "start"
    packed = _packing_of(_list(said.get("codecs")), inner, itemsize)
    return Packing("", 0, 0, 0, packed, count, index, first)


def _wider(names: list[str]) -> int:
    """How many times as many bytes filters may make of pixels: 64 bits of 8."""
    return 8 if any(name in FILTERS for name in names) else 1


def _check_chunks(chunks: list[tuple[int, ...]], dtype: np.dtype) -> None:
    size = math.prod(chunks[-1]) * dtype.itemsize
    if size > MAX_BYTES:
        raise UnusableError(f"has chunks of {size / 2**30:.1f} GB; save it with smaller ones")
    if math.prod(chunks[0]) > _MOST_CHUNKS * math.prod(chunks[-1]):
        raise UnusableError(
            f"has shards of more than {_MOST_CHUNKS} chunks; save it with larger chunks"
        )


def check_planes(header: Header, chunk_height: int, chunk_width: int) -> None:
    """Refuse sizes that no stack has, and more chunks than a plane is ever cut into.

    Raises:
        UnusableError: so.
    """
    height, width, planes = header.height, header.width, header.planes
    check_size(width, height)
    chunks = -(-height // chunk_height) * -(-width // chunk_width)
    if chunks > _MOST_CHUNKS:
        raise UnusableError(f"has planes of {chunks} chunks; save it with larger ones")
    if not 0 < planes <= _MOST_PLANES:
        raise UnusableError(
            f"has {planes} planes; 1 to {_MOST_PLANES} can be read, so cut it into parts"
        )


# What arrays say.


def _sizes(array: Json, name: str) -> tuple[int, ...]:
    sizes = array.get(name)
    if not isinstance(sizes, list) or not all(type(each) is int and each > 0 for each in sizes):
        raise UnusableError(f"is damaged ({name} {sizes!r:.60}); copy or save it again")
    return tuple(sizes)


def _dtype(array: Json, version: int) -> np.dtype:
    said = array.get("data_type" if version == 3 else "dtype")
    try:
        dtype = np.dtype(said) if isinstance(said, str) else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.str[1:] not in _DTYPES:
        raise UnusableError(f"holds {said!r:.60}; save it as integers or floats")
    return dtype


def _packing(array: Json, version: int) -> tuple[list[tuple[int, ...]], list[str]]:
    """The shapes of a shard, if there is one, and of a chunk; and the names of all codecs."""
    if version == 2:
        codecs = [array.get("compressor"), *(array.get("filters") or [])]
        return [_sizes(array, "chunks")], [_name(each, "id") for each in codecs if each is not None]
    if array.get("storage_transformers"):
        raise UnusableError("has storage transformers, which can't be read; save it without")
    grid = _dict(array.get("chunk_grid"))
    if grid.get("name") != "regular":
        raise UnusableError(
            f"has chunks on a {grid.get('name')!r:.40} grid; save it on a regular one"
        )
    chunks = [_sizes(_dict(grid.get("configuration")), "chunk_shape")]
    codecs, names = _list(array.get("codecs")), []
    while codecs:
        current = _dict(codecs[0])
        if current.get("name") == _SHARDS:
            inner = _dict(current.get("configuration"))
            chunks.append(_sizes(inner, "chunk_shape"))
            names += [_name(each, "name") for each in _list(inner.get("index_codecs"))]
            codecs = [*codecs[1:], *_list(inner.get("codecs"))]
            if len(chunks) > 3:
                raise UnusableError("has shards in shards in shards; save it with one of them")
            continue
        names.append(_name(current, "name"))
        codecs = codecs[1:]
    return chunks, names


def _name(codec: object, key: str) -> str:
    name = _dict(codec).get(key)
    return str(name).removeprefix("numcodecs.")


def _letters_of_array(found: Node) -> str:
    """Of a plain array: `dimension_names`, or what xarray writes into the second version."""
    names = (found.array or {}).get("dimension_names") or found.attributes.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list):
        return ""
    letters = [_NAMES.get(str(name).lower(), "Q") for name in names]
    return "".join(letters) if _are_a_plane(letters) else ""


def _are_a_plane(letters: list[str]) -> bool:
    return all(letters.count(each) == 1 for each in ("Y", "X", *letters) if each != "Q")


# What OME-Zarr says.


def _axes(said: object, dimensions: int) -> tuple[str, list[str]]:
    """Letters and units. The oldest versions have five axes and name none."""
    if said is None:
        return "TCZYX"[-dimensions:], [""] * dimensions
    axes = [each if isinstance(each, dict) else {"name": each} for each in _list(said)]
    letters = [_NAMES.get(str(each.get("name")).lower(), "Q") for each in axes]
    if len(letters) != dimensions or not _are_a_plane(letters):
        names = [each.get("name") for each in axes]
        raise UnusableError(
            f"is damaged (axes {names!r:.80} of an array of {dimensions} dimensions); save it again"
        )
    return "".join(letters), [str(each.get("unit") or "") for each in axes]


def _scales(said: Json, dimensions: int) -> list[float]:
    """The factors of a scale among transformations; ones if there is none."""
    for each in _list(said.get("coordinateTransformations") or []):
        scale = _dict(each).get("scale")
        if isinstance(scale, list) and len(scale) == dimensions:
            return [float(factor) for factor in scale]
    return [1.0] * dimensions


def _channels(said: Json) -> tuple[Channel, ...]:
    omero = said.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list):
        return ()
    return tuple(
        Channel(str(each.get("label") or ""), str(each.get("color") or ""))
        for each in channels
        if isinstance(each, dict)
    )


def _no_image(folder: Path) -> str:
    inner = sorted(path.name for path in folder.iterdir() if path.is_dir() and is_node(path))
    if not inner:
        return "holds no image; copy or save it again"
    named = ", ".join(inner[:3]) + (", ..." if len(inner) > 3 else "")
    return f"holds groups or arrays ({named}); name the one you want, such as {folder / inner[0]}"


def _inside(path: object) -> str:
    """A path within the store."""
    if not isinstance(path, str) or not 0 < len(path) <= _LONGEST_PATH:
        raise UnusableError(f"is damaged (a dataset's path is {path!r:.60}); save it again")
    parts = PurePosixPath(path).parts
    if ".." in parts or "\\" in path or ":" in path or PurePosixPath(path).is_absolute():
        raise UnusableError(f"names an array outside of itself ({path!r:.60}); don't trust it")
    return str(PurePosixPath(path))


# JSON.


def _json(path: Path) -> Json:
    if not path.is_file():
        raise UnusableError(f"is damaged ({path.name} is no file); copy it again")
    size = path.stat().st_size
    if size > _MOST_JSON:
        raise UnusableError(
            f"has {size} bytes of {path.name}, more than any image's; save it again"
        )
    return _dict(json.loads(path.read_bytes()))


def _dict(said: object) -> Json:
    if isinstance(said, dict):
        return said
    raise UnusableError(f"is damaged ({said!r:.60} where an object is needed); save it again")


def _list(said: object) -> list[Any]:
    if isinstance(said, list):
        return said
    raise UnusableError(f"is damaged ({said!r:.60} where a list is needed); save it again")
